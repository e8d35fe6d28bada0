//! Item pages as Yahoo! serves them, in our own markup around the documented object.
//!
//! A page is about 130 KB and a benchmark asks for thousands a second on the cores that it shares with the daemon, so
//! nothing is rendered that can be copied. One template per kind of goods is cut once into texts and holes. A plain
//! page is its texts copied with the holes filled in. A compressed page is that page, compressed as a web server does
//! it, and given out again for some minutes while the item stays what it is.
//!
//! The item object stands twice in `__NEXT_DATA__`, byte for byte the same, as on the real page; `pageData`, the JSON-LD
//! and the text say the same again. Carousels show other items' prices before and after the item's own.

mod drift;
mod filler;
mod hole;
mod other;
mod packed;
mod template;
mod words;

pub(super) use drift::drifted;
pub(super) use other::{OtherPage, bomb};
pub(super) use template::BadTemplate;

use super::goods::{self, GENRES, genre_index};
use super::world::{ItemState, Micros};
use bytes::Bytes;
use hole::Shown;
use packed::PackedPages;
use template::Template;

const PAGE: &str = include_str!("page/item.html");
const ITEM: &str = include_str!("page/item.json");

/// The templates, cut, and the compressed pages of late.
pub(super) struct Pages {
    seed: u64,
    templates: Vec<Template>,
    packed: PackedPages,
}

impl Pages {
    /// # Errors
    /// When a template names a hole that does not exist.
    pub(super) fn new(seed: u64) -> Result<Self, BadTemplate> {
        let templates = (0_u64..)
            .zip(&GENRES)
            .map(|(number, genre)| {
                let text = PAGE.replace("{{item}}", ITEM.trim());
                let text = filler::fill(&text, genre, super::draw::mix(seed, 0xf111, number), number);
                Template::cut(&text)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            seed,
            templates,
            packed: PackedPages::default(),
        })
    }

    /// The page of item `index` in `state`, as it looks at `now`.
    pub(super) fn render(
        &self,
        index: u32,
        state: &ItemState,
        title: &str,
        now: Micros,
        gzip: bool,
    ) -> Bytes {
        let plain = || self.plain(index, state, title, now);
        if gzip {
            self.packed.get(index, state, title, now, plain)
        } else {
            plain().into()
        }
    }

    fn plain(&self, index: u32, state: &ItemState, title: &str, now: Micros) -> Vec<u8> {
        let id = goods::item_id(self.seed, index);
        let seller = goods::seller(self.seed, index, state.store);
        let shown = Shown::new(&id, state, title, &seller, goods::genre(index), now);
        let template = self.templates.get(genre_index(index));
        template.map(|t| t.plain(&shown)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
