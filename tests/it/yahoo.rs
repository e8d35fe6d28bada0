//! Yahoo! Auctions pages: what is read of which, and that nothing wrong is ever read.
//!
//! Pages of our own stand in `tests/fixtures/yahoo` and in [`pages`]; real captured pages beside the project
//! (`../shared/data/yahoo`) are used too where they are present.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON values of our own making are taken apart by name"
)]

mod adapter;
mod hostile;
mod items;
mod kinds;
mod mutation;
pub mod pages;

use chrono::{DateTime, Utc};
use zaikoban::domain::{Observation, SourceProductId};
use zaikoban::platform::PlatformError;
use zaikoban::platform::yahoo::{self, PageBytes};

/// When every page of these tests was fetched.
pub fn now() -> DateTime<Utc> {
    "2026-08-01T15:00:00Z".parse().unwrap()
}

pub fn id(text: &str) -> SourceProductId {
    SourceProductId::new(text).unwrap()
}

/// Reads `html` as the page of `asked`.
pub fn read(html: impl AsRef<[u8]>, asked: &str) -> Result<Observation, PlatformError> {
    let asked = id(asked);
    let url = yahoo::canonical_url(&asked);
    yahoo::extract(
        &PageBytes {
            status: 200,
            content_type: Some("text/html; charset=utf-8"),
            url: &url,
            asked: Some(&asked),
            body: html.as_ref(),
        },
        now(),
    )
}

/// Checks `html` against `seen`.
pub fn confirm(html: &str, seen: &Observation) -> Result<(), PlatformError> {
    let url = yahoo::canonical_url(&seen.source_product_id);
    yahoo::confirm(
        &PageBytes {
            status: 200,
            content_type: None,
            url: &url,
            asked: None,
            body: html.as_bytes(),
        },
        seen,
    )
}

/// The captured pages with their ids, if the folder is there.
pub fn captures() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for up in std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors() {
        let folder = up.join("shared/data/yahoo");
        let Ok(files) = std::fs::read_dir(folder) else {
            continue;
        };
        for file in files {
            let html = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let canonical = html.split("rel=\"canonical\" href=\"").nth(1).unwrap();
            let url = canonical.split('"').next().unwrap();
            let asked = yahoo::source_product_id(url).unwrap();
            found.push((asked.as_str().to_owned(), html));
        }
        break;
    }
    found.sort();
    found
}
