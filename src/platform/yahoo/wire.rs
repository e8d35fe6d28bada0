//! What an item page says in JSON: where it stands, its JSON Schema, and its types.
//!
//! Two objects are read: `item`, at `props.pageProps.initialState.item.detail.item` of `__NEXT_DATA__`, and `pageData`,
//! the older block that still stands beside it and says the same things as strings. The page repeats the item object
//! under `props.initialState`; that copy is not read.
//!
//! Only keys whose meaning was seen on real pages or follows from a cross-check stand here; all others are ignored, so
//! that a release that adds keys changes nothing.

use super::project::{Keep, Rest, Shape, project};
use super::refusal::{Code, Refusal};
use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Where the item stands in `__NEXT_DATA__`.
const ITEM_PATH: &[&str] = &["props", "pageProps", "initialState", "item", "detail", "item"];

static ITEM_SHAPE: Shape = Shape(&[
    ("auctionId", Keep::Whole),
    ("title", Keep::Whole),
    ("status", Keep::Whole),
    ("price", Keep::Whole),
    ("bidorbuy", Keep::Whole),
    ("taxRate", Keep::Whole),
    ("taxinPrice", Keep::Whole),
    ("taxinBidorbuy", Keep::Whole),
    ("quantity", Keep::Whole),
    ("bids", Keep::Whole),
    ("endTime", Keep::Whole),
    ("isFleaMarket", Keep::Whole),
    (
        "seller",
        Keep::Object(Shape(&[
            ("isStore", Keep::Whole),
            ("aucUserId", Keep::Whole),
            ("listUrl", Keep::Whole),
        ])),
    ),
    ("timeForUlt", Keep::Object(Shape(&[("endTime", Keep::Whole)]))),
]);

static DATA_SHAPE: Shape = Shape(&[
    ("productID", Keep::Whole),
    ("price", Keep::Whole),
    ("winPrice", Keep::Whole),
    ("quantity", Keep::Whole),
    ("bids", Keep::Whole),
    ("isStore", Keep::Whole),
    ("isClosed", Keep::Whole),
    ("endtime", Keep::Whole),
]);

/// The item object's needed part.
///
/// Prices are whole yen. Of a store's item `price` and `bidorbuy` are without tax, `taxin…` with it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item<'a> {
    pub(super) auction_id: &'a str,
    pub(super) title: &'a str,
    pub(super) status: &'a str,
    pub(super) price: i64,
    /// The buy-now price. Not there when there is none, so its absence proves nothing by itself.
    #[serde(default)]
    pub(super) bidorbuy: Option<i64>,
    #[serde(default)]
    pub(super) tax_rate: Option<i64>,
    #[serde(default)]
    pub(super) taxin_price: Option<i64>,
    #[serde(default)]
    pub(super) taxin_bidorbuy: Option<i64>,
    pub(super) quantity: i64,
    pub(super) bids: u32,
    /// With its zone, `+09:00`.
    pub(super) end_time: &'a str,
    pub(super) is_flea_market: bool,
    #[serde(borrow)]
    pub(super) seller: Seller<'a>,
    #[serde(default)]
    pub(super) time_for_ult: Option<TimeForUlt>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seller<'a> {
    pub(super) is_store: bool,
    #[serde(default)]
    pub(super) auc_user_id: Option<&'a str>,
    /// The address of all that the seller offers, which ends in the same id.
    #[serde(default)]
    pub(super) list_url: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TimeForUlt {
    /// Seconds since 1970.
    #[serde(default)]
    pub(super) end_time: Option<i64>,
}

/// `pageData.items`: the same facts, as strings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageData<'a> {
    #[serde(rename = "productID")]
    pub(super) product_id: &'a str,
    pub(super) price: &'a str,
    /// The buy-now price, whatever its name suggests; "0" when there is none.
    pub(super) win_price: &'a str,
    pub(super) quantity: &'a str,
    pub(super) bids: &'a str,
    pub(super) is_store: &'a str,
    pub(super) is_closed: &'a str,
    /// `YYYY-MM-DD HH:MM:SS`, in Japan, without a zone.
    #[serde(default)]
    pub(super) endtime: Option<&'a str>,
}

static ITEM_SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    compiled(&json!({
        "type": "object",
        "required": [
            "auctionId", "title", "status", "price", "quantity", "bids", "endTime", "isFleaMarket", "seller"
        ],
        "properties": {
            "auctionId": { "type": "string", "minLength": 1, "maxLength": 64 },
            "title": { "type": "string", "minLength": 1 },
            "status": { "enum": ["open", "closed"] },
            // One yen is the least that Yahoo! Auctions lets anybody ask; what NUMERIC(12,2) holds is the most.
            "price": { "type": "integer", "minimum": 1, "maximum": 9_999_999_999_i64 },
            "bidorbuy": { "type": ["integer", "null"], "minimum": 1, "maximum": 9_999_999_999_i64 },
            "taxinPrice": { "type": ["integer", "null"], "minimum": 1, "maximum": 9_999_999_999_i64 },
            "taxinBidorbuy": { "type": ["integer", "null"], "minimum": 1, "maximum": 9_999_999_999_i64 },
            "taxRate": { "type": ["integer", "null"], "minimum": 0, "maximum": 100 },
            "quantity": { "type": "integer", "minimum": 0, "maximum": 1_000_000 },
            "bids": { "type": "integer", "minimum": 0, "maximum": 1_000_000 },
            "endTime": { "type": "string" },
            "isFleaMarket": { "type": "boolean" },
            "seller": {
                "type": "object",
                "required": ["isStore"],
                "properties": {
                    "isStore": { "type": "boolean" },
                    "aucUserId": { "type": ["string", "null"], "maxLength": 64 },
                    "listUrl": { "type": ["string", "null"] }
                }
            },
            "timeForUlt": {
                "type": ["object", "null"],
                "properties": { "endTime": { "type": ["integer", "null"] } }
            }
        }
    }))
});

