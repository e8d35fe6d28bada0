//! Item pages as Yahoo! serves them, in our own markup around the documented object.
//!
//! A page is about 130 KB and a benchmark asks for thousands a second on the cores that it shares with the daemon, so
//! nothing is rendered that can be copied. One template per kind of goods is cut once into texts and holes. A plain
//! page is its texts copied with the holes filled in. A compressed page is put together from deflate blocks: every long
//! text was compressed once, ending on a byte and looking back at nothing (a full flush), the rest goes between them as
//! stored blocks. What comes out is one ordinary gzip member of about a quarter of the page, for the price of copying it.
//!
//! The item object stands twice in `__NEXT_DATA__`, byte for byte the same, as on the real page; `pageData`, the JSON-LD
//! and the text say the same again. Carousels show other items' prices before and after the item's own.

mod drift;
mod filler;
mod hole;
mod other;
mod template;

pub(super) use drift::drifted;
pub(super) use other::{OtherPage, bomb};
pub(super) use template::BadTemplate;

use super::goods::{self, GENRES, genre_index};
use super::world::{ItemState, Micros};
use hole::Shown;
use template::Template;

const PAGE: &str = include_str!("page/item.html");
const ITEM: &str = include_str!("page/item.json");

/// The templates, cut and compressed.
pub(super) struct Pages {
    seed: u64,
    templates: Vec<Template>,
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
        Ok(Self { seed, templates })
    }

    /// The page of item `index` in `state`, as it looks at `now`.
    pub(super) fn render(
        &self,
        index: u32,
        state: &ItemState,
        title: &str,
        now: Micros,
        gzip: bool,
    ) -> Vec<u8> {
        let id = goods::item_id(self.seed, index);
        let seller = goods::seller(self.seed, index, state.store);
        let shown = Shown::new(&id, state, title, &seller, goods::genre(index), now);
        match self.templates.get(genre_index(index)) {
            Some(template) if gzip => template.gzip(&shown),
            Some(template) => template.plain(&shown),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
