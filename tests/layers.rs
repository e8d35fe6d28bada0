//! The direction in which the rooms may use each other, checked from the source text.
//!
//! A single crate has no Cargo edges between its modules, so this test is the only thing that keeps the layers of
//! `docs/ARCHITECTURE.md` true. When it fails, either move the code, or change the tables below *and* the document in the
//! same commit, with the reason. Comments and strings are left out; tests inside of rooms are held to the rules too (a
//! test that needs a higher room belongs into `tests/it`).
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test: what it cannot read fails it"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Values and rules that every room may use.
const GROUND: &[&str] = &["domain", "clock", "backoff", "telemetry"];

/// A room and what it may use; itself always, and the [`GROUND`] unless it is part of it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("backoff", &["domain"]),
    ("telemetry", &["domain"]),
    ("http", &[]),
    ("vault", &[]),
    ("supervision", &[]),
    ("resilience", &[]),
    ("store", &["supervision", "vault"]),
    ("platform", &["http", "supervision", "resilience"]),
    ("nodes", &["supervision", "store"]),
    ("queue", &["supervision", "store", "nodes"]),
    ("schedule", &["supervision", "store", "queue"]),
    ("workflow", &["supervision", "store", "queue"]),
    ("pricing", &[]),
    (
        "watch",
        &[
            "supervision",
            "platform",
            "pricing",
            "store",
            "nodes",
            "queue",
            "resilience",
        ],
    ),
    (
        "sync",
        &[
            "supervision",
            "platform",
            "pricing",
            "store",
            "nodes",
            "queue",
            "workflow",
            "resilience",
        ],
    ),
    (
        "alert",
        &["http", "supervision", "resilience", "store", "nodes", "queue"],
    ),
    (
        "ops",
        &[
            "http",
            "vault",
            "supervision",
            "resilience",
            "store",
            "nodes",
            "platform",
            "queue",
            "schedule",
            "workflow",
            "pricing",
            "watch",
            "sync",
            "alert",
        ],
    ),
    ("api", &["ops"]),
    ("control", &["ops", "api", "supervision"]),
    ("web", &["ops", "api", "supervision"]),
    ("simulator", &[]),
    ("config", BELOW_CONFIG),
    ("app", EVERYTHING),
    ("cli", EVERYTHING),
    ("main", EVERYTHING),
];

/// `config` names the settings types of every room that has some.
const BELOW_CONFIG: &[&str] = &[
    "http",
    "vault",
    "supervision",
    "resilience",
    "store",
    "platform",
    "queue",
    "schedule",
    "workflow",
    "pricing",
    "watch",
    "sync",
    "alert",
    "ops",
    "api",
    "control",
    "web",
    "simulator",
];

/// Composition puts everything together.
const EVERYTHING: &[&str] = &[
    "http",
    "vault",
    "supervision",
    "resilience",
    "store",
    "nodes",
    "platform",
    "queue",
    "schedule",
    "workflow",
    "pricing",
    "watch",
    "sync",
    "alert",
    "ops",
    "api",
    "control",
    "web",
    "simulator",
    "config",
    "app",
    "cli",
];

