//! The models that Amazon published (Swagger 2), as a judge of requests and answers.
//!
//! `../shared/data/amazon` is not part of the project; where it is not there, [`Models::load`] gives `None` and says so.
//! Objects are taken strictly, those that are put together by `allOf` excepted: a member that the model does not know is
//! most likely a misspelt one.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "indexing a JSON value gives null for what is not there; a test that is left out says so"
)]

use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// The models of the operations that are used.
const USED: [&str; 4] = [
    "catalogItems_2022-04-01.json",
    "feeds_2021-06-30.json",
    "listingsItems_2021-08-01.json",
    "productPricingV0.json",
];

/// The published models.
pub struct Models {
    folder: PathBuf,
    documents: Vec<Value>,
    cases: Value,
    validators: Mutex<HashMap<String, Arc<jsonschema::Validator>>>,
}

impl Models {
    /// The models, if they are there.
    pub fn load() -> Option<&'static Self> {
        static MODELS: LazyLock<Option<Models>> = LazyLock::new(|| {
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            let found = ["..", "../.."].map(|up| here.join(up).join("shared/data/amazon"));
            let Some(folder) = found.iter().find(|path| path.is_dir()) else {
                println!("not checked against Amazon's models: there is no ../shared/data/amazon");
                return None;
            };
            let read = |path: PathBuf| -> Value {
                let text = std::fs::read_to_string(&path).expect("a model can be read");
                serde_json::from_str(&text).expect("a model is JSON")
            };
            let documents = USED.map(|name| {
                let mut document = read(folder.join("models").join(name));
                let mut parts = HashSet::new();
                parts_of_all(&document["definitions"], &mut parts);
                for (name, definition) in document["definitions"].as_object_mut().unwrap() {
                    if !parts.contains(name) {
                        make_strict(definition);
                    }
                }
                document
            });
            Some(Models {
                folder: folder.clone(),
                documents: documents.into(),
                cases: read(folder.join("sandbox_static_cases.json")),
                validators: Mutex::default(),
            })
        });
        MODELS.as_ref()
    }

    /// The static sandbox cases of an operation: status and case.
    pub fn cases(&self, operation: &str) -> Vec<(u16, &Value)> {
        let all = self.cases.as_array().unwrap().iter();
        all.filter(|case| case["operationId"] == operation)
            .map(|case| (case["status"].as_str().unwrap().parse().unwrap(), &case["case"]))
            .collect()
    }

    /// What is wrong with a document by one of the published schemas; empty when nothing is.
    pub fn problems_of_document(&self, schema: &str, body: &[u8]) -> Vec<String> {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return vec!["the document is no JSON".into()];
        };
        let mut made = self.validators.lock();
        let validator = made.entry(schema.to_owned()).or_insert_with(|| {
            let text = std::fs::read_to_string(self.folder.join("schemas").join(schema)).unwrap();
            let schema: Value = serde_json::from_str(&text).unwrap();
            Arc::new(jsonschema::validator_for(&schema).expect("the schema is one"))
        });
        let errors = validator.iter_errors(&value);
        errors.map(|e| format!("{}: {e}", e.instance_path())).collect()
    }

    /// What is wrong with a request; empty when nothing is.
    pub fn problems_of_request(&self, method: &str, path: &str, body: &[u8]) -> Vec<String> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some((document, operation)) = self.operation(method, path) else {
            return vec![format!("{method} {path}: not in the models")];
        };
        let none = Vec::new();
        let parameters = operation["parameters"].as_array().unwrap_or(&none);
        let mut problems = Vec::new();
        let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        for parameter in parameters
            .iter()
            .filter(|p| p["in"] == "query" && p["required"] == true)
        {
            if !query.iter().any(|(key, _)| parameter["name"] == *key) {
                problems.push(format!("the query {} is required", parameter["name"]));
            }
        }
        for (key, value) in &query {
            match parameters
                .iter()
                .find(|p| p["in"] == "query" && p["name"] == **key)
            {
                None => problems.push(format!("the query `{key}` is not in the model")),
                Some(parameter) => problems.extend(problems_of_query(parameter, value)),
            }
        }
        match parameters.iter().find(|p| p["in"] == "body") {
            None if body.is_empty() => {}
            None => problems.push("a body is not in the model".into()),
            Some(parameter) => problems.extend(self.problems_of_body(document, &parameter["schema"], body)),
        }
        problems
    }

    /// What is wrong with an answer to `method path`; empty when nothing is.
    pub fn problems_of_answer(&self, method: &str, path: &str, status: u16, body: &[u8]) -> Vec<String> {
        let path = path.split('?').next().unwrap();
        let Some((document, operation)) = self.operation(method, path) else {
            return vec![format!("{method} {path}: not in the models")];
        };
        let answer = &operation["responses"][status.to_string()];
        if answer.is_null() {
            return vec![format!("{method} {path} is not answered with {status}")];
        }
        self.problems_of_body(document, &answer["schema"], body)
    }

    fn problems_of_body(&self, document: &Value, schema: &Value, body: &[u8]) -> Vec<String> {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => {
                let validator = self.validator(document, schema);
                let errors = validator.iter_errors(&value);
                errors.map(|e| format!("{}: {e}", e.instance_path())).collect()
            }
            Err(error) => vec![format!("the body is no JSON: {error}")],
        }
    }

    /// Made once for each schema: it holds all definitions of its document.
    fn validator(&self, document: &Value, schema: &Value) -> Arc<jsonschema::Validator> {
        let mut made = self.validators.lock();
        let name = format!("{}{schema}", document["info"]["title"]);
        let validator = made.entry(name).or_insert_with(|| {
            let whole = json!({
                "$schema": "http://json-schema.org/draft-04/schema#",
                "allOf": [schema],
                "definitions": document["definitions"],
            });
            Arc::new(jsonschema::validator_for(&whole).expect("the model's schemas are schemas"))
        });
        Arc::clone(validator)
    }

    /// The operation of a concrete path, with its document.
    fn operation(&self, method: &str, path: &str) -> Option<(&Value, &Value)> {
        let asked: Vec<&str> = path.split('/').collect();
        let fits = |template: &str| {
            let parts: Vec<&str> = template.split('/').collect();
            let same =
                |(part, asked): (&&str, &&str)| part == asked || part.starts_with('{') && !asked.is_empty();
            parts.len() == asked.len() && parts.iter().zip(&asked).all(same)
        };
        self.documents.iter().find_map(|document| {
            let paths = document["paths"].as_object()?;
            let (_, methods) = paths.iter().find(|(template, _)| fits(template))?;
            Some((document, methods.get(method.to_lowercase())?))
        })
    }
}

