//! The old settings' syntax: `.env` files, as shells and the libraries of that name read them.
//!
//! `NAME=value`, `export NAME=value`, comments, single quotes (nothing is special), double quotes (`\n`, `\"`, `\\`, `\$`,
//! and lines may be broken). What cannot be read is told by line, all of it at once; a value is never shown.

use std::iter::Peekable;
use std::str::Chars;

/// One variable, and the line it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: usize,
    pub(super) expected: &'static str,
}

/// Reads all variables, in their order.
pub(super) fn read(text: &str) -> (Vec<Variable>, Vec<BadLine>) {
    let mut reader = Reader {
        rest: text.trim_start_matches('\u{feff}').chars().peekable(),
        line: 1,
    };
    let (mut variables, mut bad) = (Vec::new(), Vec::new());
    while reader.rest.peek().is_some() {
        let line = reader.line;
        match reader.variable() {
            Ok(found) => variables.extend(found),
            Err(expected) => {
                bad.push(BadLine { line, expected });
                reader.skip_line();
            }
        }
    }
    (variables, bad)
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line = self.line.saturating_add(usize::from(next == Some('\n')));
        next
    }

    fn skip_blanks(&mut self) {
        while self.rest.peek().is_some_and(|c| *c != '\n' && c.is_whitespace()) {
            self.next();
        }
    }

    fn skip_line(&mut self) {
        while !matches!(self.next(), None | Some('\n')) {}
    }

    /// One line: a variable, or nothing.
    fn variable(&mut self) -> Result<Option<Variable>, &'static str> {
        const FORM: &str = "`NAME=value`, a comment after `#`, or nothing";
        self.skip_blanks();
        if matches!(self.rest.peek(), None | Some('\n' | '#')) {
            self.skip_line();
            return Ok(None);
        }
        let line = self.line;
        let mut name = self.name();
        if name == "export" && self.rest.peek().is_some_and(|c| *c == ' ' || *c == '\t') {
            self.skip_blanks();
            name = self.name();
        }
        self.skip_blanks();
        let starts = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
        if !starts || self.rest.peek() != Some(&'=') {
            return Err(FORM);
        }
        self.next();
        self.skip_blanks();
        let value = self.value()?;
        Ok(Some(Variable { name, value, line }))
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self
            .rest
            .peek()
            .copied()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
            self.next();
        }
        name
    }

    fn value(&mut self) -> Result<String, &'static str> {
        let value = match self.rest.peek() {
            Some('\'') => self.quoted('\'', false)?,
            Some('"') => self.quoted('"', true)?,
            _ => return self.bare(),
        };
        self.skip_blanks();
        if !matches!(self.rest.peek(), None | Some('\n' | '#')) {
            return Err("nothing but a comment behind the closing quote");
        }
        self.skip_line();
        Ok(value)
    }

    fn quoted(&mut self, quote: char, escapes: bool) -> Result<String, &'static str> {
        self.next();
        // A quote that is never closed swallows the rest: then only its own line is given up.
        let begin = (self.rest.clone(), self.line);
        let value = self.until_quote(quote, escapes);
        if value.is_err() {
            (self.rest, self.line) = begin;
        }
        value
    }

    fn until_quote(&mut self, quote: char, escapes: bool) -> Result<String, &'static str> {
        let mut value = String::new();
        while let Some(c) = self.next() {
            match c {
                c if c == quote => return Ok(value),
                '\\' if escapes => match self.next() {
                    Some('n') => value.push('\n'),
                    Some('r') => value.push('\r'),
                    Some('t') => value.push('\t'),
                    Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                    Some(other) => value.extend(['\\', other]),
                    None => break,
                },
                '$' if escapes && self.rest.peek() == Some(&'{') => return Err(EXPANDS),
                other => value.push(other),
            }
        }
        Err("a closing quote")
    }

    fn bare(&mut self) -> Result<String, &'static str> {
        let mut value = String::new();
        while let Some(c) = self.rest.peek().copied().filter(|c| *c != '\n') {
            // A `#` is part of a word, and a comment after a blank.
            if c == '#' && value.ends_with(char::is_whitespace) {
                break;
            }
            value.push(c);
            self.next();
        }
        if value.contains("${") {
            return Err(EXPANDS);
        }
        self.skip_line();
        Ok(value.trim_end().to_owned())
    }
}

const EXPANDS: &str = "the value itself: `${…}` is not expanded here (in single quotes it stands for itself)";

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let (variables, bad) = read(text);
        assert_eq!(bad, []);
        variables.into_iter().map(|v| (v.name, v.value)).collect()
    }

    #[test]
    fn every_form_that_people_write_is_read() {
        let text = "\u{feff}# comment\r\nA=plain\r\n\n  export B = spaced out # a comment\nC='sing#le $x ${y} \\n'  # c\n\
                    D=\"dou\\\"ble\\n\\$x\\\\\"\nE=\nF=a#b\nG=\"two\nlines\"\nH=postgres://u:p@h/d?x=1&y=2\nI=''";
        let read = pairs(text);
        let expected = [
            ("A", "plain"),
            ("B", "spaced out"),
            ("C", "sing#le $x ${y} \\n"),
            ("D", "dou\"ble\n$x\\"),
            ("E", ""),
            ("F", "a#b"),
            ("G", "two\nlines"),
            ("H", "postgres://u:p@h/d?x=1&y=2"),
            ("I", ""),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn lines_that_cannot_be_read_are_all_named_and_the_others_still_read() {
        let (variables, bad) = read("A=1\nnonsense\n2B=x\nC=\"open\nD=2\nE='x' y\nF=${A}\nG=3");
        let lines: Vec<usize> = bad.iter().map(|b| b.line).collect();
        assert_eq!(lines, [2, 3, 4, 6, 7]);
        let names: Vec<&str> = variables.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["A", "D", "G"]);
        assert_eq!(variables.last().unwrap().line, 8);
    }
}