/// A crate and the only rooms that may name it.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("diesel", &["store"]),
    ("diesel_async", &["store"]),
    ("diesel_migrations", &["store"]),
    ("deadpool_redis", &["store"]),
    ("reqwest", &["http", "control"]),
    ("actix_web", &["api", "web", "control", "simulator"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("metrics", &["ops"]),
    ("metrics_exporter_prometheus", &["ops"]),
    ("quick_xml", &["platform"]),
    ("select", &["platform"]),
    ("html5ever", &["platform"]),
    ("governor", &["resilience"]),
    ("failsafe", &["resilience"]),
    ("lettre", &["alert"]),
    // The log hands it events; how they are sent is composition.
    ("sentry", &["telemetry", "app"]),
    ("sd_notify", &["app"]),
];

/// Files (with what lies below them) that decide and do nothing else: functions of values and `now`.
const PURE: &[&str] = &[
    "watch/planner",
    "watch/estimator",
    "watch/diff",
    "watch/anomaly",
    "pricing",
    "sync/plan",
    "alert/rules",
    "alert/dedupe",
    "alert/routing",
    "alert/condition",
    "alert/inert",
    "alert/text",
    "queue/job",
    "supervision/decide",
    "supervision/intensity",
    "resilience/policy",
];

/// What a pure file may not name, outside of its tests. `tokio::time::Instant` is a value and allowed.
const NOT_IN_PURE: &[&str] = &[
    "tokio",
    "diesel",
    "diesel_async",
    "reqwest",
    "actix",
    "actix_rt",
    "actix_web",
];

// === the rules ===

#[test]
fn rooms_use_only_the_layers_below_them() {
    let mut violations = Vec::new();
    for file in files() {
        violations.extend(
            edges_of(&file.room, file.depth, &file.text)
                .into_iter()
                .map(|told| file.told(&told)),
        );
    }
    assert_none("layering violations", &violations);
}

#[test]
fn every_room_is_in_the_table_and_in_the_map() {
    let map = std::fs::read_to_string(src().join("lib.rs")).unwrap();
    let in_map: BTreeSet<String> = tokens(&map)
        .windows(3)
        .filter(|w| w[0] == "mod" && w[2] == ";")
        .map(|w| w[1].clone())
        .collect();
    let mut violations = Vec::new();
    for file in files() {
        if may_use(&file.room).is_none() {
            violations.push(file.told(&format!("room `{}` is not in the table of this test", file.room)));
        }
        if file.room != "main" && !in_map.contains(&file.room) {
            violations.push(file.told(&format!("room `{}` is not in src/lib.rs", file.room)));
        }
    }
    assert_none("unknown rooms", &violations);
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut violations = Vec::new();
    for file in files() {
        violations.extend(
            foreign_crates(&file.room, &file.text)
                .into_iter()
                .map(|told| file.told(&told)),
        );
    }
    assert_none("crates outside of their rooms", &violations);
}

#[test]
fn pure_files_do_nothing() {
    let mut violations = Vec::new();
    for file in files() {
        if PURE.iter().any(|pure| file.is_below(pure)) {
            violations.extend(impurities(&file.text).into_iter().map(|told| file.told(&told)));
        }
    }
    assert_none("pure files that are not", &violations);
}

#[test]
fn pure_files_are_where_the_table_says() {
    // A file that was renamed would be free of its rule without anybody noticing.
    let files = files();
    let missing: Vec<_> = PURE
        .iter()
        .filter(|pure| {
            let room = pure.split('/').next().unwrap();
            src().join(room).is_dir() && !files.iter().any(|file| file.is_below(pure))
        })
        .map(|pure| format!("src/{pure}.rs is not there"))
        .collect();
    assert_none("pure files that moved", &missing);
}

#[test]
fn the_table_itself_only_points_downwards() {
    let order: BTreeMap<&str, usize> = MAY_USE
        .iter()
        .enumerate()
        .map(|(at, (room, _))| (*room, at))
        .collect();
    assert_eq!(order.len(), MAY_USE.len(), "a room is in the table twice");
    for (room, may) in MAY_USE {
        for used in *may {
            let below =
                order.get(used).is_some_and(|at| *at < order[room]) || (*room, *used) == ("app", "cli");
            let itself = *room == *used || *room == "app" && *used == "cli";
            assert!(
                below || itself,
                "`{room}` may use `{used}`, which is not below it"
            );
        }
    }
}

// === the scanner ===

/// Which rooms a text uses that its own may not.
fn edges_of(room: &str, depth: usize, text: &str) -> Vec<String> {
    let Some(may) = may_use(room) else {
        return Vec::new();
    };
    let used = rooms_used(depth, text);
    let bad = used
        .into_iter()
        .filter(|used| used != room && !may.contains(used.as_str()));
    bad.map(|used| format!("`{room}` may not use `{used}`")).collect()
}

/// Everything a room may use, or `None` for a room that the table does not know.
fn may_use(room: &str) -> Option<BTreeSet<&'static str>> {
    let (room, may) = MAY_USE.iter().find(|(name, _)| *name == room)?;
    let ground = GROUND.iter().filter(|_| !GROUND.contains(room));
    Some(ground.chain(may.iter()).copied().collect())
}

