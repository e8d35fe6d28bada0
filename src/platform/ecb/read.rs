//! Reads the daily file: `gesmes:Envelope / Cube / Cube[@time] / Cube[@currency, @rate]`, rates per euro.
//!
//! Whatever does not belong there makes all of it unreadable: half a file, two days, a currency twice, a rate that is no
//! number. Names are compared with their namespaces; entities beyond the five of XML, and document types, are refused.

use crate::domain::Currency;
use chrono::NaiveDate;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::str::FromStr as _;

const ENVELOPE: Namespace<'static> = Namespace("http://www.gesmes.org/xml/2002-08-01");
const RATES: Namespace<'static> = Namespace("http://www.ecb.int/vocabulary/2002-08-01/eurofxref");
/// The file has some thirty.
const MOST_RATES: usize = 200;
/// No currency has a rate of more per euro.
const MOST: i64 = 1_000_000_000;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EuroRates {
    /// The day of the rates.
    pub(super) day: NaiveDate,
    /// Units of each currency that we know for one euro.
    pub(super) per_euro: BTreeMap<Currency, Decimal>,
}

/// Why the file says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) why: String,
    pub(super) missing: Vec<Box<str>>,
}

fn unreadable(why: impl Into<String>) -> Unreadable {
    Unreadable {
        why: why.into(),
        missing: Vec::new(),
    }
}

fn lacks(path: &str) -> Unreadable {
    Unreadable {
        why: format!("the file lacks `{path}`"),
        missing: vec![path.into()],
    }
}

/// How deep in the file we are, in elements that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    Envelope,
    Cubes,
    Day,
    Rate,
    /// Below an element that does not matter, so deep.
    Beside(usize, Beside),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Envelope,
}

#[derive(Default)]
struct Found {
    cubes: bool,
    envelope: bool,
    day: Option<NaiveDate>,
    rates: BTreeMap<String, Decimal>,
}

/// Reads the whole file.
pub(super) fn read(body: &[u8]) -> Result<EuroRates, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|_not_utf8| unreadable("the file is not UTF-8"))?;
    let mut reader = NsReader::from_str(text.trim_start_matches('\u{feff}'));
    let (mut place, mut found) = (Place::Outside, Found::default());
    loop {
        let at = reader.buffer_position();
        let (space, event) = reader
            .read_resolved_event()
            .map_err(|error| unreadable(format!("the file is no XML behind byte {at}: {error}")))?;
        match event {
            Event::Start(tag) => place = found.enter(place, &space, &tag)?,
            Event::Empty(tag) => {
                found.enter(place, &space, &tag)?;
            }
            Event::End(_) => place = leave(place),
            Event::DocType(_) => return Err(unreadable("the file has a document type, which is not read")),
            Event::Eof => break,
            Event::Text(text) if place == Place::Outside && !text.trim().is_empty() => {
                return Err(unreadable("the file has text outside of its envelope"));
            }
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_) => {}
        }
    }
    if place != Place::Outside {
        return Err(unreadable("the file ends in its middle"));
    }
    found.whole()
}

fn leave(place: Place) -> Place {
    match place {
        Place::Outside | Place::Envelope => Place::Outside,
        Place::Cubes => Place::Envelope,
        Place::Day => Place::Cubes,
        Place::Rate => Place::Day,
        Place::Beside(1, Beside::Envelope) => Place::Envelope,
        Place::Beside(deep, of) => Place::Beside(deep.saturating_sub(1), of),
    }
}

