//! Feeds 2021-06-30 from its published model, with `JSON_LISTINGS_FEED` from its published schemas.
//!
//! A document is uploaded to an address with a signature of its own, for five minutes; a feed made of it waits, is worked
//! off after a while, message by message as if each had been a patch, and leaves a packed report.

use super::super::world::{Micros, calendar};
use super::answer::Answer;
use super::listings::{self, Change, Listings};
use super::pricing::{put, value};
use super::{MARKETPLACE, Plan, SELLER_ID};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;

const FEED_TYPE: &str = "JSON_LISTINGS_FEED";
/// Addresses of documents are good for so long.
const GOOD_FOR: Micros = 300 * 1_000_000;
/// The schema's most messages.
const MOST: usize = 25_000;

/// A document: to be uploaded, uploaded, or a report.
struct Document {
    content_type: Box<str>,
    body: Option<Bytes>,
    /// A report, packed.
    is_report: bool,
    signature: u64,
    until: Micros,
}

/// A feed: what becomes of it is drawn when it is made.
struct Feed {
    created: Micros,
    document: Box<str>,
    started_at: Micros,
    ends_at: Micros,
    word: u64,
    fate: Fate,
    /// Worked off: how it ended, and its report.
    end: Option<(&'static str, Option<Box<str>>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// Half of it is carried out.
    Fatal,
    Cancelled,
    /// It is carried out, and its report is no report.
    Garbled,
}

/// What the plan says of the messages of a feed, kept until they are worked off.
#[derive(Clone, Copy, Default)]
struct Shares {
    invalid: f64,
    never: f64,
}

/// All documents and feeds.
#[derive(Default)]
pub(super) struct Feeds {
    documents: BTreeMap<Box<str>, Document>,
    feeds: BTreeMap<u64, (Feed, Shares)>,
}

impl Feeds {
    /// `POST /feeds/2021-06-30/documents`.
    pub(super) fn place(&mut self, base: &str, body: &Value, plan: &Plan<'_>, now: Micros) -> Answer {
        let Some(kind) = body.get("contentType").and_then(Value::as_str) else {
            return invalid("contentType");
        };
        let id = format!("amzn1.tortuga.4.fe.{:032x}", plan.word);
        let document = Document {
            content_type: kind.into(),
            body: None,
            is_report: false,
            signature: plan.word.rotate_left(13),
            until: now.saturating_add(GOOD_FOR),
        };
        let url = address(base, &id, &document);
        self.documents.insert(id.as_str().into(), document);
        Answer::new(201, plan.odd(json!({"feedDocumentId": id, "url": url})))
    }

    /// `PUT` to the address of a document; the status that storage answers with.
    pub(super) fn upload(&mut self, id: &str, signature: &str, kind: &str, body: Bytes, now: Micros) -> u16 {
        match self.documents.get_mut(id) {
            Some(document) if document.signature.to_string() == signature && now <= document.until => {
                if document.is_report || *document.content_type != *kind {
                    return 403;
                }
                document.body = Some(body);
                200
            }
            _ => 403,
        }
    }

    /// `GET` of the address of a report.
    pub(super) fn download(&self, id: &str, signature: &str, now: Micros) -> Option<Bytes> {
        let document = self.documents.get(id)?;
        let good = document.is_report && document.signature.to_string() == signature && now <= document.until;
        document.body.clone().filter(|_| good)
    }

    /// `POST /feeds/2021-06-30/feeds`.
    pub(super) fn create(&mut self, body: &Value, plan: &Plan<'_>, now: Micros, takes: Micros) -> Answer {
        let text = |key: &str| body.get(key).and_then(Value::as_str);
        if text("feedType") != Some(FEED_TYPE) {
            return invalid("feedType");
        }
        if body.get("marketplaceIds") != Some(&json!([MARKETPLACE])) {
            return invalid("marketplaceIds");
        }
        let document = text("inputFeedDocumentId").unwrap_or_default();
        let uploaded = self.documents.get(document);
        if uploaded.is_none_or(|document| document.body.is_none() || document.is_report) {
            return invalid("inputFeedDocumentId");
        }
        let number = 50_000 + u64::try_from(self.feeds.len()).unwrap_or(0) + 1;
        let faults = plan.faults;
        let fate = match () {
            () if plan.hits(0, 0xf1, faults.p_feed_fatal) => Fate::Fatal,
            () if plan.hits(0, 0xf2, faults.p_feed_cancelled) => Fate::Cancelled,
            () if plan.hits(0, 0xf3, faults.p_feed_garbled) => Fate::Garbled,
            () => Fate::Done,
        };
        let feed = Feed {
            created: now,
            document: document.into(),
            started_at: now.saturating_add(takes / 4),
            ends_at: now.saturating_add(takes),
            word: plan.word,
            fate,
            end: None,
        };
        let shares = Shares {
            invalid: faults.p_invalid,
            never: faults.p_never,
        };
        self.feeds.insert(number, (feed, shares));
        Answer::new(202, plan.odd(json!({"feedId": number.to_string()})))
    }

