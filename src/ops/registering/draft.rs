//! What a person gives for first listings: what all have in common, and each one's own.

use super::super::InputProblem;
use super::super::listings::sku_problem;
use crate::platform::registrar::{ListingContent, Policies};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// First listings, with a part that holds for all of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterOrder {
    /// Where.
    #[serde(default = "ebay")]
    pub destination: String,
    /// What holds where a listing says nothing else.
    #[serde(default)]
    pub defaults: ContentDraft,
    /// The listings.
    pub listings: Vec<ListingDraft>,
    /// Whether they are kept in line at once.
    #[serde(default)]
    pub auto_sync: bool,
}

fn ebay() -> String {
    "ebay".to_owned()
}

/// A content, as far as it is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContentDraft {
    title: Option<String>,
    description: Option<String>,
    images: Option<Vec<String>>,
    category: Option<String>,
    condition: Option<String>,
    condition_description: Option<String>,
    aspects: BTreeMap<String, Vec<String>>,
    marketplace: Option<String>,
    location: Option<String>,
    policies: PoliciesDraft,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PoliciesDraft {
    fulfillment: Option<String>,
    payment: Option<String>,
    returns: Option<String>,
}

/// One listing: its product, its SKU and its own content, side by side.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct ListingDraft {
    /// The product.
    pub product: i64,
    /// The seller's own key.
    pub sku: String,
    own: ContentDraft,
}

impl TryFrom<Map<String, Value>> for ListingDraft {
    type Error = String;

    fn try_from(mut members: Map<String, Value>) -> Result<Self, String> {
        let mut take = |name: &str| members.remove(name).unwrap_or_default();
        let (product, sku) = (take("product"), take("sku"));
        let product = product
            .as_i64()
            .ok_or("`product`: expected the product's number")?;
        let sku = sku
            .as_str()
            .ok_or_else(|| format!("`sku` of product {product}: expected a text"))?;
        let own = serde_json::from_value(Value::Object(members));
        Ok(Self {
            product,
            sku: sku.to_owned(),
            own: own.map_err(|error| format!("product {product}: {error}"))?,
        })
    }
}

impl ListingDraft {
    /// The whole content; what neither says is left empty, which is then told as what it is.
    ///
    /// # Errors
    /// Placeholders of the description that name nothing.
    pub(super) fn content(&self, defaults: &ContentDraft) -> Result<ListingContent, Vec<InputProblem>> {
        let (own, common) = (&self.own, defaults);
        let text = |own: &Option<String>, common: &Option<String>| {
            own.as_ref().or(common.as_ref()).cloned().unwrap_or_default()
        };
        let mut aspects = common.aspects.clone();
        aspects.extend(own.aspects.clone());
        let mut content = ListingContent {
            title: text(&own.title, &common.title),
            description: text(&own.description, &common.description),
            images: own
                .images
                .clone()
                .or_else(|| common.images.clone())
                .unwrap_or_default(),
            category: text(&own.category, &common.category),
            condition: text(&own.condition, &common.condition),
            condition_description: own
                .condition_description
                .clone()
                .or_else(|| common.condition_description.clone()),
            aspects,
            marketplace: text(&own.marketplace, &common.marketplace),
            location: text(&own.location, &common.location),
            policies: Policies {
                fulfillment: text(&own.policies.fulfillment, &common.policies.fulfillment),
                payment: text(&own.policies.payment, &common.policies.payment),
                returns: text(&own.policies.returns, &common.policies.returns),
            },
        };
        let filled = fill(&content.description, |name| match name {
            "title" => Some(content.title.clone()),
            "sku" => Some(self.sku.clone()),
            "condition" => Some(content.condition.clone()),
            "condition_description" => content.condition_description.clone(),
            name => {
                let values = content.aspects.get(name.strip_prefix("aspects.")?)?;
                Some(values.join(", "))
            }
        });
        match filled {
            Ok(description) => content.description = description,
            Err(names) => {
                let expected =
                    "{{title}}, {{sku}}, {{condition}}, {{condition_description}} or {{aspects.NAME}}";
                let place = self.place("description");
                let problem = |name: &String| InputProblem::new(&place, expected, name);
                return Err(names.iter().map(problem).collect());
            }
        }
        Ok(content)
    }

    /// How a field of it is named in problems.
    pub(super) fn place(&self, field: &str) -> String {
        format!("product {}, {field}", self.product)
    }
}

