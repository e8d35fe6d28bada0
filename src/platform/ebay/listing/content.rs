//! What eBay takes as the content of a listing, as far as its documents tell without asking.

use crate::domain::Currency;
use crate::platform::registrar::{ContentProblem, ListingContent};

/// The longest title, in characters.
const TITLE: usize = 80;
/// The longest `listingDescription`, tags included.
const DESCRIPTION: usize = 500_000;
/// The most pictures of a listing of one thing.
const IMAGES: usize = 24;
/// The longest address of a picture that is sent.
const IMAGE_ADDRESS: usize = 2_000;
/// The longest name of an aspect, and the longest of its values.
const ASPECT_NAME: usize = 40;
const ASPECT_VALUE: usize = 50;
/// The most aspects, and values of one: far beyond what a category asks for.
const ASPECTS: usize = 100;
/// The longest note about the condition.
const CONDITION_NOTE: usize = 1_000;
/// The longest key of a place.
const LOCATION: usize = 36;

/// `ConditionEnum`.
const CONDITIONS: [&str; 17] = [
    "NEW",
    "LIKE_NEW",
    "NEW_OTHER",
    "NEW_WITH_DEFECTS",
    "CERTIFIED_REFURBISHED",
    "EXCELLENT_REFURBISHED",
    "VERY_GOOD_REFURBISHED",
    "GOOD_REFURBISHED",
    "SELLER_REFURBISHED",
    "USED_EXCELLENT",
    "USED_VERY_GOOD",
    "USED_GOOD",
    "USED_ACCEPTABLE",
    "FOR_PARTS_OR_NOT_WORKING",
    "PRE_OWNED_EXCELLENT",
    "PRE_OWNED_FAIR",
    "MANUFACTURER_REFURBISHED",
];

/// Marketplaces of `MarketplaceEnum` that sell in a currency which can be counted here.
const MARKETPLACES: [(&str, Currency); 12] = [
    ("EBAY_US", Currency::Usd),
    ("EBAY_MOTORS_US", Currency::Usd),
    ("EBAY_GB", Currency::Gbp),
    ("EBAY_AU", Currency::Aud),
    ("EBAY_CA", Currency::Cad),
    ("EBAY_DE", Currency::Eur),
    ("EBAY_FR", Currency::Eur),
    ("EBAY_IT", Currency::Eur),
    ("EBAY_ES", Currency::Eur),
    ("EBAY_NL", Currency::Eur),
    ("EBAY_AT", Currency::Eur),
    ("EBAY_IE", Currency::Eur),
];

/// Parts of a description that eBay counts as active content.
const ACTIVE: [&str; 6] = ["<script", "<iframe", "<form", "<embed", "<object", "javascript:"];

/// What a marketplace sells in.
pub(super) fn currency(marketplace: &str) -> Option<Currency> {
    let found = MARKETPLACES.iter().find(|(name, _)| *name == marketplace);
    found.map(|(_, currency)| *currency)
}

/// Everything that is wrong with `content`.
pub(super) fn problems(content: &ListingContent) -> Vec<ContentProblem> {
    let mut found = Found::default();
    found.text("title", &content.title, TITLE);
    found.description(&content.description);
    found.images(&content.images);
    found.digits("category", &content.category);
    if !CONDITIONS.contains(&content.condition.as_str()) {
        let expected = format!("one of {}", CONDITIONS.join(", "));
        found.push("condition", expected, &content.condition);
    }
    if let Some(note) = &content.condition_description {
        found.text("condition_description", note, CONDITION_NOTE);
    }
    found.aspects(content);
    if currency(&content.marketplace).is_none() {
        let known = MARKETPLACES.map(|(name, _)| name).join(", ");
        found.push("marketplace", format!("one of {known}"), &content.marketplace);
    }
    found.text("location", &content.location, LOCATION);
    found.digits("policies.fulfillment", &content.policies.fulfillment);
    found.digits("policies.payment", &content.policies.payment);
    found.digits("policies.returns", &content.policies.returns);
    found.0
}

#[derive(Default)]
struct Found(Vec<ContentProblem>);

impl Found {
    fn push(&mut self, field: &str, expected: impl Into<String>, got: &str) {
        self.0.push(ContentProblem {
            field: field.to_owned(),
            expected: expected.into(),
            got: got.chars().take(60).flat_map(char::escape_debug).collect(),
        });
    }

    /// A line of 1 to `most` characters.
    fn text(&mut self, field: &str, text: &str, most: usize) {
        let count = text.chars().count();
        if text.trim().is_empty() || count > most {
            self.push(field, format!("1 to {most} characters"), &shown(text, count));
        } else if text.chars().any(char::is_control) {
            self.push(field, "a text without control characters", text);
        }
    }

