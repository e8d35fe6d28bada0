//! `[platforms.mercari]`: what is typed of Mercari Shops.

use super::checks;
use super::reader::Reader;
use super::resolve::{endpoint, is_typed, pace};
use super::settings::PaceSettings;
use secrecy::SecretString;
use std::path::PathBuf;
use url::Url;

/// Mercari Shops.
#[derive(Clone, Debug)]
pub struct MercariSettings {
    /// Whether listings are kept in line there.
    pub enabled: bool,
    /// The only host the client may reach.
    pub endpoint: Url,
    /// A certificate authority that alone is trusted, in place of the system's; for rehearsals.
    pub ca_file: Option<PathBuf>,
    /// Rate and limits.
    pub pace: PaceSettings,
    /// The name that Mercari assigned to this program; empty only while it is not enabled.
    pub client_name: String,
    /// The shop's token; what is typed stands over what `zaikoban credentials set` keeps.
    pub token: Option<SecretString>,
    /// The cost points that an hour has.
    pub points_per_hour: u32,
}

const CLIENT_NAME: &str = "platforms.mercari.client_name";

pub(super) fn mercari(r: &mut Reader) -> Option<MercariSettings> {
    let enabled = r.flag("platforms.mercari.enabled", false);
    let client_name = r.text_or(CLIENT_NAME, "");
    if enabled && client_name.is_empty() {
        let expected = "the API client name that Mercari assigned, such as \"Your_Shop\"";
        let hint = "it stands in the contract for the API; without it Mercari turns requests away";
        r.complain(CLIENT_NAME, "none", expected, Some(hint));
    } else if !client_name.is_empty() && !is_client_name(&client_name) {
        let got = format!("`{}`", client_name.chars().take(60).collect::<String>());
        let expected =
            "a name of 1 to 100 plain ASCII characters without spaces and `/` (the version is added)";
        r.complain(CLIENT_NAME, &got, expected, None);
    }
    Some(MercariSettings {
        enabled,
        ca_file: checks::ca_file(r, "platforms.mercari.ca_file"),
        // 9,000 requests an hour: within the hour's points as long as most cost one.
        pace: pace(r, "platforms.mercari", 2.5, 4, 20),
        client_name,
        // It may be kept sealed instead: without one Mercari waits, and says so.
        token: r.secret("platforms.mercari.token").filter(is_typed),
        points_per_hour: r.whole("platforms.mercari.points_per_hour", 1..=10_000_000, 10_000),
        // Last: everything is read before anything gives up.
        endpoint: endpoint(r, "platforms.mercari.endpoint", "https://api.mercari-shops.com")?,
    })
}

/// What can stand before the `/` of a user agent.
fn is_client_name(name: &str) -> bool {
    (1..=100).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
}

#[cfg(test)]
mod tests {
    use super::super::{load, load_shown};
    use std::io::Write as _;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn it_is_off_unless_said_and_may_be_on_before_its_token_is_there() {
        let off = load(None, []).unwrap().mercari;
        assert!(!off.enabled && off.token.is_none());
        assert_eq!(
            (off.endpoint.as_str(), off.points_per_hour),
            ("https://api.mercari-shops.com/", 10_000)
        );
        let file = file("[platforms.mercari]\nenabled = true\nclient_name = 'Your_Shop'\ntoken = ''\n");
        let on = load(Some(file.path()), []).unwrap().mercari;
        assert!(on.enabled && on.token.is_none());
        assert_eq!(on.client_name, "Your_Shop");
    }

    #[test]
    fn all_its_problems_are_named_at_once_and_its_token_is_never_shown() {
        let file = file(
            "[platforms.mercari]\nenabled = true\ntoken = 'msp_canary'\npoints_per_hour = 0\nca_file = '/nowhere'\n\
             endpoint = 'http://example.com'\nclient_nam = 'x'\n",
        );
        let bad = load(Some(file.path()), []).unwrap_err();
        let told: String = bad.problems.iter().map(|p| format!("{p}\n")).collect();
        for key in [
            "client_name",
            "points_per_hour",
            "ca_file",
            "endpoint",
            "client_nam",
        ] {
            assert!(
                told.contains(&format!("`platforms.mercari.{key}`")),
                "{key}: {told}"
            );
        }
        assert!(!told.contains("canary"), "{told}");
        for name in ["a b", "a/1.0", "在庫"] {
            let set = [(
                "ZAIKOBAN_PLATFORMS__MERCARI__CLIENT_NAME".to_owned(),
                name.to_owned(),
            )];
            assert!(load(None, set).is_err(), "{name}");
        }
        let set = [(
            "ZAIKOBAN_PLATFORMS__MERCARI__TOKEN".to_owned(),
            "msp_canary".to_owned(),
        )];
        let (settings, shown) = load_shown(None, set).unwrap();
        assert!(settings.mercari.token.is_some());
        let told = format!("{settings:?} {}", serde_json::to_string(&shown).unwrap());
        assert!(!told.contains("canary"), "{told}");
        assert!(told.contains("platforms.mercari.token"), "{told}");
    }
}
