//! Amazon's storage, where documents are uploaded and reports lie: which addresses out of its answers are reached.

use crate::domain::ErrorClass;
use crate::http;
use crate::platform::PlatformError;
use url::Url;

/// Below this name lies Amazon's storage, where documents are uploaded and reports lie.
pub const FILES: &str = "amazonaws.com";
/// Amazon's own places in its storage, where every customer has some: North America's, Europe's and the Far East's.
const PLACES: &[&str] = &["tortuga-prod-na", "tortuga-prod-eu", "tortuga-prod-fe"];
/// The code of an address in an answer that is none of Amazon's storage.
pub const BAD_ADDRESS: &str = "amazon_bad_address";

/// An address out of an answer, if it is one that may be reached.
pub(super) fn address(files: &http::Client, doing: &str, text: &str) -> Result<Url, PlatformError> {
    let refused = |host: &str| {
        let places = PLACES.join("`, `");
        let message = format!(
            "did not {doing}: Amazon's answer leads to `{host}`, and documents are exchanged over https with `{places}` \
             below `{FILES}` only; nothing was sent there"
        );
        PlatformError {
            class: ErrorClass::Protocol,
            code: BAD_ADDRESS.into(),
            message: message.into(),
            missing: vec!["answer.url".into()],
            body: None,
            away_for: None,
        }
    };
    let url = Url::parse(text).map_err(|_no_address| refused("no address"))?;
    if files.reaches(&url) && is_amazons_own(&url) {
        return Ok(url);
    }
    let host: String = url.host_str().unwrap_or_default().chars().take(100).collect();
    Err(refused(&host))
}

/// Whether an address in the storage is one of Amazon's own places; what is not in the storage at all is a rehearsal's.
fn is_amazons_own(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let Some(below) = host.strip_suffix(FILES).and_then(|host| host.strip_suffix('.')) else {
        return true;
    };
    // `place.s3`, `place.s3-region`, `place.s3.region` or `place.s3.dualstack.region`; more dots may be in the name of
    // somebody else's place.
    let is_s3 = |label: &str| label == "s3" || label.starts_with("s3-");
    let labels: Vec<&str> = below.split('.').collect();
    match labels.as_slice() {
        [place, s3] => PLACES.contains(place) && is_s3(s3),
        [place, s3, region] | [place, s3, "dualstack", region] => {
            PLACES.contains(place) && is_s3(s3) && !is_s3(region)
        }
        _ => false,
    }
}
