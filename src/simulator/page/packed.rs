//! Compressed pages, each kept for some minutes.

use crate::simulator::world::{ItemState, Micros};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::Write;

/// What Apache and most others take by default.
const LEVEL: u32 = 6;
/// How long a page that has not changed is given out again, in microseconds: only its clock stands still meanwhile.
const KEPT_US: Micros = 300_000_000;
/// The most pages kept, of some 33 kB each.
const KEPT_MOST: usize = 8_192;

struct Kept {
    state: ItemState,
    title: Box<str>,
    at: Micros,
    page: Bytes,
}

/// The pages that were compressed of late, by item.
#[derive(Default)]
pub(super) struct PackedPages(Mutex<HashMap<u32, Kept>>);

impl PackedPages {
    /// The page of item `index`: the one kept, else what `plain` makes, compressed.
    pub(super) fn get(
        &self,
        index: u32,
        state: &ItemState,
        title: &str,
        now: Micros,
        plain: impl FnOnce() -> Vec<u8>,
    ) -> Bytes {
        if let Some(kept) = self.0.lock().get(&index)
            && (kept.state, &*kept.title) == (*state, title)
            && (0..KEPT_US).contains(&(now - kept.at))
        {
            return kept.page.clone();
        }
        // Not under the lock: it takes two milliseconds.
        let page = Bytes::from(gzip(&plain()));
        let kept = Kept {
            state: *state,
            title: title.into(),
            at: now,
            page: page.clone(),
        };
        let mut all = self.0.lock();
        if all.len() >= KEPT_MOST {
            all.clear();
        }
        all.insert(index, kept);
        page
    }
}

/// `text` as one gzip member.
fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 3), Compression::new(LEVEL));
    // Into memory nothing fails; an empty body would be seen as one.
    let written = encoder.write_all(text);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}
