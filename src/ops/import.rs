//! A product list as CSV, read whole before anything is written; all problems are named by line and column.
//!
//! UTF-8, with or without a BOM, or CP932; the first line names the columns. `source_url` is needed, the rest may be
//! left out. A `sku` links a listing to the product: it is read at its destination first, and its auto-sync stays off
//! unless the row says `auto_sync` = `true`. `rules` are pricing rules of its own: `margin_bp=1500 floor=20`.

use super::listings::sku_problem;
use super::products::{ONE_PRICE, TITLE_CHARACTERS, is_priced_so, source_of};
use super::{InputProblem, text_problem};
use crate::domain::{CostRule, DestinationPlatform, SourcePlatform, SourceProductId};
use crate::pricing::typed_rule;
use encoding_rs::SHIFT_JIS;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;

/// Every column that is understood.
const COLUMNS: [&str; 8] = [
    "source_url",
    "title",
    "cost_rule",
    "value_at_risk",
    "destination",
    "sku",
    "auto_sync",
    "rules",
];
/// What stands in the column of rules.
const RULES: &str = "rules that differ, each once, parted by blanks, such as margin_bp=1500 floor=20";
/// More problems than this help nobody; the count says how many there were.
pub(super) const MAX_PROBLEMS: usize = 100;

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
    /// What differs from its destination's pricing rules.
    pub(super) rules: Option<Value>,
}

/// Everything that is wrong with a file.
#[derive(Debug, Default)]
pub(super) struct BadFile {
    /// The first problems.
    pub(super) shown: Vec<InputProblem>,
    /// How many there are.
    pub(super) count: usize,
}

impl BadFile {
    fn push(&mut self, problem: InputProblem) {
        self.count = self.count.saturating_add(1);
        if self.shown.len() < MAX_PROBLEMS {
            self.shown.push(problem);
        }
    }
}

impl From<Vec<InputProblem>> for BadFile {
    fn from(shown: Vec<InputProblem>) -> Self {
        let count = shown.len();
        Self { shown, count }
    }
}

/// Reads a whole file.
///
/// # Errors
/// Every problem.
pub(super) fn parse(body: &[u8]) -> Result<Vec<ImportRow>, BadFile> {
    let body = decoded(body)?;
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(body.as_bytes());
    let columns = header(&mut reader)?;
    let mut rows = Vec::new();
    let mut bad = BadFile::default();
    let mut seen = Seen::default();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let place = format!("line {line}");
                bad.push(InputProblem::new(place, "a CSV row", &error.to_string()));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let fields = Fields {
            columns: &columns,
            record: &record,
            line,
        };
        let mut problems = fields.surplus();
        if let Some(row) = fields.row(&mut problems) {
            problems.extend(seen.twice(&row, &fields));
            rows.push(row);
        }
        problems.into_iter().for_each(|problem| bad.push(problem));
    }
    if rows.is_empty() && bad.count == 0 {
        bad.push(InputProblem::new("line 2", "at least one product", "nothing"));
    }
    if bad.count == 0 { Ok(rows) } else { Err(bad) }
}

/// The text of a file: UTF-8, or else CP932, which Excel writes in Japan. No CP932 text of more than a few signs happens
/// to be UTF-8 as well.
fn decoded(body: &[u8]) -> Result<Cow<'_, str>, BadFile> {
    let (body, is_marked) = match body.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => (rest, true),
        None => (body, false),
    };
    let error = match std::str::from_utf8(body) {
        Ok(text) => return Ok(text.into()),
        Err(error) => error,
    };
    let before = body.get(..error.valid_up_to()).unwrap_or_default();
    let line_of = |before: &[u8]| before.iter().filter(|b| **b == b'\n').count().saturating_add(1);
    // Signs that are whole in UTF-8 say what it was meant to be; read as CP932, it would be other words.
    let is_utf8 = is_marked || !before.is_ascii();
    let line = if is_utf8 {
        line_of(before)
    } else {
        let decode = |text| SHIFT_JIS.decode_without_bom_handling_and_without_replacement(text);
        if let Some(text) = decode(body) {
            return Ok(text);
        }
        let mut lines = body.split(|b| *b == b'\n');
        lines
            .position(|line| decode(line).is_none())
            .unwrap_or(0)
            .saturating_add(1)
    };
    let problem = InputProblem::new(format!("line {line}"), "text in UTF-8 or CP932", "other bytes");
    Err(vec![problem.hint("save the list as \"CSV UTF-8\" and import it again")].into())
}

/// On which line an item or an offer stood first.
#[derive(Default)]
struct Seen {
    items: HashMap<(SourcePlatform, SourceProductId), u64>,
    offers: HashMap<(DestinationPlatform, String), u64>,
}

