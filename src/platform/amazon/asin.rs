//! ASINs, and the addresses of Amazon.co.jp that hold one.
//!
//! An operator's link is read once, strictly, into an ASIN; what is stored is the canonical address, and what is asked
//! is built from the configured endpoint and the ASIN. A book's ASIN is its ISBN-10, whose check digit is checked.

use crate::domain::SourceProductId;
use std::fmt;
use url::{Host, Url};

/// The host of the shop's pages, and the one that leads to it.
const HOSTS: [&str; 2] = ["www.amazon.co.jp", "amazon.co.jp"];
/// Longer links than this are pasted by accident or made by an attacker.
const LONGEST_URL_BYTES: usize = 2048;
/// The name of the thing and the language may stand before `/dp/`.
const MOST_BEFORE_DP: usize = 3;

/// Amazon's key of a thing: ten capital letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asin(SourceProductId);

/// Why a text is no ASIN, or no address of a product page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a product page such as https://www.amazon.co.jp/dp/B07FZ8S74R, got `{got}`: {why}")]
pub struct AsinError {
    /// The text, cut to 120 characters.
    pub got: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl Asin {
    /// Reads an ASIN as it stands in a list or an answer.
    ///
    /// # Errors
    /// When it is neither `B` and nine capital letters or digits, nor an ISBN-10.
    pub fn new(text: &str) -> Result<Self, AsinError> {
        let no = |why| AsinError {
            got: text.chars().take(120).collect(),
            why,
        };
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        if text.len() != 10 || !plain {
            return Err(no("an ASIN has ten capital letters and digits"));
        }
        if !text.starts_with('B') && !is_isbn10(text) {
            return Err(no(
                "an ASIN begins with B, or is an ISBN-10 whose check digit is right",
            ));
        }
        let id = SourceProductId::new(text).map_err(|_refused| no("holds a forbidden character"))?;
        Ok(Self(id))
    }

    /// Reads the ASIN out of a link to a product page: `/dp/ASIN` with or without the product's name before it, or
    /// `/gp/product/ASIN`. Query, fragment and a trailing `/ref=…` are dropped.
    ///
    /// # Errors
    /// When the link is anything else: another host, another scheme, credentials, a port, another path.
    pub fn of_link(link: &str) -> Result<Self, AsinError> {
        let no = |why| AsinError {
            got: link.chars().take(120).collect(),
            why,
        };
        if link.len() > LONGEST_URL_BYTES {
            return Err(no("longer than 2048 bytes"));
        }
        // The URL parser silently drops tabs and line ends and turns `\` into `/`; what is dropped silently is refused.
        if link
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return Err(no("holds white space, a control character or a backslash"));
        }
        let url = Url::parse(link).map_err(|_broken| no("not a complete URL"))?;
        if let Some(why) = place_problem(&url) {
            return Err(no(why));
        }
        let text = asin_in(&url).ok_or_else(|| no("the path is neither /dp/ASIN nor /gp/product/ASIN"))?;
        // The shop takes small letters, too.
        Self::new(&text.to_ascii_uppercase()).map_err(|error| no(error.why))
    }

    /// The ASIN of a watched item.
    ///
    /// # Errors
    /// When the item's id is none.
    pub fn of(id: &SourceProductId) -> Result<Self, AsinError> {
        Self::new(id.as_str())
    }

    /// The ASIN as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The ASIN as the id of a watched item.
    #[must_use]
    pub fn id(&self) -> &SourceProductId {
        &self.0
    }

    /// The address that is stored and shown.
    #[must_use]
    pub fn page(&self) -> String {
        format!("https://www.amazon.co.jp/dp/{self}")
    }
}

impl fmt::Display for Asin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wrong with where a link leads.
fn place_problem(url: &Url) -> Option<&'static str> {
    if url.scheme() != "https" {
        return Some("not https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds a user name or password");
    }
    if url.port().is_some() {
        return Some("names a port");
    }
    match url.host() {
        Some(Host::Domain(host)) if HOSTS.contains(&host) => None,
        Some(Host::Domain(host)) if host.contains("xn--") => {
            Some("the host holds letters of another script that look like ours")
        }
        _ => Some("another host than www.amazon.co.jp"),
    }
}