impl Found {
    /// Goes into an element; answers where that is.
    fn enter(
        &mut self,
        place: Place,
        space: &ResolveResult<'_>,
        tag: &BytesStart<'_>,
    ) -> Result<Place, Unreadable> {
        let is = |of: Namespace<'static>, name: &str| {
            *space == ResolveResult::Bound(of) && tag.local_name().as_ref() == name
        };
        let cube = is(RATES, "Cube");
        match place {
            Place::Outside if is(ENVELOPE, "Envelope") && !self.envelope => {
                self.envelope = true;
                Ok(Place::Envelope)
            }
            Place::Envelope if cube && !self.cubes => {
                self.cubes = true;
                Ok(Place::Cubes)
            }
            // subject and sender
            Place::Envelope if !cube => Ok(Place::Beside(1, Beside::Envelope)),
            Place::Beside(deep, of) => Ok(Place::Beside(deep.saturating_add(1), of)),
            Place::Cubes if cube => self.day(tag),
            Place::Day if cube => self.rate(tag),
            _ => Err(unreadable(format!(
                "the file has `{}` where it does not belong",
                shown(tag.name().as_ref())
            ))),
        }
    }

    fn day(&mut self, tag: &BytesStart<'_>) -> Result<Place, Unreadable> {
        let typed = attribute(tag, "time")?.ok_or_else(|| lacks("Cube/Cube/@time"))?;
        let day = Some(typed.as_str())
            .filter(|text| text.len() == 10)
            .and_then(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
            .ok_or_else(|| unreadable(format!("`Cube/@time` is `{}`, no day", shown(&typed))))?;
        if self.day.replace(day).is_some() {
            return Err(unreadable("the file has more than one day"));
        }
        Ok(Place::Day)
    }

    fn rate(&mut self, tag: &BytesStart<'_>) -> Result<Place, Unreadable> {
        let currency = attribute(tag, "currency")?.ok_or_else(|| lacks("Cube/Cube/Cube/@currency"))?;
        if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(unreadable(format!(
                "`Cube/@currency` is `{}`, no currency",
                shown(&currency)
            )));
        }
        let path = format!("Cube[@currency='{currency}']/@rate");
        let typed = attribute(tag, "rate")?.ok_or_else(|| lacks(&path))?;
        let rate = number(&typed)
            .ok_or_else(|| unreadable(format!("`{path}` is `{}`, no rate above zero", shown(&typed))))?;
        if self.rates.insert(currency, rate).is_some() {
            return Err(unreadable(format!("`{path}` is there twice")));
        }
        if self.rates.len() > MOST_RATES {
            return Err(unreadable(format!("the file has more than {MOST_RATES} rates")));
        }
        Ok(Place::Rate)
    }

    fn whole(self) -> Result<EuroRates, Unreadable> {
        if !self.envelope {
            return Err(lacks("gesmes:Envelope"));
        }
        let day = self.day.ok_or_else(|| lacks("Cube/Cube/@time"))?;
        if self.rates.is_empty() {
            return Err(lacks("Cube/Cube/Cube/@rate"));
        }
        // A euro costs a euro: a file that says something else of it is another file.
        if self.rates.contains_key("EUR") {
            return Err(unreadable(
                "the file has a rate of the euro, in which it should count",
            ));
        }
        let known = |(code, rate): (&String, &Decimal)| Some((Currency::from_str(code).ok()?, *rate));
        Ok(EuroRates {
            day,
            per_euro: self.rates.iter().filter_map(known).collect(),
        })
    }
}

/// An attribute's value. All of the element's are read, so that one given twice, or cut, is seen.
fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, Unreadable> {
    let mut value = None;
    for attribute in tag.attributes() {
        let bad = |error: &dyn std::fmt::Display| {
            unreadable(format!(
                "an attribute of `{}` is wrong: {error}",
                shown(tag.name().as_ref())
            ))
        };
        let attribute = attribute.map_err(|error| bad(&error))?;
        let text = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| bad(&error))?;
        if attribute.key.as_ref() == name {
            value = Some(text.into_owned());
        }
    }
    Ok(value)
}

/// Digits with at most one point between them, above zero.
fn number(text: &str) -> Option<Decimal> {
    let plain = text.len() <= 20
        && text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    Decimal::from_str(text)
        .ok()
        .filter(|rate| plain && *rate > Decimal::ZERO && *rate <= Decimal::from(MOST))
}