fn problems_of_query(parameter: &Value, value: &str) -> Vec<String> {
    let is_list = parameter["type"] == "array";
    let values: Vec<&str> = if is_list {
        value.split(',').collect()
    } else {
        vec![value]
    };
    let words = if is_list {
        &parameter["items"]["enum"]
    } else {
        &parameter["enum"]
    };
    let mut problems = Vec::new();
    if let Some(words) = words.as_array() {
        let unknown = values.iter().filter(|v| !words.iter().any(|word| word == **v));
        problems.extend(unknown.map(|v| format!("`{v}` is none of the words of {}", parameter["name"])));
    }
    if let Some(most) = parameter["maxItems"].as_u64()
        && u64::try_from(values.len()).unwrap() > most
    {
        problems.push(format!(
            "{} takes at most {most}, got {}",
            parameter["name"],
            values.len()
        ));
    }
    if parameter["type"] == "integer" {
        match value.parse::<u64>() {
            Ok(number) if parameter["maximum"].as_u64().is_none_or(|most| number <= most) => {}
            _ => problems.push(format!("{} is too much or no number: {value}", parameter["name"])),
        }
    }
    problems
}

/// The names of definitions that an `allOf` puts together.
fn parts_of_all(value: &Value, parts: &mut HashSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(all) = members.get("allOf").and_then(Value::as_array) {
                let names = all
                    .iter()
                    .filter_map(|part| part["$ref"].as_str()?.rsplit('/').next());
                parts.extend(names.map(str::to_owned));
            }
            members.values().for_each(|value| parts_of_all(value, parts));
        }
        Value::Array(items) => items.iter().for_each(|value| parts_of_all(value, parts)),
        _ => {}
    }
}

/// Objects that list their members have no others.
fn make_strict(value: &mut Value) {
    match value {
        Value::Object(members) if members.contains_key("allOf") => {}
        Value::Object(members) => {
            members.values_mut().for_each(make_strict);
            let lists = members.get("properties").is_some_and(Value::is_object);
            let open = members.contains_key("additionalProperties");
            if lists && !open && members.get("type").is_some_and(|t| t == "object") {
                members.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_strict),
        _ => {}
    }
}
