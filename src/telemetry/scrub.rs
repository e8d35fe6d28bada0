//! Takes secrets out of texts that leave the house.
//!
//! A report is read by people who may not know the shop's keys, on a machine that is not ours. So what could be a secret
//! is taken out, also where it is none: the value behind a name such as `password` or `Authorization`, what follows
//! `Bearer`, users, queries and fragments of addresses, mailboxes, and long words of letters and digits, which tokens are.

use serde_json::Value;

/// What stands in place of a secret.
const REMOVED: &str = "[removed]";
/// Parts of names whose values are secrets.
const SECRET_NAMES: &[&str] = &[
    "secret",
    "token",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "cookie",
    "api_key",
    "apikey",
    "credential",
    "dsn",
    "webhook",
    "private_key",
    "client_id",
];
/// A word of letters and digits this long is no word.
const TOKEN_CHARS: usize = 20;
/// What ends a word, beside white space.
const BREAKS: &[char] = &[
    '"', '\'', '`', ',', ';', '&', '(', ')', '{', '}', '[', ']', '<', '>', '|', '\\',
];
/// Places in the code hold no values, and their long names would be taken for tokens.
const LEFT_ALONE: &[&str] = &["stacktrace", "debug_meta", "event_id", "timestamp", "sdk"];

/// Takes secrets out of every text below `value`, and the values of secret names whole.
pub(super) fn value(value: &mut Value) {
    match value {
        Value::String(told) => *told = text(told),
        Value::Array(items) => items.iter_mut().for_each(self::value),
        Value::Object(fields) => {
            for (name, inner) in fields.iter_mut() {
                if LEFT_ALONE.contains(&name.as_str()) {
                    continue;
                }
                if is_secret(name) && !matches!(inner, Value::Object(_) | Value::Null) {
                    *inner = Value::from(REMOVED);
                } else {
                    self::value(inner);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Takes secrets out of a text.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // The name of a secret was read, and its value is awaited.
    let mut awaited = Awaited::Nothing;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() || BREAKS.contains(&first) {
            if awaited == Awaited::Value && (first == '"' || first == '\'') {
                // A quoted value goes whole, whatever is in it; without an end, to the end.
                let inner = rest.get(1..).unwrap_or_default();
                let end = inner.find(first).unwrap_or(inner.len());
                let closing = inner.get(end..).unwrap_or_default();
                // Nothing but the name's own closing quote: `"password": …`.
                out.push(first);
                if end > 0 {
                    out.push_str(REMOVED);
                }
                out.push_str(closing.get(..1).unwrap_or_default());
                rest = closing.get(1..).unwrap_or_default();
                awaited = Awaited::Nothing;
                continue;
            }
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        let (word, after) = rest.split_at(word_end(rest));
        awaited = one(word, awaited, &mut out);
        rest = after;
    }
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Nothing,
    /// A colon or an equals sign makes the next word a secret.
    Sign,
    Value,
}

/// Where the word ends that `rest` begins with. An address goes on over signs that end other words.
fn word_end(rest: &str) -> usize {
    let plain = rest
        .find(|c: char| c.is_whitespace() || BREAKS.contains(&c))
        .unwrap_or(rest.len());
    let word = rest.get(..plain).unwrap_or_default();
    if !word.contains("://") {
        return plain.max(1);
    }
    let ends =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ')' | '}' | ']' | '|');
    rest.find(ends).unwrap_or(rest.len())
}

/// Writes one word as it may be read.
fn one(word: &str, awaited: Awaited, out: &mut String) -> Awaited {
    let signs_only = word.chars().all(|c| c == ':' || c == '=');
    if signs_only && awaited != Awaited::Nothing {
        out.push_str(word);
        return Awaited::Value;
    }
    let bare = word.trim_end_matches([':', '=']);
    let scheme = ["bearer", "basic"].contains(&bare.to_lowercase().as_str());
    if awaited == Awaited::Value {
        out.push_str(REMOVED);
        // `Authorization: Bearer …`: the secret is the word behind.
        return if scheme { Awaited::Value } else { Awaited::Nothing };
    }
    if bare.eq_ignore_ascii_case("bearer") {
        out.push_str(word);
        return Awaited::Value;
    }
    if let Some(at) = word.find("://") {
        // `url=https://…`: what stands before the scheme stays.
        let begin = word
            .get(..at)
            .and_then(|before| before.rfind(['=', ':']))
            .map_or(0, |sign| sign + 1);
        let (before, address) = word.split_at(begin);
        out.push_str(before);
        out.push_str(&url(address));
        return Awaited::Nothing;
    }
    if let Some(sign) = word.find([':', '=']) {
        let (name, value) = word.split_at(sign);
        if is_secret(name) {
            let value = value.trim_start_matches([':', '=']);
            out.push_str(word.get(..word.len() - value.len()).unwrap_or_default());
            if value.is_empty() {
                return Awaited::Value;
            }
            out.push_str(REMOVED);
            return Awaited::Nothing;
        }
    }
    out.push_str(&plain(word));
    if is_secret(word) {
        Awaited::Sign
    } else {
        Awaited::Nothing
    }
}

/// An address without user, query and fragment, and without what looks like a token in its path.
fn url(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let cut = if path.len() < rest.len() { "?[removed]" } else { "" };
    let (host, path) = path
        .split_once('/')
        .map_or((path, None), |(host, path)| (host, Some(path)));
    let host = host.rsplit('@').next().unwrap_or_default();
    let path = path.map_or_else(String::new, |path| format!("/{}", plain(path)));
    format!("{scheme}://{host}{path}{cut}")
}

/// A word that no name marks: a mailbox, a token, or nothing of that.
fn plain(word: &str) -> String {
    if let Some((user, host)) = word.rsplit_once('@')
        && !user.is_empty()
        && host.contains('.')
    {
        return "[mailbox]".to_owned();
    }
    let parts: Vec<&str> = word
        .split('/')
        .map(|part| if is_token(part) { REMOVED } else { part })
        .collect();
    parts.join("/")
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    SECRET_NAMES.iter().any(|part| name.contains(part)) || name == "key"
}

fn is_token(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ':', '!', '?']);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_+=.^#%~*$".contains(c);
    let long = word.len() >= TOKEN_CHARS && word.chars().all(allowed);
    let mixed = word.chars().any(|c| c.is_ascii_digit()) && word.chars().any(|c| c.is_ascii_alphabetic());
    long && mixed && uuid::Uuid::try_parse(word).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn secrets_in_every_dress_are_taken_out() {
        for told in [
            "password=canary",
            "password: canary and more",
            "{\"refresh_token\":\"canary, with a break\",\"x\":1}",
            "{\"refresh_token\": \"canary\"}",
            "Authorization: Bearer canary",
            "authorization=\"Basic canary\"",
            "sent Bearer canary to it",
            "X-Api-Key: canary",
            "https://user:canary@h.example/x",
            "postgres://u:canary@h/d failed",
            "GET https://h.example/a?code=canary&state=canary2#canary3 failed",
            "(https://h.example/?q=canary)",
            "mail to canary@example.jp bounced",
            "<canary@example.jp>",
            "Some(\"canary@example.jp\")",
            "url=https://h.example/?canary",
            "https://hooks.slack.com/services/T0/B0/c4naryc4naryc4naryc4nary",
            "the token v^1.1#i^1#canary#I^3#r^0 was refused",
            "canaryAbc0123456789xyz",
            "client_secret 'canary' is wrong? no: client_secret='canary'",
            "http://key@127.0.0.1:9/1 dsn=canary",
        ] {
            let shown = text(told);
            let left = shown.replace("client_secret 'canary' is wrong", "");
            assert!(
                !left.contains("canary") && !left.contains("c4nary"),
                "{told}\n{shown}"
            );
        }
    }

    #[test]
    fn what_helps_at_three_in_the_morning_stays() {
        for told in [
            "Child `watch/yahoo` panicked at src/watch/patrol.rs:12:5: index out of bounds: the len is 3 but the index is 7",
            "`ebay` fails; it is left alone for 30 s, then one call tries again. Last error: the refresh token was refused",
            "page https://auctions.yahoo.co.jp/jp/auction/s1238539612 cannot be read",
            "execution 0193514c-9c2b-7e44-8f00-1234567890ab at 2026-11-22T00:00:00Z",
            "基本的な在庫: 価格 1280 円",
        ] {
            assert_eq!(text(told), told);
        }
        assert_eq!(
            text("GET https://h.example/a/b?x=1 took 3 s"),
            "GET https://h.example/a/b?[removed] took 3 s"
        );
    }

    #[test]
    fn values_of_secret_names_go_whole_and_places_in_the_code_stay() {
        let mut event = json!({
            "event_id": "0123456789abcdef0123456789abcdef",
            "message": "token=canary",
            "extra": { "client_secret": "canary", "retries": 3, "tokens": ["canary"], "note": "me@canary.example" },
            "stacktrace": { "frames": [{ "function": "zaikoban_0123456789abcdef" }] },
        });
        value(&mut event);
        assert!(!event.to_string().contains("canary"), "{event}");
        assert_eq!(event["event_id"], "0123456789abcdef0123456789abcdef");
        assert_eq!(event["extra"]["retries"], 3);
        assert_eq!(
            event["stacktrace"]["frames"][0]["function"],
            "zaikoban_0123456789abcdef"
        );
    }

    proptest! {
        #[test]
        fn any_text_comes_to_an_end_and_a_marked_secret_never_stays(
            before in "\\PC{0,40}", after in "\\PC{0,40}", sign in "[:=]"
        ) {
            text(&format!("{before}{after}"));
            let shown = text(&format!("{before} password{sign}canary4711 {after}"));
            prop_assert!(!shown.contains("canary4711") || before.contains("://") || before.contains(['"', '\'']));
        }
    }
}
