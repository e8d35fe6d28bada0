//! The report of a feed of listings (`listings-feed-processing-report-schema-v2`), read without guessing.

use crate::platform::bulk::BulkReport;
use crate::platform::json::{At, Drift};

/// The longest issue that is kept, in characters.
const LONGEST: usize = 4_000;

/// What became of `sent` prices of the feed `id`, the last of them number `last`.
///
/// A message with an issue of severity `ERROR` was refused. The others were taken if the summary's counts say so: so many
/// were processed as were sent, and so many were invalid as are named. An error that names no message is about the whole,
/// and then nothing is known of those that are not named.
pub(super) fn read(at: &At<'_>, id: &str, (sent, last): (u32, u32)) -> Result<BulkReport, Drift> {
    let header = at.get("header")?;
    let named = header.get("feedId")?;
    if named.text()? != id {
        return Err(named.drift(&format!("the feed asked about, `{id}`")));
    }
    let version = header.get("version")?;
    if version.text()? != "2.0" {
        return Err(version.drift("`2.0`"));
    }
    let mut report = BulkReport::default();
    let mut of_all = false;
    for issue in at.get("issues")?.items()? {
        let severity = issue.get("severity")?;
        let is_error = match severity.text()? {
            "ERROR" => true,
            "WARNING" | "INFO" => false,
            _ => return Err(severity.drift("ERROR, WARNING or INFO")),
        };
        issue.get("message")?.text()?;
        let whole: String = issue.value().to_string().chars().take(LONGEST).collect();
        match issue.maybe("messageId")? {
            None => {
                of_all |= is_error;
                report.said.push(whole.into());
            }
            Some(number) if is_error => {
                let known = u32::try_from(number.int()?).ok();
                let known = known.filter(|number| (1..=last).contains(number));
                let known =
                    known.ok_or_else(|| number.drift(&format!("a message that was sent, 1 to {last}")))?;
                report.refused.entry(known).or_default().push(whole.into());
            }
            Some(_) => {}
        }
    }
    let summary = at.get("summary")?;
    let count = |key: &str| summary.get(key)?.int();
    let (accepted, invalid) = (count("messagesAccepted")?, count("messagesInvalid")?);
    let refused = i64::try_from(report.refused.len()).unwrap_or(i64::MAX);
    let all = accepted.checked_add(invalid);
    report.others_taken = !of_all
        && count("messagesProcessed")? == i64::from(sent)
        && all == Some(i64::from(sent))
        && invalid == refused;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn report(issues: Value, counts: (u32, u32, u32)) -> Value {
        let (processed, accepted, invalid) = counts;
        json!({
            "header": {"sellerId": "A", "version": "2.0", "feedId": "7"}, "issues": issues,
            "summary": {"errors": 0, "warnings": 0, "messagesProcessed": processed, "messagesAccepted": accepted,
                "messagesInvalid": invalid},
        })
    }

    fn told(value: &Value) -> Result<(Vec<u32>, bool, usize), String> {
        let read = read(&At::root("report", value), "7", (3, 3)).map_err(|drift| drift.path)?;
        Ok((
            read.refused.keys().copied().collect(),
            read.others_taken,
            read.said.len(),
        ))
    }

    #[test]
    fn those_without_an_error_were_taken_only_if_the_counts_say_so() {
        let error = |message: u32| json!({"messageId": message, "severity": "ERROR", "message": "no"});
        let warning = json!({"messageId": 1, "severity": "WARNING", "message": "hm"});
        let whole = json!({"severity": "ERROR", "message": "the feed"});
        for (issues, counts, expected) in [
            (json!([]), (3, 3, 0), (vec![], true, 0)),
            (json!([warning]), (3, 3, 0), (vec![], true, 0)),
            (json!([error(2), error(2)]), (3, 2, 1), (vec![2], true, 0)),
            // Two are invalid and one is named: which is the other?
            (json!([error(2)]), (3, 1, 2), (vec![2], false, 0)),
            (json!([]), (2, 2, 0), (vec![], false, 0)),
            (json!([]), (3, 2, 0), (vec![], false, 0)),
            (json!([whole]), (3, 3, 0), (vec![], false, 1)),
        ] {
            assert_eq!(told(&report(issues.clone(), counts)), Ok(expected), "{issues}");
        }
    }

    #[test]
    fn a_report_that_lacks_or_twists_something_is_none() {
        let good = report(json!([]), (3, 3, 0));
        let with = |change: &dyn Fn(&mut Value)| {
            let mut bad = good.clone();
            change(&mut bad);
            told(&bad).unwrap_err()
        };
        assert_eq!(
            with(&|r| r["header"]["feedId"] = "8".into()),
            "report.header.feedId"
        );
        assert_eq!(
            with(&|r| r["header"]["version"] = "3".into()),
            "report.header.version"
        );
        assert_eq!(with(&|r| r["issues"] = Value::Null), "report.issues");
        assert_eq!(
            with(&|r| r["summary"]["messagesAccepted"] = "3".into()),
            "report.summary.messagesAccepted"
        );
        let fatal = json!([{"messageId": 1, "severity": "FATAL", "message": "x"}]);
        assert_eq!(
            with(&|r| r["issues"] = fatal.clone()),
            "report.issues[0].severity"
        );
        let foreign = json!([{"messageId": 4, "severity": "ERROR", "message": "x"}]);
        assert_eq!(
            with(&|r| r["issues"] = foreign.clone()),
            "report.issues[0].messageId"
        );
    }
}
