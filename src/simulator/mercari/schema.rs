//! What the shop's interface knows: fields and inputs by type, what a call costs, and how a listing is shown.

use super::graphql::{Document, Field};
use super::shop::{Listing, status};
use crate::simulator::draw::count;
use crate::simulator::faults::MercariFaults;
use crate::simulator::settings::MercariSettings;
use serde_json::{Map, Value, json};

/// Fields by type; a field that has fields of its own names its type.
const TYPES: &[(&str, &[(&str, &str)])] = &[
    (
        "Query",
        &[
            ("shop", "Shop"),
            ("product", "Product"),
            ("productVariant", "ProductVariant"),
        ],
    ),
    (
        "Mutation",
        &[
            ("updateProduct", "UpdateProductPayload"),
            ("updateProductVariant", "UpdateProductVariantPayload"),
            ("updateProductVariants", "UpdateProductVariantsPayload"),
        ],
    ),
    ("Shop", &[("id", ""), ("name", "")]),
    ("UpdateProductPayload", &[("product", "Product")]),
    (
        "UpdateProductVariantPayload",
        &[("productVariant", "ProductVariant")],
    ),
    (
        "UpdateProductVariantsPayload",
        &[("productVariants", "ProductVariant")],
    ),
    (
        "Product",
        &[
            ("id", ""),
            ("name", ""),
            ("description", ""),
            ("price", ""),
            ("status", ""),
            ("variants", "ProductVariant"),
        ],
    ),
    (
        "ProductVariant",
        &[
            ("id", ""),
            ("skuCode", ""),
            ("name", ""),
            ("stockQuantity", ""),
            ("product", "Product"),
        ],
    ),
];

/// What an input's members must be.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Int,
    Status,
}

const BY: &[(&str, Kind)] = &[("id", Kind::Text), ("skuCode", Kind::Text)];
const VARIANT_INPUT: &[(&str, Kind)] = &[("name", Kind::Text), ("stockQuantity", Kind::Int)];
const PRODUCT_INPUT: &[(&str, Kind)] = &[
    ("id", Kind::Text),
    ("name", Kind::Text),
    ("description", Kind::Text),
    ("price", Kind::Int),
    ("status", Kind::Status),
];

/// The arguments of the operation's one field.
///
/// # Errors
/// When it names a field, argument or value that the interface does not know.
pub(super) fn check(
    document: &Document,
    field: &Field,
    variables: &Value,
    settings: &MercariSettings,
) -> Result<Value, String> {
    let root = if document.mutation { "Mutation" } else { "Query" };
    if field.name == "updateProductVariants" && !settings.takes_bulk {
        return Err("Cannot query field \"updateProductVariants\" on type \"Mutation\".".to_owned());
    }
    fields(root, std::slice::from_ref(field))?;
    let arguments = field.arguments(document, variables)?;
    let known: &[&str] = match field.name.as_str() {
        "product" => &["id"],
        "productVariant" => &["by"],
        "updateProduct" => &["input"],
        "updateProductVariant" => &["by", "input"],
        "updateProductVariants" => &["inputs"],
        _ => &[],
    };
    for name in arguments.as_object().into_iter().flat_map(Map::keys) {
        if !known.contains(&name.as_str()) {
            return Err(format!(
                "Unknown argument \"{name}\" on field \"{}\".",
                field.name
            ));
        }
    }
    for name in known {
        let value = arguments.get(*name).unwrap_or(&Value::Null);
        match *name {
            "by" => input("by", value, BY, &[])?,
            "input" if field.name == "updateProduct" => input("input", value, PRODUCT_INPUT, &["id"])?,
            "input" => input("input", value, VARIANT_INPUT, &[])?,
            "inputs" => {
                for entry in value.as_array().ok_or("Expected \"inputs\" to be a list.")? {
                    only(entry, &["by", "input"])?;
                    input("inputs.by", &entry["by"], BY, &[])?;
                    input("inputs.input", &entry["input"], VARIANT_INPUT, &[])?;
                }
            }
            _ if value.is_string() => {}
            _ => return Err(format!("Expected \"{name}\" to be an ID.")),
        }
    }
    Ok(arguments)
}

fn fields(of: &str, asked: &[Field]) -> Result<(), String> {
    let known = TYPES
        .iter()
        .find(|(name, _)| *name == of)
        .map(|(_, fields)| *fields)
        .unwrap_or_default();
    for field in asked {
        let Some((_, kind)) = known.iter().find(|(name, _)| *name == field.name) else {
            return Err(format!("Cannot query field \"{}\" on type \"{of}\".", field.name));
        };
        if kind.is_empty() != field.fields.is_empty() {
            return Err(format!(
                "Field \"{}\" has or lacks a selection of subfields.",
                field.name
            ));
        }
        fields(kind, &field.fields)?;
    }
    Ok(())
}

fn only(value: &Value, known: &[&str]) -> Result<(), String> {
    let members = value.as_object().ok_or("Expected an input object.")?;
    let stranger = members.keys().find(|name| !known.contains(&name.as_str()));
    stranger.map_or(Ok(()), |name| {
        Err(format!("Field \"{name}\" is not defined by the input type."))
    })
}

fn input(place: &str, value: &Value, known: &[(&str, Kind)], needed: &[&str]) -> Result<(), String> {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    only(value, &names)?;
    if let Some(name) = needed.iter().find(|name| value[**name].is_null()) {
        return Err(format!(
            "Field \"{place}.{name}\" of required type was not provided."
        ));
    }
    for (name, kind) in known {
        let value = &value[*name];
        let fits = match kind {
            _ if value.is_null() => true,
            Kind::Text => value.is_string(),
            Kind::Int => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            Kind::Status => matches!(value.as_str(), Some("OPENED" | "UNOPENED")),
        };
        if !fits {
            return Err(format!("\"{place}.{name}\" got an invalid value."));
        }
    }
    Ok(())
}

/// What a call costs: its complexity by 100, at least 1.
pub(super) fn points(field: &Field, arguments: &Value) -> u64 {
    fn fields(of: &Field) -> usize {
        1 + of.fields.iter().map(fields).sum::<usize>()
    }
    let entries = arguments["inputs"].as_array().map_or(1, Vec::len);
    (count(fields(field) * entries) / 100).max(1)
}

/// A variant, as far as it is asked for.
pub(super) fn variant(listing: &Listing, fields: &[Field], faults: &MercariFaults) -> Value {
    each(fields, |field| match field.name.as_str() {
        "id" => json!(listing.variant_id),
        "skuCode" => json!(listing.sku),
        "stockQuantity" => json!(listing.quantity),
        "name" => json!("既定"),
        _ => product(listing, &field.fields, faults),
    })
}

/// A product, as far as it is asked for.
pub(super) fn product(listing: &Listing, fields: &[Field], faults: &MercariFaults) -> Value {
    each(fields, |field| match field.name.as_str() {
        "id" => json!(listing.product_id),
        "price" => json!(listing.price),
        "status" if faults.odd_status => json!("SUSPENDED"),
        "status" => json!(status(listing.opened)),
        "variants" => json!([variant(listing, &field.fields, faults)]),
        _ => json!(format!("商品 {}", listing.sku)),
    })
}

/// The shop, as far as it is asked for.
pub(super) fn shop(fields: &[Field], id: &str) -> Value {
    each(fields, |field| match field.name.as_str() {
        "id" => json!(id),
        _ => json!("在庫番の店"),
    })
}

fn each(fields: &[Field], value: impl Fn(&Field) -> Value) -> Value {
    Value::Object(
        fields
            .iter()
            .map(|field| (field.name.clone(), value(field)))
            .collect(),
    )
}
