//! `[alerts.sms]`.

use super::Reader;
use crate::alert::{SecretUrl, SmsSender, SmsSettings};
use crate::config::checks;

/// Twilio's interface.
const TWILIO: &str = "https://api.twilio.com";
/// More readers are no group that is woken at night.
const MOST_NUMBERS: usize = 20;
/// A name in place of a sender's number, as networks carry it.
const LONGEST_NAME: usize = 11;

pub(super) fn sms(r: &mut Reader) -> Option<SmsSettings> {
    let account_sid = r.text("alerts.sms.account_sid");
    let auth_token = r.secret("alerts.sms.auth_token");
    let from = r.text("alerts.sms.from");
    let service = r.text("alerts.sms.messaging_service_sid");
    let to = r.list("alerts.sms.to");
    let per_hour = r.whole("alerts.sms.per_hour", 1..=1_000, 20);
    let ca_file = checks::ca_file(r, "alerts.sms.ca_file");
    let endpoint = endpoint(r);
    if account_sid.is_none() && auth_token.is_none() && from.is_none() && service.is_none() && to.is_none() {
        return None;
    }
    let account_sid = account_sid.unwrap_or_default();
    if !is_sid(&account_sid, "AC") {
        let expected = "the account's SID, `AC` and 32 hexadecimal digits, as Twilio's console shows it";
        r.complain("alerts.sms.account_sid", &got(&account_sid), expected, None);
    }
    if auth_token.is_none() {
        let expected = "the account's auth token, as Twilio's console shows it";
        r.complain("alerts.sms.auth_token", "nothing", expected, None);
    }
    let to = numbers(r, to.unwrap_or_default());
    let most = u32::try_from(to.len()).unwrap_or(u32::MAX);
    if per_hour < most {
        let expected = format!("at least {most}, one text for each number of `alerts.sms.to`");
        r.complain("alerts.sms.per_hour", &per_hour.to_string(), &expected, None);
    }
    Some(SmsSettings {
        sender: sender(r, from, service)?,
        auth_token: auth_token?,
        endpoint: endpoint?,
        account_sid,
        to,
        per_hour,
        ca_file,
    })
}

fn endpoint(r: &mut Reader) -> Option<SecretUrl> {
    let typed = r.text_or("alerts.sms.endpoint", TWILIO);
    let read = SecretUrl::parse(&typed).map_err(str::to_owned);
    let read = read.and_then(|url| match url.refused() {
        Some(refused) => Err(format!("an address that may be reached: {refused}")),
        None => Ok(url),
    });
    match read {
        Ok(url) => Some(url),
        Err(expected) => {
            r.complain("alerts.sms.endpoint", "something else", &expected, None);
            None
        }
    }
}

fn sender(r: &mut Reader, from: Option<String>, service: Option<String>) -> Option<SmsSender> {
    match (from, service) {
        (Some(from), None) => {
            if !is_number(&from) && !is_name(&from) {
                let expected = "a number such as \"+815012345678\", or up to 11 letters and digits";
                r.complain("alerts.sms.from", &got(&from), expected, None);
            }
            Some(SmsSender::From(from))
        }
        (None, Some(service)) => {
            if !is_sid(&service, "MG") {
                let expected = "a messaging service's SID, `MG` and 32 hexadecimal digits";
                r.complain("alerts.sms.messaging_service_sid", &got(&service), expected, None);
            }
            Some(SmsSender::Service(service))
        }
        (from, _) => {
            let said = if from.is_some() { "both" } else { "nothing" };
            let expected = "either this, the sender's number, or `messaging_service_sid`";
            r.complain("alerts.sms.from", said, expected, None);
            None
        }
    }
}

fn numbers(r: &mut Reader, to: Vec<String>) -> Vec<String> {
    if to.is_empty() || to.len() > MOST_NUMBERS {
        let expected = format!("a list of 1 to {MOST_NUMBERS} numbers such as [\"+819012345678\"]");
        r.complain("alerts.sms.to", &to.len().to_string(), &expected, None);
    }
    for number in to.iter().filter(|number| !is_number(number)) {
        let expected =
            "a number with its country and without spaces, such as \"+819012345678\" for 090-1234-5678";
        r.complain("alerts.sms.to", &got(number), expected, None);
    }
    let mut once = to;
    once.sort();
    once.dedup();
    once
}

/// E.164: a plus, and 8 to 15 digits of which the first is no zero.
fn is_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

fn is_name(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ');
    (1..=LONGEST_NAME).contains(&text.len()) && plain && text.bytes().any(|b| b.is_ascii_alphabetic())
}

fn is_sid(text: &str, kind: &str) -> bool {
    text.strip_prefix(kind)
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn got(typed: &str) -> String {
    if typed.is_empty() {
        "nothing".to_owned()
    } else {
        format!("`{}`", typed.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use crate::alert::SmsSender;
    use crate::config::load;

    fn typed(values: &[(&str, &str)]) -> Vec<(String, String)> {
        let of =
            |(name, value): &(&str, &str)| (format!("ZAIKOBAN_ALERTS__SMS__{name}"), (*value).to_owned());
        values.iter().map(of).collect()
    }

    const SID: &str = "AC0123456789abcdef0123456789abcdef";
    const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";

    #[test]
    fn an_account_a_sender_and_numbers_are_read() {
        let settings = load(
            None,
            typed(&[
                ("ACCOUNT_SID", SID),
                ("AUTH_TOKEN", "canary"),
                ("MESSAGING_SERVICE_SID", SERVICE),
                ("TO", "+819012345678, +818012345678,+819012345678"),
            ]),
        )
        .unwrap();
        assert!(!format!("{settings:?}").contains("canary"));
        let sms = settings.alerts.sms.unwrap();
        assert_eq!(sms.sender, SmsSender::Service(SERVICE.to_owned()));
        assert_eq!(sms.to, ["+818012345678", "+819012345678"], "nobody is told twice");
        assert_eq!(
            (sms.endpoint.origin().as_str(), sms.per_hour),
            ("https://api.twilio.com", 20)
        );
        assert!(load(None, []).unwrap().alerts.sms.is_none());
    }

    #[test]
    fn every_mistake_is_told_at_once_and_none_shows_the_token() {
        let problems = |values: &[(&str, &str)]| {
            let problems = load(None, typed(values)).unwrap_err().problems;
            let mut keys: Vec<String> = problems.iter().map(|p| p.key.clone()).collect();
            keys.dedup();
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            (keys, all.join("\n"))
        };
        let (keys, all) = problems(&[
            ("ACCOUNT_SID", "AC12"),
            ("AUTH_TOKEN", "canary"),
            ("FROM", "+81 50 1234"),
            ("TO", "09012345678,+81-90,+819012345678"),
            ("PER_HOUR", "2"),
            ("ENDPOINT", "http://api.twilio.com"),
        ]);
        for name in ["account_sid", "from", "to", "per_hour", "endpoint"] {
            assert!(keys.contains(&format!("alerts.sms.{name}")), "{name} in {all}");
        }
        assert!(!all.contains("canary"), "{all}");
        let (keys, all) = problems(&[("FROM", "zaikoban"), ("MESSAGING_SERVICE_SID", SERVICE)]);
        for name in ["account_sid", "auth_token", "from", "to"] {
            assert!(keys.contains(&format!("alerts.sms.{name}")), "{name} in {all}");
        }
    }
}
