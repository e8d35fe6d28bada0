//! Breaks pages in every way that was thought of: the right value or an error that names what is broken, never a wrong
//! value.

use super::pages::Page;
use super::{captures, read};
use serde_json::{Value, json};
use zaikoban::domain::Observation;

/// Pages to break: id, HTML.
fn originals() -> Vec<(String, String)> {
    let ours = [
        Page::open(),
        Page::buy_now(),
        Page::ended(0),
        Page::ended(3),
        Page::store(),
    ];
    let mut pages: Vec<_> = ours
        .iter()
        .map(|page| ("m1122334455".to_owned(), page.html()))
        .collect();
    pages.extend(captures());
    pages
}

const ITEM_KEYS: [&str; 10] = [
    "auctionId",
    "title",
    "status",
    "price",
    "bidorbuy",
    "quantity",
    "bids",
    "endTime",
    "isFleaMarket",
    "seller",
];
const DATA_KEYS: [&str; 7] = [
    "productID",
    "price",
    "winPrice",
    "quantity",
    "bids",
    "isStore",
    "isClosed",
];

/// A page taken apart, so that its JSON can be changed.
struct Parts {
    before: String,
    data: Value,
    between: String,
    next: Value,
    after: String,
}

impl Parts {
    fn of(html: &str) -> Self {
        let (before, rest) = html.split_once("var pageData = ").unwrap();
        let (data, rest) = rest.split_once(";</script>").unwrap();
        let mark = "<script id=\"__NEXT_DATA__\" type=\"application/json\">";
        let (between, rest) = rest.split_once(mark).unwrap();
        let (next, after) = rest.split_once("</script>").unwrap();
        Self {
            before: format!("{before}var pageData = "),
            data: serde_json::from_str(data).unwrap(),
            between: format!(";</script>{between}{mark}"),
            next: serde_json::from_str(next).unwrap(),
            after: format!("</script>{after}"),
        }
    }

    fn html(&self) -> String {
        let script = |value: &Value| value.to_string().replace('<', "\\u003c");
        [
            &self.before,
            &script(&self.data),
            &self.between,
            &script(&self.next),
            &self.after,
        ]
        .map(String::as_str)
        .concat()
    }

    /// The item object, in the place that is read and in its copy.
    fn items(&mut self) -> [&mut Value; 2] {
        let props = self.next["props"].as_object_mut().unwrap();
        let mut places = props.iter_mut().map(|(name, state)| match name.as_str() {
            "pageProps" => &mut state["initialState"]["item"]["detail"]["item"],
            _ => &mut state["item"]["detail"]["item"],
        });
        let both = [places.next().unwrap(), places.next().unwrap()];
        assert!(both[0].is_object() && both[1].is_object());
        both
    }
}

/// The ways to break the value under a key of an object.
fn broken(object: &Value, key: &str) -> Vec<(String, Value)> {
    let mut ways = Vec::new();
    let mut push = |how: &str, change: &dyn Fn(&mut serde_json::Map<String, Value>, Value)| {
        let mut copy = object.clone();
        let map = copy.as_object_mut().unwrap();
        if let Some(old) = map.remove(key) {
            change(map, old);
            ways.push((format!("{key} {how}"), copy));
        }
    };
    push("removed", &|_, _| {});
    push("renamed", &|map, old| {
        map.insert(format!("{key}New"), old);
    });
    push("in capitals", &|map, old| {
        map.insert(key.to_uppercase(), old);
    });
    for (how, value) in [
        ("null", json!(null)),
        ("true", json!(true)),
        ("1", json!(1)),
        ("-1", json!(-1)),
        ("0.5", json!(0.5)),
        ("\"\"", json!("")),
        ("\"x\"", json!("x")),
        ("[]", json!([])),
        ("{}", json!({})),
        ("[[[]]]", json!([[[]]])),
    ] {
        push(how, &|map, _| {
            map.insert(key.into(), value.clone());
        });
    }
    push("as its text", &|map, old| {
        map.insert(key.into(), json!(old.to_string()));
    });
    push("in a list", &|map, old| {
        map.insert(key.into(), json!([old]));
    });
    push("in an object", &|map, old| {
        map.insert(key.into(), json!({ "value": old }));
    });
    ways
}

/// Either what the whole page says, or an error that names `path`.
fn right_or_named(html: &str, id: &str, whole: &Observation, path: &str, how: &str) {
    match read(html, id) {
        Ok(seen) => assert_eq!(seen, *whole, "{how}"),
        Err(error) => {
            assert!(
                !error.code.is_empty() && !error.missing.is_empty(),
                "{how}: {error:?}"
            );
            let named = error
                .missing
                .iter()
                .any(|missing| missing.starts_with(path) || path.starts_with(&**missing));
            assert!(named, "{how}: expected {path}, got {:?}", error.missing);
        }
    }
}

#[test]
fn a_broken_key_of_the_item_is_named() {
    for (id, html) in originals() {
        let whole = read(&html, &id).unwrap();
        let mut checked = 0;
        for key in ITEM_KEYS {
            let item = Parts::of(&html).items()[0].clone();
            for (how, changed) in broken(&item, key) {
                checked += 1;
                if key == "title" && changed["title"].is_string() {
                    // Another title is no broken one; only the document can tell.
                    continue;
                }
                let mut parts = Parts::of(&html);
                for place in parts.items() {
                    *place = changed.clone();
                }
                right_or_named(&parts.html(), &id, &whole, &format!("item.{key}"), &how);
                if html.len() > 50_000 {
                    continue;
                }
                // The same in the place that is read only.
                let mut parts = Parts::of(&html);
                parts.next["props"]["pageProps"]["initialState"]["item"]["detail"]["item"] = changed;
                right_or_named(&parts.html(), &id, &whole, &format!("item.{key}"), &how);
            }
        }
        for (how, seller) in broken(&Parts::of(&html).items()[0]["seller"], "isStore") {
            let mut parts = Parts::of(&html);
            for place in parts.items() {
                place["seller"] = seller.clone();
            }
            right_or_named(&parts.html(), &id, &whole, "item.seller.isStore", &how);
        }
        assert!(checked > 140, "{checked}");
    }
}

