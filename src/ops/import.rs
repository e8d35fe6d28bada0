//! A product list as CSV, read whole before anything is written; all problems are named by line and column.
//!
//! UTF-8, with or without a BOM; the first line names the columns. `source_url` is needed, the rest may be left out. A
//! `sku` links a listing to the product: it is read at its destination first, and its auto-sync stays off unless the
//! row says `auto_sync` = `true`.

use super::InputProblem;
use super::products::source_of;
use crate::domain::{CostRule, DestinationPlatform, SourcePlatform, SourceProductId};
use std::collections::HashMap;

/// Every column that is understood.
const COLUMNS: [&str; 7] = [
    "source_url",
    "title",
    "cost_rule",
    "value_at_risk",
    "destination",
    "sku",
    "auto_sync",
];
/// More problems than this help nobody; the count says how many there were.
const MAX_PROBLEMS: usize = 100;
/// What the tables hold.
const MAX_TITLE_CHARS: usize = 500;
/// eBay's limit on a SKU.
const MAX_SKU_CHARS: usize = 50;

/// One line, understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ImportRow {
    /// The line in the file, from 1.
    pub(super) line: u64,
    /// Where it is bought.
    pub(super) source: SourcePlatform,
    /// The item there.
    pub(super) source_product_id: SourceProductId,
    /// The canonical address.
    pub(super) source_url: String,
    /// A title to know it by until its page was read.
    pub(super) title: String,
    /// What it costs.
    pub(super) cost_rule: CostRule,
    /// Yen lost per hour while its listing is wrong.
    pub(super) value_at_risk: f32,
    /// The offer to link, if any.
    pub(super) listing: Option<ImportListing>,
}

/// An offer to link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportListing {
    /// Where.
    pub(super) destination: DestinationPlatform,
    /// The seller's own key there.
    pub(super) sku: String,
    /// Whether it is kept in line at once.
    pub(super) auto_sync: bool,
}

/// Reads a whole file.
///
/// # Errors
/// Every problem, at most 100 of them.
pub(super) fn parse(body: &[u8]) -> Result<Vec<ImportRow>, Vec<InputProblem>> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if let Err(error) = std::str::from_utf8(body) {
        let before = body.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|b| **b == b'\n').count().saturating_add(1);
        let mut problem = InputProblem::new(format!("line {line}"), "UTF-8 text", "other bytes");
        problem.hint = Some("convert it first: `iconv -f CP932 -t UTF-8 FILE`".to_owned());
        return Err(vec![problem]);
    }
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(body);
    let columns = header(&mut reader)?;
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    let mut seen = HashMap::new();
    for record in reader.records() {
        if problems.len() >= MAX_PROBLEMS {
            break;
        }
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                problems.push(InputProblem::new(
                    format!("line {line}"),
                    "a CSV row",
                    &error.to_string(),
                ));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let fields = Fields {
            columns: &columns,
            record: &record,
            line,
        };
        if let Some(row) = fields.row(&mut problems) {
            if let Some(first) = seen.insert((row.source, row.source_product_id.clone()), line) {
                let expected = format!("an item that the file has once; line {first} has it too");
                problems.push(fields.problem("source_url", &expected));
            }
            rows.push(row);
        }
    }
    if rows.is_empty() && problems.is_empty() {
        problems.push(InputProblem::new("line 2", "at least one product", "nothing"));
    }
    if problems.is_empty() {
        Ok(rows)
    } else {
        Err(problems)
    }
}

fn header(reader: &mut csv::Reader<&[u8]>) -> Result<HashMap<String, usize>, Vec<InputProblem>> {
    let headers = reader.headers().map_err(|e| {
        vec![InputProblem::new(
            "line 1",
            "the names of the columns",
            &e.to_string(),
        )]
    })?;
    let mut columns = HashMap::new();
    let mut problems = Vec::new();
    for (at, name) in headers.iter().enumerate() {
        let known = COLUMNS.contains(&name);
        if !known || columns.insert(name.to_owned(), at).is_some() {
            let expected = if known {
                "each column once".to_owned()
            } else {
                format!("one of {}", COLUMNS.join(", "))
            };
            problems.push(InputProblem::new("line 1", expected, name));
        }
    }
    if !columns.contains_key("source_url") {
        problems.push(InputProblem::new("line 1", "a column `source_url`", "none"));
    }
    if problems.is_empty() {
        Ok(columns)
    } else {
        Err(problems)
    }
}

