//! Properties that annotations set: values in GVariant's text format (docs.gtk.org/glib/gvariant-text-format.html), as runc takes them.
//!
//! Strings, booleans, numbers, arrays, tuples, variants in angle brackets, and types before a value, by name or by "@" and a signature.
//! Dictionaries are not understood: no property of a scope is one.

use super::value::{first, Value};

/// What a property may be called (runc: three letters or more).
const SHORTEST_NAME: usize = 3;
const NESTED: usize = 16;
/// Bytes in a signature (D-Bus Specification, "Valid Signatures").
const SIGNATURE_MAX: usize = 255;
const MICROSECONDS: f64 = 1e6;

/// The property that an annotation `org.systemd.property.NAME` sets. A name that ends in "Sec" means what systemd calls NAME in "USec", its
/// value in seconds. Errors: why it is none.
pub fn property(name: &str, text: &str) -> Result<(String, Value), String> {
    if name.len() < SHORTEST_NAME || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(format!("{name:?} is no name of a systemd property"));
    }
    let value = parse(text)?;
    if value.signature().len() > SIGNATURE_MAX {
        return Err("has a type of more than 255 bytes".to_owned());
    }
    match name.strip_suffix("Sec") {
        Some(stem) if stem.ends_with(|c: char| c.is_ascii_lowercase()) => Ok((format!("{stem}USec"), microseconds(&value)?)),
        _ => Ok((name.to_owned(), value)),
    }
}

fn microseconds(value: &Value) -> Result<Value, String> {
    let seconds = match value {
        Value::Byte(number) => f64::from(*number),
        Value::I16(number) => f64::from(*number),
        Value::U16(number) => f64::from(*number),
        Value::I32(number) => f64::from(*number),
        Value::U32(number) => f64::from(*number),
        Value::I64(number) => *number as f64,
        Value::U64(number) => *number as f64,
        Value::Double(number) => *number,
        _ => return Err("is no number of seconds".to_owned()),
    };
    let microseconds = seconds * MICROSECONDS;
    match (0.0..u64::MAX as f64).contains(&microseconds) {
        true => Ok(Value::U64(microseconds as u64)),
        false => Err("is no number of seconds".to_owned()),
    }
}

fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text };
    let value = parser.value(None, 0)?;
    match parser.skip() {
        "" => Ok(value),
        rest => Err(format!("{rest:?} after the value is too much")),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn next_is(&mut self, wanted: char) -> bool {
        match self.skip().strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Up to white space or what can stand after a word.
    fn word(&mut self) -> &'a str {
        let text = self.skip();
        let end = text.find(|c: char| c.is_whitespace() || ",])>:}".contains(c)).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        word
    }

    /// `wanted`: the signature that is known from outside.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > NESTED {
            return Err("is nested too deep".to_owned());
        }
        let text = self.skip();
        match text.chars().next() {
            None => Err("ends where a value is missing".to_owned()),
            Some('@') => {
                let end = first(&text[1..]).map(|end| 1 + end).filter(|end| *end <= SIGNATURE_MAX);
                let (signature, rest) = text.split_at(end.ok_or_else(|| format!("{text:?} does not begin with a type"))?);
                self.rest = rest;
                self.value(Some(&signature[1..]), depth + 1)
            }
            Some(quote @ ('\'' | '"')) => {
                let text = self.quoted(quote)?;
                match wanted {
                    None | Some("s") => Ok(Value::String(text)),
                    Some("o") => Ok(Value::ObjectPath(text)),
                    Some("g") => Ok(Value::Signature(text)),
                    Some(other) => Err(format!("{text:?} is not of type {other}")),
                }
            }
            Some('[') => self.array(wanted, depth),
            Some('(') => self.tuple(wanted, depth),
            Some('<') => {
                self.next_is('<');
                let value = self.value(None, depth + 1)?;
                match (self.next_is('>'), wanted) {
                    (true, None | Some("v")) => Ok(Value::Variant(Box::new(value))),
                    _ => Err("has a variant that is not closed, or not wanted".to_owned()),
                }
            }
            Some(_) => {
                let word = self.word();
                match named(word) {
                    Some(signature) => self.value(Some(signature), depth + 1),
                    None => scalar(word, wanted),
                }
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut out = String::new();
        let mut characters = self.rest[1..].char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => match characters.next().map(|(_, escaped)| escaped) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some(other @ ('\\' | '\'' | '"')) => out.push(other),
                    other => return Err(format!("has an escape that is not understood: {other:?}")),
                },
                '\0' => return Err("has a NUL byte".to_owned()),
                _ if character == quote => {
                    self.rest = &self.rest[1 + index + 1..];
                    return Ok(out);
                }
                _ => out.push(character),
            }
        }
        Err("has a string that is not closed".to_owned())
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        self.next_is('[');
        let mut element = match wanted {
            None => None,
            Some(signature) => Some(signature.strip_prefix('a').ok_or_else(|| format!("an array is not of type {signature}"))?.to_owned()),
        };
        let mut values = Vec::new();
        while !self.next_is(']') {
            if !values.is_empty() && !self.next_is(',') {
                return Err("has an array that is not closed".to_owned());
            }
            let value = self.value(element.as_deref(), depth + 1)?;
            // The first one decides for all.
            element.get_or_insert_with(|| value.signature());
            values.push(value);
        }
        let element = element.ok_or("is an empty array whose type is not said: write @as []")?;
        Ok(Value::Array(element, values))
    }

    fn tuple(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        self.next_is('(');
        let mut inside = match wanted {
            None => None,
            Some(signature) => {
                let stripped = signature.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
                Some(stripped.ok_or_else(|| format!("a tuple is not of type {signature}"))?)
            }
        };
        let mut values = Vec::new();
        while !self.next_is(')') {
            if !values.is_empty() && !self.next_is(',') {
                return Err("has a tuple that is not closed".to_owned());
            }
            // (1,) is a tuple of one.
            if !values.is_empty() && self.skip().starts_with(')') {
                continue;
            }
            let one = match inside {
                None => None,
                Some(rest) => {
                    let (one, rest) = rest.split_at(first(rest).ok_or("has more in a tuple than its type says")?);
                    inside = Some(rest);
                    Some(one)
                }
            };
            values.push(self.value(one, depth + 1)?);
        }
        match (inside, values.is_empty()) {
            (None | Some(""), false) => Ok(Value::Struct(values)),
            _ => Err("has less in a tuple than its type says".to_owned()),
        }
    }
}

/// Types by name.
fn named(word: &str) -> Option<&'static str> {
    Some(match word {
        "boolean" => "b",
        "byte" => "y",
        "int16" => "n",
        "uint16" => "q",
        "int32" => "i",
        "uint32" => "u",
        "int64" => "x",
        "uint64" => "t",
        "double" => "d",
        "string" => "s",
        "objectpath" => "o",
        "signature" => "g",
        _ => return None,
    })
}

/// A number is an int32 unless it has a point or another type is wanted.
fn scalar(word: &str, wanted: Option<&str>) -> Result<Value, String> {
    let wrong = || format!("{word:?} is not of type {}", wanted.unwrap_or("i"));
    let integer = || -> Option<i128> {
        let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
        let value = match digits.strip_prefix("0x") {
            Some(digits) => i128::from(u64::from_str_radix(digits, 16).ok()?),
            None => i128::from(digits.parse::<u64>().ok()?),
        };
        Some(if negative { -value } else { value })
    };
    let value = match (word, wanted) {
        ("true", None | Some("b")) => Some(Value::Bool(true)),
        ("false", None | Some("b")) => Some(Value::Bool(false)),
        (_, Some("y")) => integer().and_then(|number| number.try_into().ok()).map(Value::Byte),
        (_, Some("n")) => integer().and_then(|number| number.try_into().ok()).map(Value::I16),
        (_, Some("q")) => integer().and_then(|number| number.try_into().ok()).map(Value::U16),
        (_, Some("u")) => integer().and_then(|number| number.try_into().ok()).map(Value::U32),
        (_, Some("x")) => integer().and_then(|number| number.try_into().ok()).map(Value::I64),
        (_, Some("t")) => integer().and_then(|number| number.try_into().ok()).map(Value::U64),
        (_, Some("d")) => word.parse().ok().map(Value::Double),
        (_, None) if word.contains('.') => word.parse().ok().map(Value::Double),
        (_, None | Some("i")) => integer().and_then(|number| number.try_into().ok()).map(Value::I32),
        _ => None,
    };
    value.ok_or_else(wrong)
}
