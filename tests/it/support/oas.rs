//! The contract that eBay published, as a judge of requests and answers.
//!
//! `../shared/data/ebay/sell_inventory_v1_oas3.json` is not part of the project; where it is not there, [`Contract::load`]
//! gives `None` and says so. Objects are taken strictly: a member that the contract does not know is a problem, because it
//! is most likely a misspelt one.

use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Where the API stands on its host.
const ROOT: &str = "/sell/inventory/v1";

/// The published Sell Inventory API.
pub struct Contract {
    paths: Value,
    components: Value,
    validators: Mutex<HashMap<String, Arc<jsonschema::Validator>>>,
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
            let name = "shared/data/ebay/sell_inventory_v1_oas3.json";
            let found = ["..", "../.."].map(|up| here.join(up).join(name));
            let Some(text) = found.iter().find_map(|path| std::fs::read_to_string(path).ok()) else {
                println!("not checked against the contract: there is no ../{name}");
                return None;
            };
            let mut document: Value = serde_json::from_str(&text).expect("the contract is JSON");
            let mut components = document["components"].take();
            make_strict(&mut components["schemas"]);
            Some(Contract {
                paths: document["paths"].take(),
                components,
                validators: Mutex::default(),
            })
        });
        CONTRACT.as_ref()
    }

    /// What is wrong with a request; empty when nothing is.
    pub fn problems_of_request(&self, request: &Request<'_>) -> Vec<String> {
        let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
        let Some(operation) = self.operation(request.method, path) else {
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
                Ok(body) => problems.extend(self.problems_of_value(schema, &body)),
                Err(error) => problems.push(format!("the body is no JSON: {error}")),
            },
        }
        problems
    }

    /// What is wrong with an answer to `method path`; empty when nothing is.
    pub fn problems_of_answer(&self, method: &str, path: &str, status: u16, body: &[u8]) -> Vec<String> {
        let path = path.split('?').next().unwrap();
        let Some(operation) = self.operation(method, path) else {
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
            (schema, Ok(body)) => problems.extend(self.problems_of_value(&schema, &body)),
            // An empty 404 is described by a word only.
            (_, Err(_)) if body.is_empty() && status >= 400 => {}
            (_, Err(error)) => problems.push(format!("the body is no JSON: {error}")),
        }
        problems
    }

    fn problems_of_value(&self, schema: &Value, value: &Value) -> Vec<String> {
        let validator = self.validator(schema);
        let errors = validator.iter_errors(value);
        errors.map(|e| format!("{}: {e}", e.instance_path())).collect()
    }

    /// Made once for each schema: it holds all components.
    fn validator(&self, schema: &Value) -> Arc<jsonschema::Validator> {
        let mut made = self.validators.lock();
        let validator = made.entry(schema.to_string()).or_insert_with(|| {
            let mut whole = schema.clone();
            whole["components"] = self.components.clone();
            Arc::new(jsonschema::validator_for(&whole).expect("the contract's schemas are schemas"))
        });
        Arc::clone(validator)
    }

    /// The operation of a concrete path.
    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let rest = path.strip_prefix(ROOT)?;
        let asked: Vec<&str> = rest.split('/').collect();
        let fits = |template: &str| {
            let parts: Vec<&str> = template.split('/').collect();
            let same =
                |(part, asked): (&&str, &&str)| part == asked || part.starts_with('{') && !asked.is_empty();
            parts.len() == asked.len() && parts.iter().zip(&asked).all(same)
        };
        let paths = self.paths.as_object()?;
        // A path without a parameter goes before one with.
        let mut fitting: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        fitting
            .iter()
            .find_map(|(_, methods)| methods.get(method.to_lowercase()))
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