    fn digits(&mut self, field: &str, text: &str) {
        let good = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !good {
            self.push(field, "eBay's number of it, 1 to 20 digits", text);
        }
    }

    fn description(&mut self, html: &str) {
        let count = html.chars().count();
        if html.trim().is_empty() || count > DESCRIPTION {
            self.push(
                "description",
                format!("1 to {DESCRIPTION} characters"),
                &shown(html, count),
            );
        }
        let low = html.to_ascii_lowercase();
        if let Some(active) = ACTIVE.iter().find(|part| low.contains(**part)) {
            self.push("description", "HTML without active content", active);
        }
    }

    fn images(&mut self, images: &[String]) {
        if !(1..=IMAGES).contains(&images.len()) {
            let got = images.len().to_string();
            self.push("images", format!("1 to {IMAGES} addresses"), &got);
        }
        for (at, image) in images.iter().enumerate() {
            let good = image.len() <= IMAGE_ADDRESS
                && url::Url::parse(image).is_ok_and(|url| url.scheme() == "https" && url.has_host());
            if !good {
                self.push(
                    &format!("images[{at}]"),
                    "an address that begins with https://",
                    image,
                );
            }
        }
    }

    fn aspects(&mut self, content: &ListingContent) {
        let count = content.aspects.len();
        if !(1..=ASPECTS).contains(&count) {
            self.push(
                "aspects",
                format!("1 to {ASPECTS} names with their values"),
                &count.to_string(),
            );
        }
        for (name, values) in &content.aspects {
            let field = format!("aspects.{name}");
            self.text(&field, name, ASPECT_NAME);
            if !(1..=ASPECTS).contains(&values.len()) {
                self.push(
                    &field,
                    format!("1 to {ASPECTS} values"),
                    &values.len().to_string(),
                );
            }
            for value in values {
                self.text(&field, value, ASPECT_VALUE);
            }
        }
    }
}

/// The beginning of a text, or how long it is.
fn shown(text: &str, count: usize) -> String {
    if text.trim().is_empty() {
        "nothing".to_owned()
    } else {
        format!("{count} characters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::registrar::Policies;
    use std::collections::BTreeMap;

    fn good() -> ListingContent {
        ListingContent {
            title: "A camera".into(),
            description: "<p>Works.</p>".into(),
            images: vec!["https://img.example/1.jpg".into()],
            category: "30120".into(),
            condition: "USED_EXCELLENT".into(),
            condition_description: None,
            aspects: BTreeMap::from([("Brand".into(), vec!["Zaiko".into()])]),
            marketplace: "EBAY_US".into(),
            location: "tokyo".into(),
            policies: Policies {
                fulfillment: "6000000001".into(),
                payment: "6000000002".into(),
                returns: "6000000003".into(),
            },
        }
    }

    fn fields(change: impl FnOnce(&mut ListingContent)) -> Vec<String> {
        let mut content = good();
        change(&mut content);
        problems(&content).into_iter().map(|p| p.field).collect()
    }

    #[test]
    fn what_is_right_has_no_problem_and_everything_wrong_is_told_at_once() {
        assert_eq!(problems(&good()), []);
        let nothing = ListingContent {
            title: String::new(),
            description: String::new(),
            images: Vec::new(),
            category: String::new(),
            condition: String::new(),
            condition_description: None,
            aspects: BTreeMap::new(),
            marketplace: String::new(),
            location: String::new(),
            policies: Policies::default(),
        };
        let fields: Vec<String> = problems(&nothing).into_iter().map(|p| p.field).collect();
        assert_eq!(
            fields,
            [
                "title",
                "description",
                "images",
                "category",
                "condition",
                "aspects",
                "marketplace",
                "location",
                "policies.fulfillment",
                "policies.payment",
                "policies.returns"
            ]
        );
    }

    #[test]
    fn limits_count_characters_and_hold_at_their_edge() {
        assert!(fields(|c| c.title = "在".repeat(80)).is_empty());
        assert_eq!(fields(|c| c.title = "在".repeat(81)), ["title"]);
        assert!(fields(|c| c.images = vec!["https://i.example/1".into(); 24]).is_empty());
        assert_eq!(
            fields(|c| c.images = vec!["https://i.example/1".into(); 25]),
            ["images"]
        );
        assert_eq!(
            fields(|c| c.images = vec!["http://i.example/1".into()]),
            ["images[0]"]
        );
        assert_eq!(fields(|c| c.description = "<ScRipt>x".into()), ["description"]);
        let long = BTreeMap::from([("Brand".to_owned(), vec!["x".repeat(51)])]);
        assert_eq!(fields(|c| c.aspects = long), ["aspects.Brand"]);
    }
}