/// The text that stands where a product page's path has its ASIN.
fn asin_in(url: &Url) -> Option<&str> {
    let mut parts: Vec<&str> = url.path_segments()?.collect();
    if parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    if parts.len() > 1 && parts.last().is_some_and(|last| last.starts_with("ref=")) {
        parts.pop();
    }
    match parts.as_slice() {
        ["gp", "product", asin] => Some(asin),
        [before @ .., "dp", asin] if before.len() <= MOST_BEFORE_DP => Some(asin),
        _ => None,
    }
}

/// Nine digits and a check digit: the sum of the digits times 10, 9, … 1 is a multiple of eleven, `X` being ten.
fn is_isbn10(text: &str) -> bool {
    let value = |(place, c): (u32, char)| match (place, c) {
        (9, 'X') => Some(10),
        _ => c.to_digit(10),
    };
    let sum = (0_u32..).zip(text.chars()).try_fold(0_u32, |sum, (place, c)| {
        value((place, c)).map(|v| sum + v * 10_u32.saturating_sub(place))
    });
    sum.is_some_and(|sum| sum % 11 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asins_and_isbns_are_told_from_other_texts() {
        for good in ["B07FZ8S74R", "B000P6Q7MY", "4873119030", "080442957X"] {
            assert_eq!(Asin::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "B07FZ8S74",
            "B07FZ8S74RR",
            "b07fz8s74r",
            "A07FZ8S74R",
            "4873119031",
            "X804429570",
            "B07FZ8S74-",
            "Ｂ07FZ8S7",
            "../../etc/",
        ] {
            assert!(Asin::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn product_pages_are_read_in_their_many_shapes() {
        for link in [
            "https://www.amazon.co.jp/dp/B07FZ8S74R",
            "https://amazon.co.jp/dp/B07FZ8S74R/",
            "https://www.amazon.co.jp/gp/product/B07FZ8S74R/ref=ppx_yo_dt_b_asin_title_o00",
            "https://www.amazon.co.jp/%E3%82%AB%E3%83%A1%E3%83%A9-ZK-1/dp/B07FZ8S74R/ref=sr_1_1?keywords=x&qid=1#top",
            "https://www.amazon.co.jp/カメラ/dp/b07fz8s74r?th=1",
            "https://WWW.amazon.co.jp:443/-/en/name/dp/B07FZ8S74R",
        ] {
            let asin = Asin::of_link(link).unwrap();
            assert_eq!(asin.page(), "https://www.amazon.co.jp/dp/B07FZ8S74R", "{link}");
        }
    }

    #[test]
    fn links_elsewhere_are_refused() {
        for link in [
            "",
            "B07FZ8S74R",
            "http://www.amazon.co.jp/dp/B07FZ8S74R",
            "https://www.amazon.com/dp/B07FZ8S74R",
            "https://www.amazon.co.jp.evil.example/dp/B07FZ8S74R",
            "https://www.amazon.co.jp./dp/B07FZ8S74R",
            "https://evil.example/www.amazon.co.jp/dp/B07FZ8S74R",
            "https://me:pw@www.amazon.co.jp/dp/B07FZ8S74R",
            "https://www.amazon.co.jp@10.0.0.1/dp/B07FZ8S74R",
            "https://www.amazon.co.jp:8443/dp/B07FZ8S74R",
            "https://ａmazon.co.jp.evil/dp/B07FZ8S74R",
            "https://smile.amazon.co.jp/dp/B07FZ8S74R",
            "https://www.amazon.co.jp/dp/",
            "https://www.amazon.co.jp/dp/B07FZ8S74",
            "https://www.amazon.co.jp/dp/B07FZ8S74R/reviews",
            "https://www.amazon.co.jp/a/b/c/d/dp/B07FZ8S74R",
            "https://www.amazon.co.jp/s?k=B07FZ8S74R",
            "https://www.amazon.co.jp/gp/product/../../etc/passwd",
            "https://www.amazon.co.jp/dp/B07FZ8S7\r\n4R",
            "https://www.amazon.co.jp\\dp\\B07FZ8S74R",
        ] {
            assert!(Asin::of_link(link).is_err(), "{link}");
        }
    }
}
