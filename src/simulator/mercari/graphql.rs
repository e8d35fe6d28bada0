//! The part of GraphQL that a shop's program needs: one operation, variables, nested fields; no fragments, no aliases, no
//! directives. What a caller writes beyond that is answered as the real one answers a query that it cannot read.

use serde_json::{Map, Value};

/// One operation as it was written.
#[derive(Debug)]
pub(super) struct Document {
    pub mutation: bool,
    pub variables: Vec<Variable>,
    pub fields: Vec<Field>,
}

/// One variable that the operation declares.
#[derive(Debug)]
pub(super) struct Variable {
    pub name: String,
    pub required: bool,
}

/// One field that is asked for.
#[derive(Debug)]
pub(super) struct Field {
    pub name: String,
    pub arguments: Vec<(String, Argument)>,
    pub fields: Vec<Field>,
}

/// What stands for an argument.
#[derive(Debug)]
pub(super) enum Argument {
    Variable(String),
    Value(Value),
    Object(Vec<(String, Argument)>),
    List(Vec<Argument>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Mark(char),
    Name(String),
    Text(String),
    Number(i64),
}

/// Deeper than this nobody asks.
const DEEPEST: usize = 12;

/// Reads one operation.
pub(super) fn parse(text: &str) -> Result<Document, String> {
    let mut rest = Tokens {
        tokens: tokens(text)?.into_iter().peekable(),
    };
    let mutation = match rest.next_name()?.as_str() {
        "query" => false,
        "mutation" => true,
        other => return Err(format!("Syntax Error: Unexpected Name \"{other}\".")),
    };
    if matches!(rest.tokens.peek(), Some(Token::Name(_))) {
        rest.next_name()?;
    }
    let mut variables = Vec::new();
    if rest.takes('(') {
        while !rest.takes(')') {
            rest.mark('$')?;
            let name = rest.next_name()?;
            rest.mark(':')?;
            variables.push(Variable {
                name,
                required: rest.kind()?,
            });
        }
    }
    let fields = rest.selection(0)?;
    match rest.tokens.next() {
        None => Ok(Document {
            mutation,
            variables,
            fields,
        }),
        Some(_) => Err("Syntax Error: more than one operation.".to_owned()),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '{' | '}' | '(' | ')' | ':' | '$' | '!' | '[' | ']' => tokens.push(Token::Mark(letter)),
            ',' => {}
            c if c.is_whitespace() => {}
            '"' => {
                let inside: String = std::iter::from_fn(|| letters.next_if(|c| *c != '"')).collect();
                if letters.next().is_none() {
                    return Err("Syntax Error: Unterminated string.".to_owned());
                }
                tokens.push(Token::Text(inside));
            }
            c if c == '-' || c.is_ascii_digit() => {
                let more: String = std::iter::from_fn(|| letters.next_if(char::is_ascii_digit)).collect();
                let number = format!("{c}{more}").parse();
                tokens.push(Token::Number(
                    number.map_err(|_too_large| "Syntax Error: Invalid number.".to_owned())?,
                ));
            }
            c if c == '_' || c.is_ascii_alphabetic() => {
                let word = |c: &char| *c == '_' || c.is_ascii_alphanumeric();
                let more: String = std::iter::from_fn(|| letters.next_if(word)).collect();
                tokens.push(Token::Name(format!("{c}{more}")));
            }
            other => return Err(format!("Syntax Error: Unexpected character {other:?}.")),
        }
    }
    Ok(tokens)
}

struct Tokens {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Tokens {
    fn takes(&mut self, mark: char) -> bool {
        self.tokens.next_if(|token| *token == Token::Mark(mark)).is_some()
    }

    fn mark(&mut self, mark: char) -> Result<(), String> {
        if self.takes(mark) {
            return Ok(());
        }
        Err(format!("Syntax Error: Expected \"{mark}\"."))
    }

    fn next_name(&mut self) -> Result<String, String> {
        match self.tokens.next() {
            Some(Token::Name(name)) => Ok(name),
            _ => Err("Syntax Error: Expected Name.".to_owned()),
        }
    }

    /// A type; whether it must be given.
    fn kind(&mut self) -> Result<bool, String> {
        if self.takes('[') {
            self.kind()?;
            self.mark(']')?;
        } else {
            self.next_name()?;
        }
        Ok(self.takes('!'))
    }

