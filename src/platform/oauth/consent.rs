//! A person's consent: the page to send them to, what they bring back, and the refresh token for it (RFC 6749 §4.1).

use super::rule::{self, Consented};
use super::{OAuthSettings, rfc_refusal};
use crate::http;
use crate::platform::PlatformError;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use url::Url;

/// The longest text that is taken for an answer of the consent page.
const LONGEST_ANSWER: usize = 8 * 1024;

/// Who asks for consent. `redirect` is the address, or eBay's name for it (the "`RuName`").
#[derive(Clone, Debug)]
pub struct Asking {
    /// The application's name at the platform.
    pub client_id: String,
    /// Where the platform sends the person afterwards.
    pub redirect: String,
}

/// What a person brought back is no answer of the consent page. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCode {
    /// Nothing, or something far too long.
    #[error("1 to 8192 characters: the code, or the whole address that the browser ended at")]
    Length,
    /// An address without a code.
    #[error("an address with `code=` in it, copied whole from the browser")]
    NoCodeInAddress,
    /// The page said no.
    #[error("a consent: the page says that it was refused (`error=` in the address)")]
    Refused,
    /// It belongs to another attempt.
    #[error("the answer of this attempt: the address belongs to an earlier one, or to none of ours")]
    OtherState,
    /// Signs that no code has.
    #[error("a code of visible characters without white space")]
    Unreadable,
}

/// The address at which a person consents.
#[must_use]
pub fn address(page: &Url, asking: &Asking, scopes: &[String], state: &str) -> Url {
    let mut url = page.clone();
    url.query_pairs_mut()
        .clear()
        .append_pair("client_id", &asking.client_id)
        .append_pair("redirect_uri", &asking.redirect)
        .append_pair("response_type", "code")
        .append_pair("scope", &scopes.join(" "))
        .append_pair("state", state);
    url
}

/// The code in what a person brought back: the code itself, or the whole address, whose state must be `state` then.
///
/// # Errors
/// [`NoCode`] says what was expected.
pub fn code_in(answer: &str, state: &str) -> Result<SecretString, NoCode> {
    let answer = answer.trim();
    if answer.is_empty() || answer.len() > LONGEST_ANSWER {
        return Err(NoCode::Length);
    }
    if !answer.contains("://") {
        // Copied out of the address, a code is still escaped; the codes themselves hold no `%`.
        let pair = format!("code={}", answer.replace('+', "%2B"));
        let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
        return readable(&decoded.map(|(_, code)| code.into_owned()).unwrap_or_default());
    }
    let url = Url::parse(answer).map_err(|_no_address| NoCode::NoCodeInAddress)?;
    let field = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    if field("error").is_some() {
        return Err(NoCode::Refused);
    }
    let code = field("code").ok_or(NoCode::NoCodeInAddress)?;
    if field("state").as_deref() != Some(state) {
        return Err(NoCode::OtherState);
    }
    readable(&code)
}

fn readable(code: &str) -> Result<SecretString, NoCode> {
    if !code.is_empty() && code.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(code.to_owned().into())
    } else {
        Err(NoCode::Unreadable)
    }
}

/// A refresh token for a code; it works once, and only for some minutes.
///
/// # Errors
/// When the token endpoint refuses or fails; the text holds no part of code, secret or answer.
pub async fn exchange(
    settings: &OAuthSettings,
    asking: &Asking,
    client_secret: &SecretString,
    code: &SecretString,
    http: &http::Client,
    now: DateTime<Utc>,
) -> Result<Consented, PlatformError> {
    use secrecy::ExposeSecret as _;
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code.expose_secret()),
        ("redirect_uri", asking.redirect.as_str()),
    ];
    let request = http.post(settings.token_url.clone());
    let request = settings
        .client_auth
        .sign(request, &mut form, &asking.client_id, client_secret);
    let request = request.header("accept", "application/json").form(&form);
    let refusal = match request.send().await {
        Ok(answer) => match rule::read_consent(answer.status, &answer.body, answer.retry_after(now)) {
            Ok(consented) => return Ok(consented),
            Err(refusal) => refusal,
        },
        Err(error) => rfc_refusal(&error),
    };
    let platform = settings.platform;
    let next = match &*refusal.code {
        "invalid_grant" => {
            ": the code was used before, has ended (it lives for five minutes), or the redirect name is another one"
        }
        "invalid_client" => ": the client id or the client secret is not the one that the platform knows",
        _ => "",
    };
    Err(PlatformError {
        class: refusal.class,
        message: format!(
            "`{platform}` gave no refresh token: {} ({}){next}",
            refusal.why, refusal.code
        )
        .into(),
        code: refusal.code,
        missing: Vec::new(),
        body: None,
        away_for: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn read(answer: &str) -> Result<String, NoCode> {
        code_in(answer, "s-1").map(|code| code.expose_secret().to_owned())
    }

    #[test]
    fn the_address_holds_who_asks_for_what() {
        let page = Url::parse("https://auth.ebay.com/oauth2/authorize").unwrap();
        let asking = Asking {
            client_id: "Shop-PRD".into(),
            redirect: "Me-Shop-PRD-x".into(),
        };
        assert_eq!(
            address(&page, &asking, &["https://a/b".into(), "c".into()], "s-1").as_str(),
            "https://auth.ebay.com/oauth2/authorize?client_id=Shop-PRD&redirect_uri=Me-Shop-PRD-x&\
             response_type=code&scope=https%3A%2F%2Fa%2Fb+c&state=s-1"
        );
    }

    #[test]
    fn a_code_is_read_alone_escaped_or_out_of_the_whole_address() {
        for answer in [
            "v^1.1#i^1#x+y==",
            " v^1.1#i^1#x+y==\n",
            "v%5E1.1%23i%5E1%23x%2By%3D%3D",
            "https://shop.example/done?code=v%5E1.1%23i%5E1%23x%2By%3D%3D&expires_in=299&state=s-1",
        ] {
            assert_eq!(read(answer).unwrap(), "v^1.1#i^1#x+y==", "{answer}");
        }
    }

    #[test]
    fn what_is_no_answer_is_told_without_showing_it() {
        let long = "x".repeat(9_000);
        for (answer, expected) in [
            ("", NoCode::Length),
            (&long, NoCode::Length),
            ("https://shop.example/done?state=s-1", NoCode::NoCodeInAddress),
            (
                "https://shop.example/done?error=access_denied&state=s-1",
                NoCode::Refused,
            ),
            (
                "https://shop.example/done?code=canary&state=s-2",
                NoCode::OtherState,
            ),
            ("https://shop.example/done?code=canary", NoCode::OtherState),
            ("can ary", NoCode::Unreadable),
            ("http://[canary", NoCode::NoCodeInAddress),
        ] {
            let error = read(answer).unwrap_err();
            assert_eq!(error, expected, "{answer:.40}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }
}
