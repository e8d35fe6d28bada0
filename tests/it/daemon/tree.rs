//! The supervision tree as `/v1/tree` tells it.

use serde_json::Value;

/// The paths of all actors.
pub fn actors(tree: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(&tree["root"], &mut found);
    found
}

fn collect(node: &Value, found: &mut Vec<String>) {
    let children = node["children"].as_array().unwrap();
    // One that has done its work and ended takes no orders.
    if children.is_empty() && node["mailbox"].is_object() && node["state"] == "running" {
        found.push(node["path"].as_str().unwrap().to_owned());
    }
    children.iter().for_each(|child| collect(child, found));
}

/// The node at `path`.
pub fn find<'a>(node: &'a Value, path: &str) -> Option<&'a Value> {
    if node["path"] == path {
        return Some(node);
    }
    node["children"]
        .as_array()?
        .iter()
        .find_map(|child| find(child, path))
}