/// One line with its columns' names.
struct Fields<'a> {
    columns: &'a HashMap<String, usize>,
    record: &'a csv::StringRecord,
    line: u64,
}

impl Fields<'_> {
    fn get(&self, column: &str) -> &str {
        self.columns
            .get(column)
            .and_then(|at| self.record.get(*at))
            .unwrap_or_default()
    }

    fn problem(&self, column: &str, expected: &str) -> InputProblem {
        let place = format!("line {}, column {column}", self.line);
        InputProblem::new(place, expected, self.get(column))
    }

    fn row(&self, problems: &mut Vec<InputProblem>) -> Option<ImportRow> {
        let before = problems.len();
        let source = source_of(self.get("source_url"));
        if let Err(expected) = &source {
            problems.push(self.problem("source_url", expected));
        }
        let title = self.get("title");
        if title.chars().count() > MAX_TITLE_CHARS || title.contains('\0') {
            problems.push(self.problem("title", "at most 500 characters"));
        }
        let cost_rule = match self.get("cost_rule") {
            "" => Some(CostRule::BuyNow),
            text => text.parse().ok(),
        };
        if cost_rule.is_none() {
            problems.push(self.problem("cost_rule", "buy_now or current_bid"));
        }
        let value_at_risk = match self.get("value_at_risk") {
            "" => Some(1.0),
            text => text.parse().ok().filter(|v: &f32| (0.0..=1e9).contains(v)),
        };
        if value_at_risk.is_none() {
            problems.push(self.problem("value_at_risk", "yen per hour, from 0 to 1000000000"));
        }
        let listing = self.listing(problems);
        if problems.len() > before {
            return None;
        }
        let (source, source_product_id, source_url) = source.ok()?;
        Some(ImportRow {
            line: self.line,
            source,
            source_product_id,
            source_url,
            title: title.to_owned(),
            cost_rule: cost_rule?,
            value_at_risk: value_at_risk?,
            listing,
        })
    }

    fn listing(&self, problems: &mut Vec<InputProblem>) -> Option<ImportListing> {
        let sku = self.get("sku");
        let destination = match self.get("destination") {
            "" => Some(DestinationPlatform::Ebay),
            text => text.parse().ok(),
        };
        if destination.is_none() {
            problems.push(self.problem("destination", "ebay"));
        }
        let auto_sync = match self.get("auto_sync") {
            "" | "false" => Some(false),
            "true" => Some(true),
            _ => None,
        };
        if auto_sync.is_none() {
            problems.push(self.problem("auto_sync", "true or false"));
        }
        if sku.chars().count() > MAX_SKU_CHARS || sku.chars().any(char::is_control) {
            problems.push(self.problem("sku", "at most 50 characters"));
            return None;
        }
        if sku.is_empty() {
            return None;
        }
        Some(ImportListing {
            destination: destination?,
            sku: sku.to_owned(),
            auto_sync: auto_sync?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://auctions.yahoo.co.jp/jp/auction/s1238539612";

    #[test]
    fn a_row_is_read_with_its_defaults() {
        let rows = parse(format!("source_url,sku\n{URL},A-1\n").as_bytes()).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].source_product_id.as_str(), "s1238539612");
        assert_eq!(rows[0].cost_rule, CostRule::BuyNow);
        assert!(!rows[0].listing.as_ref().unwrap().auto_sync);
    }

    #[test]
    fn every_problem_is_named_by_line_and_column() {
        let text = format!(
            "source_url,cost_rule,value_at_risk,auto_sync\nhttp://127.0.0.1/,cheap,-1,maybe\n{URL},,,\n{URL},,,\n"
        );
        let problems = parse(text.as_bytes()).unwrap_err();
        let places: Vec<&str> = problems.iter().map(|p| p.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "line 2, column source_url",
                "line 2, column cost_rule",
                "line 2, column value_at_risk",
                "line 2, column auto_sync",
                "line 4, column source_url"
            ]
        );
    }

    #[test]
    fn wrong_columns_and_wrong_bytes_are_refused_whole() {
        assert_eq!(parse(b"url,title\nx,y\n").unwrap_err().len(), 2);
        assert!(parse(b"source_url,title\n\x83\x65\x83\x58\x83\x67,x\n").is_err());
        assert!(parse(b"").is_err());
        assert!(parse(b"source_url\n").is_err());
    }

    #[test]
    fn a_bom_is_no_part_of_the_first_column() {
        assert!(parse(format!("\u{feff}source_url\n{URL}\n").as_bytes()).is_ok());
    }
}