    /// `GET /feeds/2021-06-30/feeds/{feedId}`.
    pub(super) fn show(&self, id: &str, plan: &Plan<'_>, now: Micros) -> Answer {
        let number: Option<u64> = id.parse().ok();
        match number.and_then(|number| Some((number, &self.feeds.get(&number)?.0))) {
            Some((number, feed)) => Answer::ok(plan.odd(view(number, feed, now))),
            None => Answer::error(404, "NotFound", "The feed is not known.", "feedId"),
        }
    }

    /// `GET /feeds/2021-06-30/feeds`.
    pub(super) fn list(&self, query: &[(String, String)], plan: &Plan<'_>, now: Micros) -> Answer {
        let since = value(query, "createdSince").map(DateTime::parse_from_rfc3339);
        let since = match since.transpose() {
            Ok(since) => since.map_or(Micros::MIN, |at| at.timestamp_micros()),
            Err(_) => return invalid("createdSince"),
        };
        if value(query, "feedTypes") != Some(FEED_TYPE) {
            return invalid("feedTypes");
        }
        let feeds = self.feeds.iter().rev();
        let feeds = feeds.filter(|(_, (feed, _))| feed.created >= since).take(100);
        let feeds: Vec<Value> = feeds
            .map(|(number, (feed, _))| view(*number, feed, now))
            .collect();
        Answer::ok(plan.odd(json!({ "feeds": feeds })))
    }

    /// `GET /feeds/2021-06-30/documents/{feedDocumentId}`.
    pub(super) fn report(&mut self, base: &str, id: &str, plan: &Plan<'_>, now: Micros) -> Answer {
        let Some(document) = self.documents.get_mut(id) else {
            return Answer::error(404, "NotFound", "The document is not known.", "feedDocumentId");
        };
        document.until = now.saturating_add(GOOD_FOR);
        let mut answer = json!({"feedDocumentId": id, "url": address(base, id, document)});
        if document.is_report {
            put(&mut answer, "compressionAlgorithm", json!("GZIP"));
        }
        Answer::ok(plan.odd(answer))
    }