/// What stands there, fit for a message.
fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CUBES: &str = "<Cube currency='USD' rate='1.1568'/><Cube currency='JPY' rate='163.47'/>\
                         <Cube currency='ISK' rate='143.0'></Cube>";

    fn file(day: &str, cubes: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<gesmes:Envelope \
             xmlns:gesmes=\"http://www.gesmes.org/xml/2002-08-01\" \
             xmlns=\"http://www.ecb.int/vocabulary/2002-08-01/eurofxref\">\n\
             <gesmes:subject>Reference rates</gesmes:subject><gesmes:Sender><gesmes:name>ECB</gesmes:name>\
             </gesmes:Sender>\n<Cube><Cube time='{day}'>{cubes}</Cube></Cube></gesmes:Envelope>\n"
        )
    }

    fn refused(text: &str) -> Unreadable {
        read(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn the_file_is_read_with_what_we_know_of_it() {
        let rates = read(file("2026-11-20", CUBES).as_bytes()).unwrap();
        assert_eq!(rates.day.to_string(), "2026-11-20");
        let told: Vec<String> = rates.per_euro.iter().map(|(c, r)| format!("{c} {r}")).collect();
        assert_eq!(told, ["JPY 163.47", "USD 1.1568"]);
        let marked = format!("\u{feff}{}", file("2026-11-20", CUBES));
        assert_eq!(read(marked.as_bytes()).unwrap(), rates);
    }

    #[test]
    fn whatever_does_not_belong_there_makes_it_unreadable() {
        for cubes in [
            "<Cube currency='USD' rate='0'/>",
            "<Cube currency='USD' rate='-1.1'/>",
            "<Cube currency='USD' rate='1,1'/>",
            "<Cube currency='USD' rate='1_1'/>",
            "<Cube currency='USD' rate='N/A'/>",
            "<Cube currency='USD' rate=''/>",
            "<Cube currency='USD' rate='1e3'/>",
            "<Cube currency='USD' rate='10000000000'/>",
            "<Cube currency='USD' rate='1.1'/><Cube currency='USD' rate='1.1'/>",
            "<Cube currency='USD' rate='1.1' rate='1.2'/>",
            "<Cube currency='usd' rate='1.1'/>",
            "<Cube currency='EUR' rate='1.1'/>",
            "<Cube currency='USD'/>",
            "<Cube rate='1.1'/>",
            "<Cube currency='USD' rate='&bomb;'/>",
            "<Other currency='USD' rate='1.1'/>",
            "<Cube currency='USD' rate='1.1'><Cube currency='JPY' rate='160'/></Cube>",
            "",
        ] {
            refused(&file("2026-11-20", cubes));
        }
        for day in ["2026-11-31", "20.11.2026", "", "2026-11-20T00:00:00Z"] {
            refused(&file(day, CUBES));
        }
        let good = file("2026-11-20", CUBES);
        refused(&good.replace("2002-08-01/eurofxref", "2003-08-01/eurofxref"));
        refused(&good.replace(
            "<gesmes:Envelope",
            "<!DOCTYPE a [<!ENTITY bomb '1'>]><gesmes:Envelope",
        ));
        let two_days =
            "</Cube><Cube time='2026-11-19'><Cube currency='GBP' rate='0.88'/></Cube></Cube></gesmes";
        let error = refused(&good.replace("</Cube></Cube></gesmes", two_days));
        assert_eq!(error.why, "the file has more than one day");
        refused(&format!(
            "{good}{}",
            good.trim_start_matches("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
        ));
        refused("<html><body>Service unavailable</body></html>");
        refused("");
        assert_eq!(
            refused(&file("2026-11-20", "<Cube currency='USD'/>"))
                .missing
                .len(),
            1
        );
    }

    proptest! {
        #[test]
        fn no_part_of_a_file_is_read_as_a_whole(cut in 0_usize..600) {
            let whole = file("2026-11-20", CUBES);
            let end = whole.trim_end().len();
            prop_assume!(cut < end);
            prop_assert!(read(&whole.as_bytes()[..cut]).is_err());
        }
    }
}
