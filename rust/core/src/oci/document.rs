//! The text of a config.json as a tree, but for one section, which stays text: a seccomp profile is most of a configuration, and the same one
//! in one container after the other.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Where the section is.
const SECCOMP: [&str; 2] = ["linux", "seccomp"];

pub struct Document<'a> {
    /// All but the section.
    pub tree: Value,
    pub seccomp: Option<&'a str>,
}

impl<'a> Document<'a> {
    pub fn read(bytes: &'a [u8]) -> serde_json::Result<Self> {
        let mut section = None;
        let mut source = serde_json::Deserializer::from_slice(bytes);
        let tree = Tree { below: &SECCOMP, section: &mut section }.deserialize(&mut source)?;
        source.end()?;
        Ok(Document { tree, seccomp: section.map(RawValue::get).filter(|text| *text != "null") })
    }
}

/// A value on the way to the section, or any other where `below` is empty.
struct Tree<'s, 'a> {
    below: &'static [&'static str],
    section: &'s mut Option<&'a RawValue>,
}

impl<'a> DeserializeSeed<'a> for Tree<'_, 'a> {
    type Value = Value;

    fn deserialize<D: Deserializer<'a>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Tree<'_, 'a> {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut tree = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            // Of members of one name the last one counts, as everywhere in JSON.
            match self.below {
                [last] if *last == name => *self.section = Some(members.next_value()?),
                [first, below @ ..] if *first == name => {
                    *self.section = None;
                    let value = members.next_value_seed(Tree { below, section: &mut *self.section })?;
                    tree.insert(name, value);
                }
                _ => drop(tree.insert(name, members.next_value()?)),
            }
        }
        Ok(Value::Object(tree))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> (Value, Option<String>) {
        let document = Document::read(text.as_bytes()).unwrap();
        (document.tree, document.seccomp.map(str::to_owned))
    }

    #[test]
    fn the_section_stays_as_it_was_written_and_all_else_is_a_tree() {
        let (tree, section) =
            read(r#"{"a": [1, -2, 1.5, "\u00e9", null, true], "linux": {"seccomp": { "x" :1 }, "b": {"seccomp": 2}}, "seccomp": 3}"#);
        assert_eq!(tree, json!({"a": [1, -2, 1.5, "é", null, true], "linux": {"b": {"seccomp": 2}}, "seccomp": 3}));
        assert_eq!(section.as_deref(), Some(r#"{ "x" :1 }"#));
    }

    #[test]
    fn of_members_of_one_name_the_last_counts() {
        assert_eq!(read(r#"{"linux": {"seccomp": 1, "seccomp": 2}}"#).1.as_deref(), Some("2"));
        assert_eq!(read(r#"{"linux": {"seccomp": 1}, "linux": {}}"#), (json!({"linux": {}}), None));
        assert_eq!(read(r#"{"linux": {"seccomp": 1, "seccomp": null}}"#).1, None);
        assert_eq!(read(r#"{"linux": {"seccomp": 1}, "linux": [7]}"#), (json!({"linux": [7]}), None));
    }

    #[test]
    fn what_is_no_json_is_refused_in_the_section_too() {
        for text in ["", "{", r#"{"linux": {"seccomp": {"a" 1}}}"#, r#"{"linux": {"seccomp": [1,]}}"#, "{} {}"] {
            assert!(Document::read(text.as_bytes()).is_err(), "{text}");
        }
        let deep = format!(r#"{{"linux": {}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert!(Document::read(deep.as_bytes()).is_err());
    }
}