    fn selection(&mut self, depth: usize) -> Result<Vec<Field>, String> {
        if depth > DEEPEST {
            return Err("The query is nested too deeply.".to_owned());
        }
        self.mark('{')?;
        let mut fields = Vec::new();
        while !self.takes('}') {
            let name = self.next_name()?;
            let mut arguments = Vec::new();
            if self.takes('(') {
                while !self.takes(')') {
                    arguments.push(self.argument()?);
                }
            }
            let deeper = matches!(self.tokens.peek(), Some(Token::Mark('{')));
            let inner = if deeper {
                self.selection(depth + 1)?
            } else {
                Vec::new()
            };
            fields.push(Field {
                name,
                arguments,
                fields: inner,
            });
        }
        Ok(fields)
    }

    fn argument(&mut self) -> Result<(String, Argument), String> {
        let name = self.next_name()?;
        self.mark(':')?;
        Ok((name, self.value()?))
    }

    fn value(&mut self) -> Result<Argument, String> {
        match self.tokens.next() {
            Some(Token::Mark('$')) => Ok(Argument::Variable(self.next_name()?)),
            Some(Token::Mark('{')) => {
                let mut members = Vec::new();
                while !self.takes('}') {
                    members.push(self.argument()?);
                }
                Ok(Argument::Object(members))
            }
            Some(Token::Mark('[')) => {
                let mut items = Vec::new();
                while !self.takes(']') {
                    items.push(self.value()?);
                }
                Ok(Argument::List(items))
            }
            Some(Token::Text(text) | Token::Name(text)) => Ok(Argument::Value(text.into())),
            Some(Token::Number(number)) => Ok(Argument::Value(number.into())),
            _ => Err("Syntax Error: Expected a value.".to_owned()),
        }
    }
}

impl Document {
    /// Checks that every variable which must be given is.
    pub(super) fn check(&self, given: &Value) -> Result<(), String> {
        for variable in self.variables.iter().filter(|v| v.required) {
            if given.get(&variable.name).is_none_or(Value::is_null) {
                return Err(format!(
                    "Variable \"${}\" of required type was not provided.",
                    variable.name
                ));
            }
        }
        Ok(())
    }
}

impl Field {
    /// Its arguments, with the variables that were given.
    pub(super) fn arguments(&self, document: &Document, given: &Value) -> Result<Value, String> {
        members(&self.arguments, document, given)
    }
}

fn members(members: &[(String, Argument)], document: &Document, given: &Value) -> Result<Value, String> {
    let mut all = Map::new();
    for (name, argument) in members {
        all.insert(name.clone(), value(argument, document, given)?);
    }
    Ok(Value::Object(all))
}

fn value(argument: &Argument, document: &Document, given: &Value) -> Result<Value, String> {
    match argument {
        Argument::Value(value) => Ok(value.clone()),
        Argument::Object(inner) => members(inner, document, given),
        Argument::List(items) => items.iter().map(|item| value(item, document, given)).collect(),
        Argument::Variable(name) if document.variables.iter().any(|v| v.name == *name) => {
            Ok(given.get(name).cloned().unwrap_or_default())
        }
        Argument::Variable(name) => Err(format!("Variable \"${name}\" is not defined by operation.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_operation_is_read_with_its_variables_and_fields() {
        let text = "mutation M($by: By!, $n: [Int!]) { set(by: $by, input: {a: 1, b: [\"x\", Y]}) { id, of { id } } }";
        let read = parse(text).unwrap();
        assert!(read.mutation && read.fields.len() == 1);
        assert!(read.variables[0].required && !read.variables[1].required);
        let field = &read.fields[0];
        assert_eq!((field.name.as_str(), field.fields[1].fields.len()), ("set", 1));
        let given = json!({ "by": { "skuCode": "a" } });
        assert_eq!(read.check(&given), Ok(()));
        assert_eq!(
            field.arguments(&read, &given).unwrap(),
            json!({ "by": { "skuCode": "a" }, "input": { "a": 1, "b": ["x", "Y"] } })
        );
        assert!(read.check(&json!({})).unwrap_err().contains("$by"));
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for text in [
            "",
            "{ shop { id } }",
            "query { shop { id }",
            "query { shop(id: ) { id } }",
            "query Q($a) { shop { id } }",
            "query { a: shop { id } }",
            "query { shop { id } } query { shop { id } }",
            "query { x @skip }",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let undeclared = parse("query { v(by: $by) { id } }").unwrap();
        assert!(undeclared.fields[0].arguments(&undeclared, &json!({})).is_err());
        assert!(parse(&format!("query {}", "{ a ".repeat(10_000))).is_err());
    }
}