static DATA_SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let number = json!({ "type": "string", "minLength": 1, "maxLength": 10 });
    let flag = json!({ "enum": ["0", "1"] });
    compiled(&json!({
        "type": "object",
        "required": ["productID", "price", "winPrice", "quantity", "bids", "isStore", "isClosed"],
        "properties": {
            "productID": { "type": "string", "minLength": 1, "maxLength": 64 },
            "price": number,
            "winPrice": number,
            "quantity": number,
            "bids": number,
            "isStore": flag,
            "isClosed": flag,
            "endtime": { "type": ["string", "null"] }
        }
    }))
});

#[expect(
    clippy::expect_used,
    reason = "both schemas are constants of this file; a test compiles them"
)]
fn compiled(schema: &Value) -> Validator {
    jsonschema::draft202012::new(schema).expect("a constant schema")
}

/// The needed part of the item object of a `__NEXT_DATA__` text, after its schema passed.
///
/// What stands behind the item is not read. That the script ends was seen when it was located, and that there is one
/// `pageProps` is looked up: an unescaped quote before a colon ends a key and nothing else.
pub(super) fn item(next_data: &[u8]) -> Result<Value, Refusal> {
    if memmem::find_iter(next_data, b"\"pageProps\":").nth(1).is_some() {
        return Err(Refusal::contract(
            "props.pageProps",
            "`props.pageProps` stands there twice",
        ));
    }
    let value = project(next_data, ITEM_PATH, &ITEM_SHAPE, Rest::Unread)
        .map_err(|lost| Refusal::contract(short(&lost.path), format!("`{}` {}", lost.path, lost.why)))?;
    validate(&ITEM_SCHEMA, &value, "item")?;
    Ok(value)
}

/// The needed part of `pageData.items`, after its schema passed. `json` begins at the block's first `{`.
pub(super) fn page_data(json: &[u8]) -> Result<Value, Refusal> {
    let value = project(json, &["items"], &DATA_SHAPE, Rest::Any).map_err(|lost| {
        let path = format!("pageData.{}", lost.path);
        Refusal::contract(path.trim_end_matches('.'), format!("`{path}` {}", lost.why))
    })?;
    validate(&DATA_SCHEMA, &value, "pageData.items")?;
    Ok(value)
}

/// Reads a projected value into its type. The schema has passed, so a failure here is a number of another kind: to JSON
/// Schema 3200.0 is an integer, to us it is a price with a fraction.
pub(super) fn typed<'a, T: Deserialize<'a>>(value: &'a Value, name: &'static str) -> Result<T, Refusal> {
    T::deserialize(value).map_err(|error| {
        let fractions = value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, v)| v.is_f64());
        let missing: Vec<Box<str>> = fractions.map(|(key, _)| format!("{name}.{key}").into()).collect();
        let what = format!("`{name}` holds a value of another kind: {error}");
        if missing.is_empty() {
            Refusal::contract(name, what)
        } else {
            Refusal {
                code: Code::Contract,
                what,
                missing,
            }
        }
    })
}

/// `props.pageProps.….item.price` is told as `item.price`.
fn short(path: &str) -> String {
    let full = ITEM_PATH.join(".");
    match path.strip_prefix(full.as_str()) {
        Some(rest) => format!("item{rest}"),
        None if path.is_empty() => "__NEXT_DATA__".into(),
        None => path.into(),
    }
}

/// Names every key that the schema objects to.
fn validate(schema: &Validator, value: &Value, name: &'static str) -> Result<(), Refusal> {
    if schema.is_valid(value) {
        return Ok(());
    }
    let mut missing: Vec<Box<str>> = Vec::new();
    let mut reasons = Vec::new();
    for error in schema.iter_errors(value).take(20) {
        let mut path = format!("{name}{}", error.instance_path().as_str().replace('/', "."));
        let reason = if let ValidationErrorKind::Required { property } = error.kind() {
            path.push('.');
            path.push_str(property.as_str().unwrap_or_default());
            "is not there".to_owned()
        } else {
            let said: String = error.to_string().chars().take(160).collect();
            format!("is wrong: {said}")
        };
        reasons.push(format!("`{path}` {reason}"));
        missing.push(path.into());
    }
    Err(Refusal {
        code: Code::Contract,
        what: reasons.join("; "),
        missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_compile_and_name_no_key_that_the_shapes_leave_out() {
        assert!(!ITEM_SCHEMA.is_valid(&json!({})));
        assert!(!DATA_SCHEMA.is_valid(&json!({})));
        let refused = validate(&ITEM_SCHEMA, &json!({}), "item").unwrap_err();
        for path in &refused.missing {
            let key = path.strip_prefix("item.").unwrap();
            assert!(ITEM_SHAPE.0.iter().any(|(name, _)| *name == key), "{key}");
        }
        let refused = validate(&DATA_SCHEMA, &json!({}), "pageData.items").unwrap_err();
        for path in &refused.missing {
            let key = path.strip_prefix("pageData.items.").unwrap();
            assert!(DATA_SHAPE.0.iter().any(|(name, _)| *name == key), "{key}");
        }
    }
}