impl Seen {
    fn twice(&mut self, row: &ImportRow, fields: &Fields<'_>) -> Vec<InputProblem> {
        let item = (row.source, row.source_product_id.clone());
        let first_item = self.items.insert(item, row.line);
        let offer = row.listing.as_ref().map(|l| (l.destination, l.sku.clone()));
        let first_offer = offer.and_then(|offer| self.offers.insert(offer, row.line));
        [
            ("source_url", "an item", first_item),
            ("sku", "a SKU", first_offer),
        ]
        .into_iter()
        .filter_map(|(column, what, line)| {
            let expected = format!("{what} that the file has once; line {} has it too", line?);
            Some(fields.problem(column, &expected))
        })
        .collect()
    }
}

fn header(reader: &mut csv::Reader<&[u8]>) -> Result<HashMap<String, usize>, BadFile> {
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
        Err(problems.into())
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

    /// More fields than the first line names columns: a comma that is not quoted shifts all that follow it.
    fn surplus(&self) -> Vec<InputProblem> {
        let (columns, got) = (self.columns.len(), self.record.len());
        if got <= columns {
            return Vec::new();
        }
        let place = format!("line {}", self.line);
        let problem = InputProblem::new(place, format!("at most {columns} fields"), &got.to_string());
        vec![problem.hint("put a text that holds a comma into double quotes")]
    }

    fn row(&self, problems: &mut Vec<InputProblem>) -> Option<ImportRow> {
        let before = problems.len();
        let source = source_of(self.get("source_url"));
        if let Err(expected) = &source {
            problems.push(self.problem("source_url", expected));
        }
        let title = self.get("title");
        if let Some(problem) = text_problem("title", title, TITLE_CHARACTERS) {
            problems.push(self.problem("title", &problem.expected));
        }
        let cost_rule = match self.get("cost_rule") {
            "" => Some(CostRule::BuyNow),
            text => text.parse().ok(),
        };
        if cost_rule.is_none() {
            problems.push(self.problem("cost_rule", "one of buy_now, current_bid"));
        }
        if let (Ok((source, ..)), Some(rule)) = (&source, cost_rule)
            && !is_priced_so(*source, rule)
        {
            problems.push(self.problem("cost_rule", ONE_PRICE));
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
            problems.push(self.problem("destination", "one of ebay, mercari, amazon_seller"));
        }
        let auto_sync = match self.get("auto_sync") {
            "" | "false" => Some(false),
            "true" => Some(true),
            _ => None,
        };
        if auto_sync.is_none() {
            problems.push(self.problem("auto_sync", "one of true, false"));
        }
        let rules = match rules(self.get("rules")) {
            Some(rules) => (!rules.is_empty()).then_some(Value::Object(rules)),
            None => {
                problems.push(self.problem("rules", RULES));
                None
            }
        };
        if sku.is_empty() {
            return None;
        }
        if let Some(problem) = sku_problem(sku) {
            problems.push(self.problem("sku", &problem.expected));
            return None;
        }
        Some(ImportListing {
            destination: destination?,
            sku: sku.to_owned(),
            auto_sync: auto_sync?,
            rules,
        })
    }
}