/// Every room named as `crate::room`, `crate::{room, …}`, `zaikoban::room`, or by climbing up with `super`.
fn rooms_used(depth: usize, text: &str) -> BTreeSet<String> {
    let tokens = tokens(text);
    let mut used = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let starts = at == 0 || tokens[at - 1] != "::";
        let from_root = matches!(token.as_str(), "crate" | "zaikoban") && starts;
        let climbed = if token == "super" && starts {
            supers(&tokens[at..])
        } else {
            0
        };
        if from_root && tokens.get(at + 1).is_some_and(|next| next == "::") {
            used.extend(first_names(&tokens[at + 2..]));
        } else if climbed >= depth && climbed > 0 {
            // Inside of an inline module one `super` less reaches the root; only names of rooms count then.
            let named = first_names(&tokens[at + 2 * climbed..]);
            used.extend(named.into_iter().filter(|name| may_use(name).is_some()));
        }
    }
    used
}

/// How many `super::` follow each other.
fn supers(tokens: &[String]) -> usize {
    tokens
        .chunks(2)
        .take_while(|pair| pair[0] == "super" && pair.get(1).is_some_and(|next| next == "::"))
        .count()
}

/// The first name of a path, or of each path in a group.
fn first_names(tokens: &[String]) -> Vec<String> {
    if tokens.first().is_none_or(|first| first != "{") {
        return tokens.first().cloned().into_iter().collect();
    }
    let (mut depth, mut names, mut wanted) = (0_usize, Vec::new(), false);
    for token in tokens {
        match token.as_str() {
            "{" => {
                depth += 1;
                wanted = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "," => wanted = depth == 1,
            name => {
                if wanted {
                    names.push(name.to_owned());
                }
                wanted = false;
            }
        }
    }
    names
}

/// Which crates a text names that do not belong into its room.
fn foreign_crates(room: &str, text: &str) -> Vec<String> {
    let named = crates_named(text);
    let bad = ONLY_IN
        .iter()
        .filter(|(name, rooms)| named.contains(*name) && !rooms.contains(&room));
    bad.map(|(name, rooms)| format!("`{name}` belongs into {} only", rooms.join(", ")))
        .collect()
}

/// The beginnings of paths (`diesel::…`), of plain imports (`use diesel as d`) and of attributes (`#[diesel(…)]`).
fn crates_named(text: &str) -> BTreeSet<String> {
    let tokens = tokens(text);
    let mut named = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = |n: usize| {
            at.checked_sub(n)
                .and_then(|at| tokens.get(at))
                .map_or("", String::as_str)
        };
        let begins = !matches!(before(1), "::" | ".") || (before(1) == "::" && !is_name(before(2)));
        let leads = tokens.get(at + 1).is_some_and(|next| next == "::");
        let imported = matches!(before(1), "use" | "crate") && before(1) != "::";
        let attribute = before(1) == "[" && before(2) == "#";
        if begins && (leads || imported || attribute) {
            named.insert(token.clone());
        }
    }
    named
}

/// What a text does although it should only decide.
fn impurities(text: &str) -> Vec<String> {
    let tokens = tokens(&without_tests(text));
    let joined = tokens.join(" ").replace("tokio :: time :: Instant", "instant");
    let named = crates_named(&joined);
    NOT_IN_PURE
        .iter()
        .filter(|name| named.contains(**name))
        .map(|name| format!("names `{name}`"))
        .collect()
}

/// The text up to its inline tests.
fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Names, `::` and single signs; comments, strings and characters left out.
fn tokens(text: &str) -> Vec<String> {
    let mut rest = text;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' || rest.starts_with("b\"") {
            string(rest)
        } else if first == '\'' {
            character(rest)
        } else if first.is_alphabetic() || first == '_' {
            let length = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    tokens
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_') || token == ">"
}

/// The length of a block comment, nested ones included.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"`, if one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + length)
}