#[test]
fn a_broken_key_of_page_data_is_named() {
    for (id, html) in originals() {
        let whole = read(&html, &id).unwrap();
        for key in DATA_KEYS {
            let items = Parts::of(&html).data["items"].clone();
            for (how, changed) in broken(&items, key) {
                let mut parts = Parts::of(&html);
                parts.data["items"] = changed;
                right_or_named(&parts.html(), &id, &whole, &format!("pageData.items.{key}"), &how);
            }
        }
        for (how, changed) in broken(&Parts::of(&html).data, "items") {
            let mut parts = Parts::of(&html);
            parts.data = changed;
            right_or_named(&parts.html(), &id, &whole, "pageData.items", &how);
        }
    }
}

#[test]
fn a_broken_way_to_the_item_is_named() {
    let way = ["props", "pageProps", "initialState", "item", "detail", "item"];
    for (id, html) in originals() {
        let whole = read(&html, &id).unwrap();
        for depth in 0..way.len() {
            let parent = |next: &Value| way[..depth].iter().fold(next.clone(), |at, key| at[key].clone());
            for (how, changed) in broken(&parent(&Parts::of(&html).next), way[depth]) {
                let mut parts = Parts::of(&html);
                let place = way[..depth].iter().fold(&mut parts.next, |at, key| &mut at[key]);
                *place = changed;
                let html = parts.html();
                let path = if depth == 5 {
                    "item".to_owned()
                } else {
                    way[..=depth].join(".")
                };
                match read(&html, &id) {
                    Ok(seen) => assert_eq!(seen, whole, "{how}"),
                    Err(error) => {
                        let names = error
                            .missing
                            .iter()
                            .any(|m| m.starts_with(&path) || m.starts_with("props") || &**m == "item");
                        assert!(names, "{how}: {:?}", error.missing);
                        assert_eq!(&*error.code, "contract", "{how}");
                    }
                }
            }
        }
    }
}

#[test]
fn d15_names_changed_anywhere_in_the_text_are_named() {
    for (id, html) in originals() {
        let whole = read(&html, &id).unwrap();
        for key in
            ITEM_KEYS
                .iter()
                .chain(&DATA_KEYS)
                .chain(&["__NEXT_DATA__", "pageData", "isStore", "props"])
        {
            let renamed = html.replace(key, "zzz");
            match read(&renamed, &id) {
                Ok(seen) => assert_eq!(seen, whole, "{key}"),
                Err(error) => assert!(!error.missing.is_empty(), "{key}: {error:?}"),
            }
        }
    }
}

#[test]
fn a_page_cut_anywhere_gives_the_right_value_or_none() {
    for (id, html) in originals() {
        let whole = read(&html, &id).unwrap();
        let body = html.as_bytes();
        for place in 0..200 {
            let cut = &body[..body.len() * place / 200];
            match read(cut, &id) {
                Ok(seen) => assert_eq!(seen, whole, "cut at {} of {}", cut.len(), body.len()),
                Err(error) => assert!(
                    matches!(&*error.code, "truncated" | "contract" | "not_html"),
                    "cut at {}: {error:?}",
                    cut.len()
                ),
            }
        }
        // Every byte near the ends of the two blocks.
        let next_ends = html.rfind("</script").unwrap();
        for end in next_ends - 40..=body.len() {
            if let Ok(seen) = read(&body[..end], &id) {
                assert_eq!(seen, whole);
            }
        }
    }
}

#[test]
fn a_hole_in_a_page_gives_the_right_value_or_none() {
    for (id, html) in originals() {
        let whole = read(&html, &id).unwrap();
        let body = html.as_bytes();
        for place in 0..100 {
            let start = body.len() * place / 100;
            for length in [1, 100] {
                let end = (start + length).min(body.len());
                let holed = [&body[..start], &body[end..]].concat();
                if let Ok(seen) = read(holed, &id) {
                    // A hole in the middle of a title leaves another title; nothing confirms it but the document.
                    assert_eq!(
                        Observation {
                            title: whole.title.clone(),
                            title_hash: whole.title_hash,
                            seller_id: whole.seller_id.clone(),
                            ..seen
                        },
                        whole,
                        "{length} bytes at {start}"
                    );
                }
            }
        }
    }
}

#[test]
fn d19_swapped_bodies_and_halves_are_refused() {
    let mut pages = originals();
    let mut other = Page::buy_now();
    other.item["auctionId"] = json!("n9988776655");
    other.data["productID"] = json!("n9988776655");
    pages.push(("n9988776655".into(), other.html()));
    for (id, html) in &pages {
        for (other, body) in &pages {
            if id == other {
                continue;
            }
            let error = read(body, id).unwrap_err();
            assert_eq!(
                (&*error.code, &*error.missing[0]),
                ("other_item", "item.auctionId")
            );
            // The head of one page and the rest of another.
            let (head, _) = html.split_once("<body").unwrap();
            let (_, tail) = body.split_once("<body").unwrap();
            let error = read(format!("{head}<body{tail}"), id).unwrap_err();
            assert_eq!(
                error.missing[..2],
                ["item.auctionId", "pageData.items.productID"].map(Box::<str>::from)
            );
        }
    }
}
