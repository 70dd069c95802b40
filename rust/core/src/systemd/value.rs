//! Values as D-Bus has them (D-Bus Specification, "Type system", "Marshaling"): little endian, each aligned to its own size.

/// More than this in one message is not systemd's.
pub const MESSAGE_LIMIT: usize = 1 << 20;
/// How deep values may nest; the specification allows 32 arrays and 32 structs.
const DEPTH_LIMIT: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Double(f64),
    String(String),
    ObjectPath(String),
    Signature(String),
    /// The elements' signature: an array may be empty.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    pub fn string(text: impl Into<String>) -> Self {
        Value::String(text.into())
    }

    pub fn into_text(self) -> Option<String> {
        match self {
            Value::String(text) | Value::ObjectPath(text) | Value::Signature(text) => Some(text),
            _ => None,
        }
    }

    pub fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".to_owned(),
            Value::Bool(_) => "b".to_owned(),
            Value::I16(_) => "n".to_owned(),
            Value::U16(_) => "q".to_owned(),
            Value::I32(_) => "i".to_owned(),
            Value::U32(_) => "u".to_owned(),
            Value::I64(_) => "x".to_owned(),
            Value::U64(_) => "t".to_owned(),
            Value::Double(_) => "d".to_owned(),
            Value::String(_) => "s".to_owned(),
            Value::ObjectPath(_) => "o".to_owned(),
            Value::Signature(_) => "g".to_owned(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => format!("({})", fields.iter().map(Value::signature).collect::<String>()),
            Value::Variant(_) => "v".to_owned(),
        }
    }

    /// Appends it; `out` starts where alignment counts from.
    pub fn encode(&self, out: &mut Vec<u8>) {
        pad(out, alignment(self.signature().as_bytes()[0]));
        match self {
            Value::Byte(value) => out.push(*value),
            Value::Bool(value) => out.extend(u32::from(*value).to_le_bytes()),
            Value::I16(value) => out.extend(value.to_le_bytes()),
            Value::U16(value) => out.extend(value.to_le_bytes()),
            Value::I32(value) => out.extend(value.to_le_bytes()),
            Value::U32(value) => out.extend(value.to_le_bytes()),
            Value::I64(value) => out.extend(value.to_le_bytes()),
            Value::U64(value) => out.extend(value.to_le_bytes()),
            Value::Double(value) => out.extend(value.to_le_bytes()),
            Value::String(text) | Value::ObjectPath(text) => {
                out.extend((text.len() as u32).to_le_bytes());
                out.extend(text.as_bytes());
                out.push(0);
            }
            Value::Signature(text) => signature(text, out),
            Value::Array(element, values) => {
                let length_at = out.len();
                out.extend([0; 4]);
                // The padding before the first element does not count.
                pad(out, alignment(element.as_bytes().first().copied().unwrap_or(b'y')));
                let start = out.len();
                values.iter().for_each(|value| value.encode(out));
                let length = (out.len() - start) as u32;
                out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            }
            Value::Struct(fields) => fields.iter().for_each(|field| field.encode(out)),
            Value::Variant(value) => {
                signature(&value.signature(), out);
                value.encode(out);
            }
        }
    }
}

fn signature(text: &str, out: &mut Vec<u8>) {
    // A byte tells the length; what is longer than the specification's 255 was refused where it was made.
    out.push(text.len() as u8);
    out.extend(text.as_bytes());
    out.push(0);
}

pub fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

fn alignment(kind: u8) -> usize {
    match kind {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    }
}

/// All values that `signature` lists; `None` for bytes that are not those. What comes from a bus is not believed.
pub fn decode(signature: &str, bytes: &[u8]) -> Option<Vec<Value>> {
    let mut reader = Reader { bytes, at: 0 };
    reader.all(signature, 0)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn all(&mut self, mut signature: &str, depth: usize) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        while !signature.is_empty() {
            let (one, rest) = signature.split_at(first(signature)?);
            values.push(self.one(one, depth)?);
            signature = rest;
        }
        Some(values)
    }

    fn one(&mut self, signature: &str, depth: usize) -> Option<Value> {
        if depth > DEPTH_LIMIT {
            return None;
        }
        let kind = signature.bytes().next()?;
        self.align(alignment(kind))?;
        Some(match kind {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => Value::Bool(self.number::<4>().map(u32::from_le_bytes)? != 0),
            b'n' => Value::I16(i16::from_le_bytes(self.number()?)),
            b'q' => Value::U16(u16::from_le_bytes(self.number()?)),
            b'i' => Value::I32(i32::from_le_bytes(self.number()?)),
            b'u' => Value::U32(u32::from_le_bytes(self.number()?)),
            b'x' => Value::I64(i64::from_le_bytes(self.number()?)),
            b't' => Value::U64(u64::from_le_bytes(self.number()?)),
            b'd' => Value::Double(f64::from_le_bytes(self.number()?)),
            b's' | b'o' => {
                let length = u32::from_le_bytes(self.number()?) as usize;
                let text = self.text(length)?;
                if kind == b's' {
                    Value::String(text)
                } else {
                    Value::ObjectPath(text)
                }
            }
            b'g' => {
                let length = usize::from(self.take(1)?[0]);
                Value::Signature(self.text(length)?)
            }
            b'v' => {
                let length = usize::from(self.take(1)?[0]);
                let inner = self.text(length)?;
                if first(&inner)? != inner.len() {
                    return None;
                }
                Value::Variant(Box::new(self.one(&inner, depth + 1)?))
            }
            b'a' => {
                let element = &signature[1..];
                let length = u32::from_le_bytes(self.number()?) as usize;
                self.align(alignment(element.bytes().next()?))?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
                let mut values = Vec::new();
                while self.at < end {
                    values.push(self.one(element, depth + 1)?);
                }
                (self.at == end).then(|| Value::Array(element.to_owned(), values))?
            }
            // An entry of a dictionary is written as a struct of two.
            b'(' | b'{' => Value::Struct(self.all(&signature[1..signature.len() - 1], depth + 1)?),
            _ => return None,
        })
    }

    fn align(&mut self, alignment: usize) -> Option<()> {
        self.at = self.at.next_multiple_of(alignment);
        (self.at <= self.bytes.len()).then_some(())
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn number<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        self.take(SIZE)?.try_into().ok()
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let text = self.take(length)?;
        (self.take(1)? == [0]).then(|| String::from_utf8(text.to_vec()).ok())?
    }
}

/// How many bytes of a signature its first complete type takes.
pub fn first(signature: &str) -> Option<usize> {
    let bytes = signature.as_bytes();
    let mut at = 0;
    while *bytes.get(at)? == b'a' {
        at += 1;
    }
    let (open, close) = match bytes[at] {
        b'(' => (b'(', b')'),
        b'{' => (b'{', b'}'),
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' => return Some(at + 1),
        _ => return None,
    };
    let mut depth = 0;
    for (index, byte) in bytes.iter().enumerate().skip(at) {
        if *byte == open {
            depth += 1;
        } else if *byte == close {
            depth -= 1;
            if depth == 0 {
                return (index > at + 1).then_some(index + 1);
            }
        }
    }
    None
}
