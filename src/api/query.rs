//! What stands behind the question mark: read by name, all problems at once, and nothing unknown passed over.

use super::envelope::ApiError;
use crate::ops::{InputProblem, OpsError, Page};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use std::convert::Infallible;
use std::future::{Ready, ready};

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Query {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
    problems: Vec<InputProblem>,
}

impl FromRequest for Query {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(Ok(Self::read(request.query_string())))
    }
}

impl Query {
    fn read(text: &str) -> Self {
        Self {
            given: url::form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
            known: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// A parameter as it stands.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut values = self.given.iter().filter(|(key, _)| key == name);
        let first = values.next().map(|(_, value)| value.clone());
        if let Some((_, again)) = values.next() {
            self.problems
                .push(InputProblem::new(name, "this parameter once", again));
        }
        first
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&mut self, name: &'static str, least: i64, most: i64) -> Option<i64> {
        let text = self.text(name)?;
        let number = text.parse().ok().filter(|n| (least..=most).contains(n));
        if number.is_none() {
            let expected = if most == i64::MAX {
                format!("a whole number from {least}")
            } else {
                format!("a whole number from {least} to {most}")
            };
            self.problems.push(InputProblem::new(name, expected, &text));
        }
        number
    }

    /// `true` or `false`; false when it is not there.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        let text = self.text(name);
        match text.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                self.problems
                    .push(InputProblem::new(name, "true or false", other));
                false
            }
        }
    }

    /// Which rows of a list.
    pub(super) fn page(&mut self) -> Page {
        let limit = self.number("limit", 1, 1000).and_then(|n| u16::try_from(n).ok());
        Page::new(limit, self.number("after", 0, i64::MAX))
    }

    /// What a filter found wrong with itself.
    pub(super) fn also(&mut self, problems: Vec<InputProblem>) {
        self.problems.extend(problems);
    }

    /// No more is asked for.
    ///
    /// # Errors
    /// Every problem, a parameter that nobody asked for among them.
    pub(super) fn end(mut self) -> Result<(), ApiError> {
        for (name, _) in &self.given {
            if !self.known.contains(&name.as_str()) {
                let expected = format!("one of {}", self.known.join(", "));
                self.problems
                    .push(InputProblem::new("the name of a parameter", expected, name));
            }
        }
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(ApiError(OpsError::all(self.problems)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<String> {
        let mut query = Query::read(text);
        query.page();
        query.text("state");
        match query.end() {
            Ok(()) => Vec::new(),
            Err(error) => error.0.problems().iter().map(|p| p.place.clone()).collect(),
        }
    }

    #[test]
    fn every_parameter_is_read_and_every_problem_told() {
        assert_eq!(places("limit=1000&after=0&state=h%C3%A9ld"), [""; 0]);
        assert_eq!(places(""), [""; 0]);
        assert_eq!(
            places("limit=0&after=x&stat=held&state=a&state=b"),
            ["limit", "after", "state", "the name of a parameter"]
        );
        assert_eq!(places("limit=1001"), ["limit"]);
    }
}
