//! Item ids and addresses: the only shapes that ever become a request.
//!
//! An operator's link is read once, strictly, into an id; what is stored is the canonical address, and what is requested
//! is built from the configured endpoint and the id. So no text that a person or a page supplied can choose a host, a
//! port or a path.

use crate::domain::SourceProductId;
use url::{Host, Url};

/// The host that serves item pages today.
const CANONICAL_HOST: &str = "auctions.yahoo.co.jp";
/// The host of the same pages up to 2024; links to it still stand everywhere.
const OLD_HOST: &str = "page.auctions.yahoo.co.jp";
/// Longer links than this are pasted by accident or made by an attacker.
const LONGEST_URL_BYTES: usize = 2048;

/// Why a text is no address of a Yahoo! Auctions item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an item page such as https://auctions.yahoo.co.jp/jp/auction/s1238539612, got `{got}`: {why}"
)]
pub struct AddressError {
    /// The text, cut to 120 characters.
    pub got: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

/// Reads the item id out of a link to an item page, in its present or its old host form.
///
/// Query and fragment are dropped.
///
/// # Errors
/// When the link is anything else: another host, credentials, a port, another path, an id of another shape.
pub fn source_product_id(link: &str) -> Result<SourceProductId, AddressError> {
    let no = |why| AddressError {
        got: link.chars().take(120).collect(),
        why,
    };
    if link.len() > LONGEST_URL_BYTES {
        return Err(no("longer than 2048 bytes"));
    }
    // The URL parser silently drops tabs and line ends and turns `\` into `/`; what is dropped silently is refused here.
    if link
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return Err(no("holds white space, a control character or a backslash"));
    }
    let Ok(url) = Url::parse(link) else {
        return Err(no("not a complete URL"));
    };
    if !matches!(url.scheme(), "https" | "http") {
        return Err(no("neither https nor http"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(no("holds a user name or password"));
    }
    if url.port().is_some() {
        return Err(no("names a port"));
    }
    if let Some(why) = host_problem(&url) {
        return Err(no(why));
    }
    let id = url
        .path()
        .strip_prefix("/jp/auction/")
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest))
        .ok_or_else(|| no("the path is not /jp/auction/ID"))?;
    if !is_item_id(id) {
        return Err(no(
            "the id is not one lower-case letter and 6 to 12 digits, or 6 to 12 digits alone",
        ));
    }
    SourceProductId::new(id).map_err(|_refused| no("the id holds a forbidden character"))
}

/// What is wrong with the host, in the words that say how it tries to pass for ours.
fn host_problem(url: &Url) -> Option<&'static str> {
    let host = match url.host() {
        Some(Host::Domain(host)) => host,
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Some("the host is a number, not auctions.yahoo.co.jp"),
        None => return Some("names no host"),
    };
    if host == CANONICAL_HOST || host == OLD_HOST {
        None
    } else if host.ends_with('.') {
        Some("the host ends with a dot")
    } else if host.contains("xn--") {
        Some("the host holds letters of another script that look like ours")
    } else {
        Some("another host than auctions.yahoo.co.jp")
    }
}

/// Whether `id` has the shape of an auction id: an optional lower-case letter, then 6 to 12 digits.
#[must_use]
pub fn is_item_id(id: &str) -> bool {
    let digits = id.strip_prefix(|c: char| c.is_ascii_lowercase()).unwrap_or(id);
    (6..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The address that is stored and shown for an item.
#[must_use]
pub fn canonical_url(id: &SourceProductId) -> String {
    format!("https://{CANONICAL_HOST}/jp/auction/{id}")
}

/// The address that is asked: the platform's `endpoint` (the only host its client may reach) and the id.
#[must_use]
pub fn request_url(endpoint: &Url, id: &SourceProductId) -> Url {
    let mut url = endpoint.clone();
    url.set_path(&format!("/jp/auction/{id}"));
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hosts_and_both_id_shapes_are_read() {
        for (link, id) in [
            (
                "https://auctions.yahoo.co.jp/jp/auction/s1238539612",
                "s1238539612",
            ),
            (
                "https://page.auctions.yahoo.co.jp/jp/auction/x805284563",
                "x805284563",
            ),
            (
                "http://auctions.yahoo.co.jp/jp/auction/1219987808/?a=1#top",
                "1219987808",
            ),
            (
                "https://AUCTIONS.yahoo.co.jp:443/jp/auction/1219987808",
                "1219987808",
            ),
        ] {
            assert_eq!(source_product_id(link).unwrap().as_str(), id, "{link}");
        }
    }

    #[test]
    fn links_elsewhere_are_refused() {
        for link in [
            "",
            "s1238539612",
            "ftp://auctions.yahoo.co.jp/jp/auction/s1238539612",
            "file:///jp/auction/s1238539612",
            "https://auctions.yahoo.co.jp@10.0.0.1/jp/auction/s1238539612",
            "https://me:pw@auctions.yahoo.co.jp/jp/auction/s1238539612",
            "https://auctions.yahoo.co.jp:8443/jp/auction/s1238539612",
            "https://auctions.yahoo.co.jp./jp/auction/s1238539612",
            "https://auctions.yahoo.co.jp.evil.example/jp/auction/s1238539612",
            "https://127.0.0.1/jp/auction/s1238539612",
            "https://[::1]/jp/auction/s1238539612",
            "https://2130706433/jp/auction/s1238539612",
            "https://ａuctions.yahoo.co.jp.evil/jp/auction/s1238539612",
            "https://auctions.yahoo.co.jp/jp/auction/",
            "https://auctions.yahoo.co.jp/jp/auction/../../etc/passwd",
            "https://auctions.yahoo.co.jp/jp/auction/S1238539612",
            "https://auctions.yahoo.co.jp/jp/auction/%73123853961",
            "https://auctions.yahoo.co.jp/jp/auction/s123853\r\n9612",
            "https://auctions.yahoo.co.jp\\jp\\auction\\s1238539612",
            "https://auctions.yahoo.co.jp/search/search?p=x",
            "https://paypayfleamarket.yahoo.co.jp/item/z123456789",
            &format!(
                "https://auctions.yahoo.co.jp/jp/auction/s1238539612?{}",
                "x".repeat(2048)
            ),
        ] {
            assert!(source_product_id(link).is_err(), "{link}");
        }
    }

    #[test]
    fn a_request_goes_to_the_endpoint_whatever_its_path_says() {
        let endpoint = Url::parse("http://127.0.0.1:8080/old?x=1#y").unwrap();
        let id = SourceProductId::new("s1238539612").unwrap();
        assert_eq!(
            request_url(&endpoint, &id).as_str(),
            "http://127.0.0.1:8080/jp/auction/s1238539612"
        );
        assert_eq!(
            canonical_url(&id),
            "https://auctions.yahoo.co.jp/jp/auction/s1238539612"
        );
    }
}
