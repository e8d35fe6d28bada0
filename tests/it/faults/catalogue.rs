//! Every fault of sections A to F has a test of its name, or a reason why it has none.
//!
//! `docs/FAULTS.md` names the tests; what has none stands in `docs/GUARANTEES.md` with the reason. This reads the
//! sources and both documents, so that neither can go out of date unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How many faults each section has.
const SECTIONS: [(char, u32); 6] = [('A', 15), ('B', 18), ('C', 10), ('D', 27), ('E', 10), ('F', 8)];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn all_rows() -> Vec<String> {
    let rows = SECTIONS.iter();
    rows.flat_map(|(section, many)| (1..=*many).map(move |n| format!("{section}{n}")))
        .collect()
}

/// The row that a test is named after: `b12_…` is B12.
fn row_of(test: &str) -> Option<String> {
    let (prefix, _) = test.split_once('_')?;
    let (section, number) = prefix.split_at_checked(1)?;
    let row = format!("{}{number}", section.to_uppercase());
    let known = number.parse::<u32>().is_ok() && all_rows().contains(&row);
    known.then_some(row)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Tests named after a fault, as `path::name`, by row.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let short = file.strip_prefix(root()).unwrap().display().to_string();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") || line.starts_with("//") {
                is_test |= line.starts_with("#[") && line.contains("test") && !line.contains("cfg(test)");
                continue;
            }
            let name = line.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            if let Some(name) = name.filter(|_| is_test)
                && let Some(row) = row_of(name)
            {
                found.entry(row).or_default().insert(format!("{short}::{name}"));
            }
            is_test = false;
        }
    }
    found
}

/// The table's lines: row, and everything behind it.
fn table() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("docs/FAULTS.md")).unwrap();
    let rows = all_rows();
    let mut table = BTreeMap::new();
    for line in text.lines() {
        let Some((row, rest)) = line.strip_prefix("| ").and_then(|line| line.split_once(" | ")) else {
            continue;
        };
        if rows.iter().any(|known| known == row) {
            assert_eq!(
                table.insert(row.to_owned(), rest.to_owned()),
                None,
                "{row} stands twice"
            );
        }
    }
    table
}

/// The rows that `docs/GUARANTEES.md` gives a reason for: "- *C1*: with …" and "- *D2*, *D27*: …".
fn reasons() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("docs/GUARANTEES.md")).unwrap();
    let section = text
        .split("**Faults that no test provokes**")
        .nth(1)
        .expect("docs/GUARANTEES.md has a paragraph of the faults that no test provokes");
    let mut found = BTreeMap::new();
    for point in section.split("\n- ").skip(1) {
        let point = point.split("\n\n").next().unwrap_or_default();
        let Some((rows, why)) = point.split_once(": ") else {
            continue;
        };
        for row in rows.split(", ") {
            let row = row.trim().trim_matches('*').to_owned();
            assert!(all_rows().contains(&row), "`{row}` is no fault: {point}");
            assert!(why.trim().len() > 20, "{row}: `{why}` is no reason");
            found.insert(row, why.trim().to_owned());
        }
    }
    found
}

#[test]
fn every_fault_has_a_test_of_its_name_or_a_reason() {
    let (tests, table, reasons) = (tests(), table(), reasons());
    let mut wrong = Vec::new();
    let (mut tested, mut accounted) = (0, 0);
    for row in all_rows() {
        let Some(line) = table.get(&row) else {
            wrong.push(format!("{row}: docs/FAULTS.md has no line for it"));
            continue;
        };
        let named: BTreeSet<String> = line
            .split('`')
            .filter(|word| word.contains(".rs::"))
            .map(str::to_owned)
            .collect();
        let there = tests.get(&row).cloned().unwrap_or_default();
        for missing in named.difference(&there) {
            wrong.push(format!(
                "{row}: docs/FAULTS.md names `{missing}`, which is no test of this row"
            ));
        }
        for unnamed in there.difference(&named) {
            wrong.push(format!("{row}: docs/FAULTS.md leaves out `{unnamed}`"));
        }
        match (there.is_empty(), reasons.contains_key(&row)) {
            (true, false) => wrong.push(format!(
                "{row}: neither a test nor a reason in docs/GUARANTEES.md"
            )),
            (false, true) => wrong.push(format!(
                "{row}: tested, and docs/GUARANTEES.md says that it is not"
            )),
            (true, true) => accounted += 1,
            (false, false) => tested += 1,
        }
    }
    let text = fs::read_to_string(root().join("docs/FAULTS.md")).unwrap();
    let counts = format!(
        "{tested} of {} faults are provoked by a test, {accounted} are not",
        tested + accounted
    );
    if !text.contains(&counts) {
        wrong.push(format!("docs/FAULTS.md should say: {counts}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