/// What is wrong with the keys of an order: SKUs that are none, products and SKUs named twice.
pub(super) fn key_problems(listings: &[ListingDraft]) -> Vec<InputProblem> {
    let mut problems = Vec::new();
    let (mut products, mut skus) = (HashMap::new(), HashMap::new());
    for (at, draft) in listings.iter().enumerate() {
        if let Some(problem) = sku_problem(&draft.sku) {
            problems.push(InputProblem::new(
                draft.place("sku"),
                &problem.expected,
                &problem.got,
            ));
        }
        if products.insert(draft.product, at).is_some() {
            let expected = "a product that the order names once";
            problems.push(InputProblem::new(
                draft.place("product"),
                expected,
                &draft.product.to_string(),
            ));
        }
        if skus.insert(&draft.sku, at).is_some() {
            let expected = "a SKU that the order names once";
            problems.push(InputProblem::new(draft.place("sku"), expected, &draft.sku));
        }
    }
    problems
}

/// `template` with each `{{name}}` replaced by its value, escaped for HTML.
///
/// # Errors
/// The names that stand for nothing.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, Vec<String>> {
    let (mut text, mut unknown) = (String::with_capacity(template.len()), Vec::new());
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((name, after)) = behind.split_once("}}") else {
            unknown.push(behind.chars().take(40).collect());
            rest = "";
            break;
        };
        match value(name.trim()) {
            Some(value) => text.push_str(&escaped(&value)),
            None => unknown.push(name.chars().take(40).collect()),
        }
        rest = after;
    }
    text.push_str(rest);
    if unknown.is_empty() {
        Ok(text)
    } else {
        Err(unknown)
    }
}

/// A text that means itself in HTML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            sign => safe.push(sign),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn order(listings: Value) -> Result<RegisterOrder, serde_json::Error> {
        serde_json::from_value(json!({
            "defaults": {"description": "<h1>{{title}}</h1><p>{{ aspects.Brand }} {{sku}}</p>", "marketplace": "EBAY_US",
                "aspects": {"Brand": ["Unbranded"], "Type": ["Camera"]}, "policies": {"payment": "2"}},
            "listings": listings,
        }))
    }

    #[test]
    fn a_listing_is_laid_over_the_defaults_and_its_values_are_escaped() {
        let order = order(
            json!([{"product": 1, "sku": "A-1", "title": "<b>Tom & \"Co\"", "aspects": {"Brand": ["X"]}}]),
        );
        let order = order.unwrap();
        let content = order.listings[0].content(&order.defaults).unwrap();
        assert_eq!(
            content.description,
            "<h1>&lt;b&gt;Tom &amp; &quot;Co&quot;</h1><p>X A-1</p>"
        );
        assert_eq!(content.aspects["Type"], ["Camera"]);
        assert_eq!(content.policies.payment, "2");
        assert_eq!(
            content.policies.returns, "",
            "what nobody says is told as missing"
        );
        assert_eq!(order.destination, "ebay");
    }

    #[test]
    fn a_misspelt_key_and_a_placeholder_for_nothing_are_problems() {
        assert!(order(json!([{"product": 1, "sku": "A", "titel": "x"}])).is_err());
        assert!(order(json!([{"sku": "A"}])).is_err());
        let given = order(json!([{"product": 1, "sku": "A", "description": "{{price}} {{title"}])).unwrap();
        let problems = given.listings[0].content(&given.defaults).unwrap_err();
        let got: Vec<&str> = problems.iter().map(|p| p.got.as_str()).collect();
        assert_eq!(got, ["price", "title"]);
    }

    #[test]
    fn products_and_skus_stand_once() {
        let twice =
            json!([{"product": 1, "sku": "A"}, {"product": 1, "sku": "B"}, {"product": 2, "sku": "A"}]);
        let problems = key_problems(&order(twice).unwrap().listings);
        let places: Vec<&str> = problems.iter().map(|p| p.place.as_str()).collect();
        assert_eq!(places, ["product 1, product", "product 2, sku"]);
    }

    proptest::proptest! {
        #[test]
        fn no_value_can_open_a_tag(value in ".*") {
            let filled = fill("{{x}}", |_| Some(value.clone())).unwrap();
            proptest::prop_assert!(!filled.contains(['<', '>', '"', '\'']));
        }
    }
}
