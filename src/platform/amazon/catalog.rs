//! Titles, from the catalogue: asked for twenty items at a time and kept in memory, because they hardly ever change and
//! each request counts against the hour.

use super::asin::Asin;
use super::fault;
use crate::domain::ErrorClass;
use crate::platform::PlatformError;
use crate::platform::json::{At, Drift};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// More titles than this are not kept; the oldest half goes then.
const MOST_KEPT: usize = 200_000;
/// The most characters that the tables hold.
const LONGEST_CHARS: usize = 500;

/// A title and when it was read.
#[derive(Clone, Debug)]
struct Kept {
    title: Arc<str>,
    at: Instant,
}

/// The titles known.
#[derive(Debug)]
pub(super) struct Titles {
    kept: Mutex<HashMap<Asin, Kept>>,
    /// A title older than this is asked for again; one that cannot be had then serves as long once more.
    age: Duration,
}

impl Titles {
    pub(super) fn new(age: Duration) -> Self {
        Self {
            kept: Mutex::default(),
            age,
        }
    }

    /// Those of `asins` whose title is to be asked for.
    pub(super) fn wanted(&self, asins: &[Asin]) -> Vec<Asin> {
        let kept = self.kept.lock();
        let fresh = |asin: &&Asin| kept.get(*asin).is_none_or(|kept| kept.at.elapsed() >= self.age);
        asins.iter().filter(fresh).cloned().collect()
    }

    /// The title of an item, unless it is out of all use.
    pub(super) fn of(&self, asin: &Asin) -> Option<Arc<str>> {
        let kept = self.kept.lock();
        let kept = kept.get(asin).filter(|kept| kept.at.elapsed() < self.age * 2)?;
        Some(Arc::clone(&kept.title))
    }

    pub(super) fn keep(&self, read: impl IntoIterator<Item = (Asin, Box<str>)>) {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        for (asin, title) in read {
            let title = title.into();
            kept.insert(asin, Kept { title, at: now });
        }
        if kept.len() > MOST_KEPT {
            let mut ages: Vec<Instant> = kept.values().map(|kept| kept.at).collect();
            let middle = ages.len() / 2;
            let (_, median, _) = ages.select_nth_unstable(middle);
            let median = *median;
            kept.retain(|_, kept| kept.at > median);
        }
    }
}

/// The titles in the answer of `searchCatalogItems`, each judged alone; members about other items are left out.
pub(super) fn titles(
    at: &At<'_>,
    asked: &[Asin],
    marketplace: &str,
) -> Result<HashMap<Asin, Result<Box<str>, Drift>>, Drift> {
    let mut titles = HashMap::new();
    for item in at.get("items")?.items()? {
        // What does not say what it is of is of nothing that was asked.
        let Ok(named) = item.get("asin").and_then(|asin| asin.text()) else {
            continue;
        };
        if let Some(asin) = asked.iter().find(|asin| asin.as_str() == named) {
            let title = title(&item, marketplace);
            let both = titles.get(asin).is_some_and(|other| *other != title);
            let title = if both {
                Err(item.drift("one title for the item"))
            } else {
                title
            };
            titles.insert(asin.clone(), title);
        }
    }
    Ok(titles)
}

fn title(item: &At<'_>, marketplace: &str) -> Result<Box<str>, Drift> {
    let summaries = item.get("summaries")?;
    for summary in summaries.items()? {
        if summary.get("marketplaceId")?.text()? == marketplace {
            let name = summary.get("itemName")?;
            return clean(name.text()?).ok_or_else(|| name.drift("a title of 1 to 500 characters"));
        }
    }
    Err(summaries.drift(&format!("a summary for `{marketplace}`")))
}

/// The title without control characters and blank ends; `None` when nothing or too much is left.
fn clean(raw: &str) -> Option<Box<str>> {
    let blank = |c: char| if matches!(c, '\t' | '\n' | '\r') { ' ' } else { c };
    let title: String = raw.chars().map(blank).filter(|c| !c.is_control()).collect();
    let title = title.trim();
    (1..=LONGEST_CHARS)
        .contains(&title.chars().count())
        .then(|| title.into())
}

/// What an item gets whose title the catalogue does not have.
pub(super) fn untitled(asin: &Asin, why: Option<&Drift>) -> PlatformError {
    let path: Box<str> = why.map_or_else(
        || format!("items[asin={asin}]").into(),
        |drift| drift.path.as_str().into(),
    );
    let said = why.map_or_else(
        || "the catalogue has no entry of it".to_owned(),
        ToString::to_string,
    );
    PlatformError {
        class: ErrorClass::Protocol,
        code: fault::CONTRACT.into(),
        message: format!("Amazon does not tell the title of `{asin}`: {said}; nothing is taken from it")
            .into(),
        missing: vec![path],
        body: None,
        away_for: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asin(text: &str) -> Asin {
        Asin::new(text).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_title_is_asked_for_again_after_its_age_and_serves_for_another() {
        let titles = Titles::new(Duration::from_secs(100));
        let one = asin("B07FZ8S74R");
        assert_eq!(
            titles.wanted(std::slice::from_ref(&one)),
            std::slice::from_ref(&one)
        );
        titles.keep([(one.clone(), "壺".into())]);
        tokio::time::advance(Duration::from_secs(99)).await;
        assert!(titles.wanted(std::slice::from_ref(&one)).is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(titles.wanted(std::slice::from_ref(&one)).len(), 1);
        assert_eq!(titles.of(&one).as_deref(), Some("壺"));
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(titles.of(&one), None);
    }

    #[test]
    fn each_title_is_judged_alone() {
        let summary = |name: &str| json!([{"marketplaceId": "X"}, {"marketplaceId": "J", "itemName": name}]);
        let body = json!({"numberOfResults": 4, "items": [
            {"asin": "B000000001", "summaries": summary(" 壺\n大 ")},
            {"asin": "B000000002", "summaries": summary(" \u{7} ")},
            {"asin": "B000000003", "summaries": [{"marketplaceId": "X", "itemName": "pot"}]},
            {"asin": "B000000009", "summaries": summary("not asked for")},
            {"asin": null}, 5,
            {"asin": "B000000005", "summaries": summary("one")},
            {"asin": "B000000005", "summaries": summary("another")},
        ]});
        let asked = [
            "B000000001",
            "B000000002",
            "B000000003",
            "B000000004",
            "B000000005",
        ]
        .map(asin);
        let read = titles(&At::root("body", &body), &asked, "J").unwrap();
        assert_eq!(read.len(), 4);
        assert!(read[&asked[4]].is_err());
        assert_eq!(read[&asked[0]].as_deref(), Ok("壺 大"));
        assert!(read[&asked[1]].is_err() && read[&asked[2]].is_err());
        assert!(titles(&At::root("body", &json!({})), &asked, "J").is_err());
    }
}