/// The length of `"…"` or `b"…"`.
fn string(text: &str) -> usize {
    let open = text.find('"').unwrap_or(0) + 1;
    let mut escaped = false;
    for (at, c) in text[open..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return open + at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `'c'`, or of the sign alone when a lifetime begins here.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[2..]
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == '\'')
            .map_or(1, |(at, _)| at + 3),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

// === the files ===

/// One file of the house.
struct File {
    /// Its path below `src`, without `.rs`.
    path: String,
    room: String,
    /// How many modules deep it lies: 1 for `store.rs`, 2 for `store/pool.rs`.
    depth: usize,
    text: String,
}

impl File {
    fn is_below(&self, path: &str) -> bool {
        self.path == path
            || self
                .path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/'))
    }

    fn told(&self, what: &str) -> String {
        format!("src/{}.rs: {what}", self.path)
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file but `lib.rs`, which is the map.
fn files() -> Vec<File> {
    let mut paths = Vec::new();
    walk(&src(), &mut paths);
    paths.sort();
    let files = paths.iter().map(|path| {
        let below = path.strip_prefix(src()).unwrap().with_extension("");
        let parts: Vec<_> = below.iter().map(|part| part.to_str().unwrap()).collect();
        File {
            path: parts.join("/"),
            room: parts[0].to_owned(),
            depth: parts.len(),
            text: std::fs::read_to_string(path).unwrap(),
        }
    });
    files.filter(|file| file.path != "lib").collect()
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, out);
        } else if path.extension().is_some_and(|end| end == "rs") {
            out.push(path);
        }
    }
}

fn assert_none(what: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{what}:\n{}", violations.join("\n"));
}

// === the scanner's own tests ===

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_scanner_sees_every_way_of_naming_a_room() {
    let text = r#"
        use crate::store::{pool::Db, StoreError};
        use crate::{
            domain::{self, Money}, // crate::web
            queue::job::{Job, State},
        };
        /* crate::cli /* nested crate::app */ crate::api */
        fn f<'a>(c: char) -> &'a str { if c == '"' || c == '\'' { "crate::config" } else { zaikoban::sync::plan() } }
        const RAW: &str = "\" crate::alert";
        pub(crate) fn g() { super::super::watch::roster(); super::gateway::x() }
    "#;
    assert_eq!(
        rooms_used(2, text),
        names(&["store", "domain", "queue", "sync", "watch"])
    );
    assert_eq!(
        rooms_used(1, "use super::http::Client; use super::own::Part;"),
        names(&["http"])
    );
    assert_eq!(rooms_used(3, "use super::super::http;"), names(&[]));
}

#[test]
fn an_edge_upwards_is_found_and_one_downwards_is_not() {
    assert_eq!(
        edges_of("store", 2, "use crate::{domain::Money, queue::Job};"),
        ["`store` may not use `queue`"]
    );
    assert_eq!(
        edges_of("simulator", 1, "use crate::platform::ebay;"),
        ["`simulator` may not use `platform`"]
    );
    assert_eq!(
        edges_of("domain", 2, "use crate::clock::Clock;"),
        ["`domain` may not use `clock`"]
    );
    assert_eq!(
        edges_of("domain", 2, "use crate::unheard_of::X;"),
        ["`domain` may not use `unheard_of`"]
    );
    assert!(edges_of("sync", 2, "use crate::{clock::Clock, sync::plan, store::Db};").is_empty());
}

#[test]
fn a_crate_is_found_in_paths_imports_and_attributes_only() {
    let named = crates_named(
        "use diesel::prelude::*; use {reqwest::Url}; use clap as c; #[actix_web::get(\"/\")] #[derive(governor::X)]
         ::failsafe::Y; tokio::select! {} x.select(html5ever); let diesel_async = 1; \"tower::x\"",
    );
    for name in [
        "diesel",
        "reqwest",
        "clap",
        "actix_web",
        "governor",
        "failsafe",
        "tokio",
    ] {
        assert!(named.contains(name), "{name}");
    }
    for name in ["select", "html5ever", "diesel_async", "tower"] {
        assert!(!named.contains(name), "{name}");
    }
    assert_eq!(
        foreign_crates("queue", "#[diesel(table_name = jobs)] struct J;"),
        ["`diesel` belongs into store only"]
    );
    assert!(foreign_crates("store", "use diesel::prelude::*;").is_empty());
}

#[test]
fn an_instant_is_a_value_and_a_runtime_is_not() {
    assert!(impurities("use tokio::time::Instant; fn f(now: tokio::time::Instant) {}").is_empty());
    assert_eq!(impurities("use tokio::sync::mpsc;"), ["names `tokio`"]);
    assert!(impurities("fn f() {}\n#[cfg(test)]\nmod tests { use tokio::time; }").is_empty());
}