/// Pricing rules as typed, parted by blanks. What they mean is for the price book to say.
fn rules(text: &str) -> Option<Map<String, Value>> {
    let mut rules = Map::new();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=')?;
        if rules.insert(key.to_owned(), typed_rule(key, value)).is_some() {
            return None;
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://auctions.yahoo.co.jp/jp/auction/s1238539612";

    #[test]
    fn products_of_amazon_are_taken_by_their_page_and_have_one_price() {
        let page = "https://www.amazon.co.jp/%E5%A3%BA/dp/B07FZ8S74R/ref=sr_1_1?th=1";
        let rows = parse(format!("source_url,title\n{page},壺\n").as_bytes()).unwrap();
        let found = (
            rows[0].source,
            rows[0].source_product_id.as_str(),
            rows[0].source_url.as_str(),
        );
        assert_eq!(
            found,
            (
                SourcePlatform::Amazon,
                "B07FZ8S74R",
                "https://www.amazon.co.jp/dp/B07FZ8S74R"
            )
        );
        let bad = parse(format!("source_url,cost_rule\n{page},current_bid\n").as_bytes());
        assert_eq!(bad.unwrap_err().shown[0].place, "line 2, column cost_rule");
        let elsewhere = parse(b"source_url\nhttps://www.amazon.com/dp/B07FZ8S74R\n");
        let expected = elsewhere.unwrap_err().shown[0].expected.clone();
        assert!(
            expected.contains("another host than www.amazon.co.jp"),
            "{expected}"
        );
    }

    #[test]
    fn a_row_is_read_with_its_defaults() {
        let rows = parse(format!("source_url,sku\n{URL},A-1\n").as_bytes()).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].source_product_id.as_str(), "s1238539612");
        assert_eq!(rows[0].cost_rule, CostRule::BuyNow);
        assert!(!rows[0].listing.as_ref().unwrap().auto_sync);
    }

    #[test]
    fn an_offer_can_have_rules_of_its_own() {
        let text = format!("source_url,sku,rules\n{URL},A-1,margin_bp=1500  rounding=80\n");
        let rows = parse(text.as_bytes()).unwrap();
        let rules = rows[0].listing.as_ref().unwrap().rules.clone();
        assert_eq!(
            rules,
            Some(serde_json::json!({ "margin_bp": 1500, "rounding": "80" }))
        );
        for bad in ["floor", "floor=1 floor=2"] {
            let text = format!("source_url,sku,rules\n{URL},A-1,{bad}\n");
            assert_eq!(places(&text), ["line 2, column rules"]);
        }
    }

    fn places(text: &str) -> Vec<String> {
        places_of(text.as_bytes())
    }

    fn places_of(body: &[u8]) -> Vec<String> {
        let bad = parse(body).unwrap_err();
        bad.shown.into_iter().map(|p| p.place).collect()
    }

    #[test]
    fn every_problem_is_named_by_line_and_column() {
        let text = format!(
            "source_url,cost_rule,value_at_risk,auto_sync\nhttp://127.0.0.1/,cheap,-1,maybe\n{URL},,,\n{URL},,,\n"
        );
        assert_eq!(
            places(&text),
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
    fn a_comma_that_is_not_quoted_and_an_offer_that_stands_twice_are_problems() {
        let other = URL.replace("s1238539612", "s1238539613");
        assert_eq!(places(&format!("source_url,title\n{URL},one, two\n")), ["line 2"]);
        assert!(parse(format!("source_url,title\n{URL},\"one, two\"\n").as_bytes()).is_ok());
        let text = format!("source_url,sku\n{URL},A-1\n{other},A-1\n");
        assert_eq!(places(&text), ["line 3, column sku"]);
    }

    #[test]
    fn the_first_hundred_problems_are_shown_and_all_are_counted() {
        let text = format!("source_url\n{}", "nowhere\n".repeat(250));
        let bad = parse(text.as_bytes()).unwrap_err();
        assert_eq!((bad.shown.len(), bad.count), (100, 250));
    }

    #[test]
    fn wrong_columns_and_wrong_bytes_are_refused_whole() {
        assert_eq!(parse(b"url,title\nx,y\n").unwrap_err().count, 2);
        assert_eq!(places_of(b"source_url,title\nx,ok\n\xff\xfe,x\n"), ["line 3"]);
        assert!(parse(b"").is_err());
        assert!(parse(b"source_url\n").is_err());
    }

    #[test]
    fn what_excel_writes_in_japan_is_read() {
        let text = format!("source_url,title\n{URL},表示ソ①㈱髙\n");
        let (cp932, _, lost) = SHIFT_JIS.encode(&text);
        assert!(!lost);
        assert_eq!(parse(&cp932).unwrap()[0].title, "表示ソ①㈱髙");
        let damaged = [&cp932[..], b"x,\xff\n"].concat();
        assert_eq!(
            places_of(&damaged),
            ["line 3"],
            "the line that is damaged, not the first one in Japanese"
        );
    }

    #[test]
    fn damaged_utf_8_is_not_taken_for_cp932() {
        let text = format!("source_url,title\n{URL},スニーカー\n");
        for at in text.find('ス').unwrap() + 3..text.len() - 2 {
            let mut body = text.clone().into_bytes();
            body.remove(at);
            assert_eq!(places_of(&body), ["line 2"], "without byte {at}");
        }
        let marked = [b"\xef\xbb\xbf", &SHIFT_JIS.encode(&text).0[..]].concat();
        assert_eq!(places_of(&marked), ["line 2"]);
    }

    /// Many rows, good and bad; half a file; a quote that never ends. (The door takes 32 MiB of them.)
    #[test]
    fn e9_a_list_of_any_size_is_read_row_by_row_and_told_in_few_words() {
        let row = |n: u32| {
            format!(
                "https://auctions.yahoo.co.jp/jp/auction/s{},\"title {n}\",A-{n}\n",
                1_000_000_000 + n
            )
        };
        let mut good = String::from("source_url,title,sku\n");
        (0..20_000).for_each(|n| good.push_str(&row(n)));
        assert_eq!(parse(good.as_bytes()).unwrap().len(), 20_000);
        for cut in [1, 30] {
            let half = &good[..good.len() / 2 - cut];
            match parse(half.as_bytes()) {
                Ok(rows) => assert!(rows.len() < 10_100),
                Err(bad) => assert!(
                    bad.count <= 2,
                    "only the line that was cut is wrong: {:?}",
                    bad.shown
                ),
            }
        }
        let same = format!("source_url,title\n{}", "x,y\n".repeat(100_000));
        let bad = parse(same.as_bytes()).unwrap_err();
        assert_eq!((bad.shown.len(), bad.count), (MAX_PROBLEMS, 100_000));
        let open = format!("source_url,title\n{URL},\"{}", "x\n".repeat(200_000));
        let bad = parse(open.as_bytes()).unwrap_err();
        let told: usize = bad.shown.iter().map(|p| p.to_string().len()).sum();
        assert!(told < 100_000, "{told} bytes are told of a quote that never ends");
    }

    #[test]
    fn a_bom_is_no_part_of_the_first_column() {
        assert!(parse(format!("\u{feff}source_url\n{URL}\n").as_bytes()).is_ok());
    }
}
