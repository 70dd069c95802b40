//! Operands of a step: numbers, strings with their NUL, lists of both.

use core::ffi::CStr;

/// The plan does not follow the wire format. Never seen unless caller and init come from different builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads operands from a plan, borrowing strings from it.
#[derive(Clone)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Decoder { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn word(&mut self) -> Result<u64, Malformed> {
        let (word, rest) = self.rest.split_first_chunk::<8>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*word))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.word()?).map_err(|_| Malformed)?;
        let padded = length.checked_next_multiple_of(8).ok_or(Malformed)?;
        if padded > self.rest.len() {
            return Err(Malformed);
        }
        let (bytes, rest) = self.rest.split_at(padded);
        self.rest = rest;
        Ok(&bytes[..length])
    }
}

/// Something that can stand in a step.
pub trait Operand<'a>: Sized {
    fn decode(from: &mut Decoder<'a>) -> Result<Self, Malformed>;
    #[cfg(feature = "alloc")]
    fn encode(&self, to: &mut Encoder);
}

impl<'a> Operand<'a> for u64 {
    fn decode(from: &mut Decoder<'a>) -> Result<Self, Malformed> {
        from.word()
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, to: &mut Encoder) {
        to.word(*self);
    }
}

impl<'a> Operand<'a> for &'a CStr {
    fn decode(from: &mut Decoder<'a>) -> Result<Self, Malformed> {
        CStr::from_bytes_with_nul(from.bytes()?).map_err(|_| Malformed)
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, to: &mut Encoder) {
        to.bytes(self.to_bytes_with_nul());
    }
}

impl<'a> Operand<'a> for &'a [u8] {
    fn decode(from: &mut Decoder<'a>) -> Result<Self, Malformed> {
        from.bytes()
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, to: &mut Encoder) {
        to.bytes(self);
    }
}

/// Strings one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    pub const EMPTY: List<'static> = List(&[]);

    pub fn iter(self) -> impl Iterator<Item = &'a CStr> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let string = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[string.to_bytes_with_nul().len()..];
            Some(string)
        })
    }

    pub fn count(self) -> usize {
        self.iter().count()
    }

    #[cfg(feature = "alloc")]
    pub fn new(strings: &'a [u8]) -> Self {
        List(strings)
    }
}

impl<'a> Operand<'a> for List<'a> {
    fn decode(from: &mut Decoder<'a>) -> Result<Self, Malformed> {
        let bytes = from.bytes()?;
        match bytes.last() {
            None | Some(0) => Ok(List(bytes)),
            Some(_) => Err(Malformed),
        }
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, to: &mut Encoder) {
        to.bytes(self.0);
    }
}

/// Numbers one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        self.0.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok().map(u64::from_le_bytes))
    }

    #[cfg(feature = "alloc")]
    pub fn new(words: &'a [u8]) -> Self {
        Words(words)
    }
}

impl<'a> Operand<'a> for Words<'a> {
    fn decode(from: &mut Decoder<'a>) -> Result<Self, Malformed> {
        Ok(Words(from.bytes()?))
    }
    #[cfg(feature = "alloc")]
    fn encode(&self, to: &mut Encoder) {
        to.bytes(self.0);
    }
}

/// Writes a plan.
#[cfg(feature = "alloc")]
#[derive(Default, Clone, Debug)]
pub struct Encoder {
    bytes: alloc::vec::Vec<u8>,
}

#[cfg(feature = "alloc")]
impl Encoder {
    pub fn word(&mut self, word: u64) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}
