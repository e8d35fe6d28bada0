//! The contracts that eBay published, as a judge of requests and answers.
//!
//! `../shared/data/ebay/*.json` are not part of the project; where they are not there, [`Contract::load`] gives `None` and
//! says so. Objects are taken strictly: a member that the contract does not know is a problem, because it
//! is most likely a misspelt one.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "indexing a JSON value gives null for what is not there; a test that is left out says so"
)]

use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Where each API stands on its host, and the document that describes it.
const APIS: [(&str, &str); 3] = [
    ("/sell/inventory/v1", "sell_inventory_v1_oas3.json"),
    ("/commerce/taxonomy/v1", "commerce_taxonomy_v1_oas3.json"),
    (
        "/developer/analytics/v1_beta",
        "developer_analytics_v1_beta_oas3.json",
    ),
];

/// The published APIs.
pub struct Contract {
    apis: Vec<Api>,
    validators: Mutex<HashMap<(&'static str, String), Arc<jsonschema::Validator>>>,
}

struct Api {
    root: &'static str,
    paths: Value,
    components: Value,
}

/// One request, as a server sees it.
pub struct Request<'a> {
    pub method: &'a str,
    /// With query.
    pub path: &'a str,
    pub header: &'a dyn Fn(&str) -> Option<String>,
    pub body: &'a [u8],
}

impl Contract {
    /// The contract, if it is there.
    pub fn load() -> Option<&'static Self> {
        static CONTRACT: LazyLock<Option<Contract>> = LazyLock::new(|| {
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            let mut apis = Vec::new();
            for (root, name) in APIS {
                let name = format!("shared/data/ebay/{name}");
                let found = ["..", "../.."].map(|up| here.join(up).join(&name));
                let Some(text) = found.iter().find_map(|path| std::fs::read_to_string(path).ok()) else {
                    println!("not checked against the contract: there is no ../{name}");
                    return None;
                };
                let mut document: Value = serde_json::from_str(&text).expect("the contract is JSON");
                let mut components = document["components"].take();
                make_strict(&mut components["schemas"]);
                // Named a text; the same document describes it as names with lists of values, and shows it so.
                if let Some(aspects) = components.pointer_mut("/schemas/Product/properties/aspects") {
                    *aspects = json!({ "type": "object",
                        "additionalProperties": { "type": "array", "items": { "type": "string" } } });
                }
                apis.push(Api {
                    root,
                    paths: document["paths"].take(),
                    components,
                });
            }
            Some(Contract {
                apis,
                validators: Mutex::default(),
            })
        });
        CONTRACT.as_ref()
    }

    /// What is wrong with a request; empty when nothing is.
    pub fn problems_of_request(&self, request: &Request<'_>) -> Vec<String> {
        let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
        let Some((api, operation)) = self.operation(request.method, path) else {
            return vec![format!("{} {path}: not in the contract", request.method)];
        };
        let mut problems = Vec::new();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let of = |place: &str| {
            parameters
                .iter()
                .filter(move |p| p["in"] == place)
                .cloned()
                .collect::<Vec<_>>()
        };
        for header in of("header") {
            let name = header["name"].as_str().unwrap();
            if header["required"] == true && (request.header)(name).is_none() {
                problems.push(format!("the header {name} is required"));
            }
        }
        for (key, _) in url::form_urlencoded::parse(query.as_bytes()) {
            if !of("query").iter().any(|p| p["name"] == *key) {
                problems.push(format!("the query `{key}` is not in the contract"));
            }
        }
        match &operation["requestBody"]["content"]["application/json"]["schema"] {
            Value::Null if request.body.is_empty() => {}
            Value::Null => problems.push("a body is not in the contract".into()),
            schema => match serde_json::from_slice::<Value>(request.body) {
                Ok(body) => problems.extend(self.problems_of_value(api, schema, &body)),
                Err(error) => problems.push(format!("the body is no JSON: {error}")),
            },
        }
        problems
    }

    /// What is wrong with an answer to `method path`; empty when nothing is.
    pub fn problems_of_answer(&self, method: &str, path: &str, status: u16, body: &[u8]) -> Vec<String> {
        let path = path.split('?').next().unwrap();
        let Some((api, operation)) = self.operation(method, path) else {
            return vec![format!("{method} {path}: not in the contract")];
        };
        let responses = &operation["responses"];
        let mut problems = Vec::new();
        // What every call may be answered with, whatever its own list says.
        let is_common = matches!(status, 401 | 403 | 404 | 429 | 503);
        if responses.get(status.to_string()).is_none() && !is_common {
            problems.push(format!("{method} {path} is not answered with {status}"));
        }
        let schema = match status {
            200..=299 => {
                let own = &responses[status.to_string()]["content"]["application/json"]["schema"];
                // 207 is described by a word only; it has the form of 200.
                let other = &responses["200"]["content"]["application/json"]["schema"];
                if own.is_null() && status == 207 {
                    other.clone()
                } else {
                    own.clone()
                }
            }
            _ => json!({
                "type": "object",
                "required": ["errors"],
                "properties": {
                    "errors": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Error"}},
                    "warnings": {"type": "array", "items": {"$ref": "#/components/schemas/Error"}},
                },
            }),
        };
        match (schema, serde_json::from_slice::<Value>(body)) {
            (Value::Null, _) if body.is_empty() => {}
            (Value::Null, _) => problems.push(format!("a body with {status} is not in the contract")),
            (schema, Ok(body)) => problems.extend(self.problems_of_value(api, &schema, &body)),
            // An empty 404 is described by a word only.
            (_, Err(_)) if body.is_empty() && status >= 400 => {}
            (_, Err(error)) => problems.push(format!("the body is no JSON: {error}")),
        }
        problems
    }

    fn problems_of_value(&self, api: &Api, schema: &Value, value: &Value) -> Vec<String> {
        let validator = self.validator(api, schema);
        let errors = validator.iter_errors(value);
        errors.map(|e| format!("{}: {e}", e.instance_path())).collect()
    }

    /// Made once for each schema: it holds all components.
    fn validator(&self, api: &Api, schema: &Value) -> Arc<jsonschema::Validator> {
        let mut made = self.validators.lock();
        let validator = made.entry((api.root, schema.to_string())).or_insert_with(|| {
            let mut whole = schema.clone();
            whole["components"] = api.components.clone();
            Arc::new(jsonschema::validator_for(&whole).expect("the contract's schemas are schemas"))
        });
        Arc::clone(validator)
    }

    /// The operation of a concrete path.
    fn operation(&self, method: &str, path: &str) -> Option<(&Api, &Value)> {
        let mut apis = self.apis.iter();
        let (api, rest) = apis.find_map(|api| Some((api, path.strip_prefix(api.root)?)))?;
        let asked: Vec<&str> = rest.split('/').collect();
        let fits = |template: &str| {
            let parts: Vec<&str> = template.split('/').collect();
            let same =
                |(part, asked): (&&str, &&str)| part == asked || part.starts_with('{') && !asked.is_empty();
            parts.len() == asked.len() && parts.iter().zip(&asked).all(same)
        };
        let paths = api.paths.as_object()?;
        // A path without a parameter goes before one with.
        let mut fitting: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        fitting
            .iter()
            .find_map(|(_, methods)| methods.get(method.to_lowercase()))
            .map(|operation| (api, operation))
    }
}

/// Objects that list their members have no others.
fn make_strict(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(make_strict);
            let lists = members.get("properties").is_some_and(Value::is_object);
            if lists && members.get("type").is_some_and(|t| t == "object") {
                members.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_strict),
        _ => {}
    }
}