    /// Works off what is due until `now`: hands each change to the listings.
    pub(super) fn advance(&mut self, now: Micros, settle: Micros, listings: &mut Listings) {
        let due = self
            .feeds
            .iter_mut()
            .filter(|(_, (feed, _))| feed.end.is_none() && feed.ends_at <= now);
        for (number, (feed, shares)) in due {
            if feed.fate == Fate::Cancelled {
                feed.end = Some(("CANCELLED", None));
                continue;
            }
            let body = self.documents.get(&feed.document).and_then(|d| d.body.clone());
            let read: Option<Value> = body.and_then(|body| serde_json::from_slice(&body).ok());
            let (report, whole) = work_off(
                *number,
                feed,
                *shares,
                &read.unwrap_or_default(),
                settle,
                listings,
            );
            if feed.fate == Fate::Fatal || !whole {
                feed.end = Some(("FATAL", None));
                continue;
            }
            let text = if feed.fate == Fate::Garbled {
                "<html>".to_owned()
            } else {
                report.to_string()
            };
            let id: Box<str> = format!("amzn1.tortuga.4.fe.report.{number}").into();
            feed.end = Some(("DONE", Some(id.clone())));
            let document = Document {
                content_type: "application/json".into(),
                body: Some(pack(&text)),
                is_report: true,
                signature: feed.word.rotate_left(29),
                until: 0,
            };
            self.documents.insert(id, document);
        }
    }
}

/// Carries out the messages; the report, and whether the document was one.
fn work_off(
    number: u64,
    feed: &Feed,
    shares: Shares,
    document: &Value,
    settle: Micros,
    listings: &mut Listings,
) -> (Value, bool) {
    let is = |path: &str, word: &str| document.pointer(path).and_then(Value::as_str) == Some(word);
    let messages = document.get("messages").and_then(Value::as_array);
    let messages = messages.filter(|all| (1..=MOST).contains(&all.len()));
    let Some(messages) =
        messages.filter(|_| is("/header/sellerId", SELLER_ID) && is("/header/version", "2.0"))
    else {
        return (Value::Null, false);
    };
    let carried_out = if feed.fate == Fate::Fatal {
        messages.len() / 2
    } else {
        messages.len()
    };
    let (mut issues, mut accepted) = (Vec::new(), 0_u32);
    for (place, message) in (0_u64..).zip(messages.iter().take(carried_out)) {
        let hits = |question: u64, share: f64| {
            super::super::draw::unit(super::super::draw::mix(feed.word, question, place)) < share
        };
        let sku = message.get("sku").and_then(Value::as_str).unwrap_or_default();
        match read(message, listings, hits(0xb4, shares.invalid)) {
            Ok(change) => {
                accepted += 1;
                if !hits(0xb5, shares.never) {
                    listings.accept(
                        sku,
                        change,
                        feed.ends_at.saturating_add(settle),
                        number << 20 | place,
                    );
                }
            }
            Err(issue) => issues.push(json!({
                "messageId": message.get("messageId"), "sku": sku, "severity": "ERROR",
                "code": issue.get("code"), "message": issue.get("message"),
                "attributeName": issue.pointer("/attributeNames/0").and_then(Value::as_str).unwrap_or("sku"),
            })),
        }
    }
    let report = json!({
        "header": {"sellerId": SELLER_ID, "version": "2.0", "feedId": number.to_string()},
        "issues": issues,
        "summary": {
            "errors": issues.len(), "warnings": 0, "messagesProcessed": messages.len(),
            "messagesAccepted": accepted, "messagesInvalid": issues.len(),
        },
    });
    (report, true)
}

fn read(message: &Value, listings: &Listings, is_refused: bool) -> Result<Change, Value> {
    let text = |key: &str| message.get(key).and_then(Value::as_str).unwrap_or_default();
    if is_refused {
        return Err(json!({"code": "90220", "message": "The listing is under review."}));
    }
    if text("operationType") != "PATCH" {
        return Err(json!({"code": "90000910", "message": "The operation is not served here."}));
    }
    match listings.find(text("sku")) {
        Some(listing) => listings::read_patch(listing, message),
        None => Err(json!({"code": "13013", "message": "The SKU is not known."})),
    }
}

fn view(number: u64, feed: &Feed, now: Micros) -> Value {
    let time = |at: Micros| calendar(at).to_rfc3339_opts(SecondsFormat::Millis, true);
    let (status, report) = match &feed.end {
        Some((status, report)) => (*status, report.as_deref()),
        None if now < feed.started_at => ("IN_QUEUE", None),
        None => ("IN_PROGRESS", None),
    };
    let mut view = json!({
        "feedId": number.to_string(), "feedType": FEED_TYPE, "marketplaceIds": [MARKETPLACE],
        "createdTime": time(feed.created), "processingStatus": status,
    });
    if status != "IN_QUEUE" && status != "CANCELLED" {
        put(&mut view, "processingStartTime", json!(time(feed.started_at)));
    }
    if feed.end.is_some() {
        put(&mut view, "processingEndTime", json!(time(feed.ends_at)));
    }
    if let Some(report) = report {
        put(&mut view, "resultFeedDocumentId", json!(report));
    }
    view
}

fn invalid(details: &str) -> Answer {
    Answer::error(400, "InvalidInput", "Invalid input", details)
}

fn address(base: &str, id: &str, document: &Document) -> String {
    format!("{base}/feed-files/{id}?X-Amz-Signature={}", document.signature)
}

fn pack(text: &str) -> Bytes {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    // Into memory: it cannot fail.
    packed.write_all(text.as_bytes()).ok();
    packed.finish().unwrap_or_default().into()
}
