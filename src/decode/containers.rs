//! Decodes containers of other types: optional values, lists and mappings. Also flags.

use std::collections::BTreeMap;

use serde_json::json;

use super::values::near;
use super::yaml::{Node, Value};
use super::{Decode, Decoder, Key};

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        T::decode(node, cx).map(Some)
    }

    fn schema() -> serde_json::Value {
        T::schema()
    }
}

impl Decode for bool {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        let near = near::boolean(&node.value).map(|meant| meant.to_string());
        cx.wrong_type_near(node, "true or false", near);
        None
    }

    fn schema() -> serde_json::Value {
        json!({"type": "boolean"})
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else {
            cx.wrong_type(node, "a list");
            return None;
        };
        if items.is_empty() {
            cx.error(node.at, "the list is empty: expected at least one item");
            return None;
        }
        let decoded: Vec<Option<T>> =
            items.iter().enumerate().map(|(index, item)| cx.at(index, |cx| T::decode(item, cx))).collect();
        decoded.into_iter().collect()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "array", "minItems": 1, "items": T::schema()})
    }
}

impl<K: Key, T: Decode> Decode for BTreeMap<K, T> {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            cx.wrong_type(node, "a mapping");
            return None;
        };
        let mut decoded = Self::new();
        let mut whole = true;
        for (index, entry) in entries.iter().enumerate() {
            match K::parse_key(&entry.key) {
                Err(expected) => {
                    cx.error(entry.at, format!("invalid key: expected {expected}"));
                    whole = false;
                }
                Ok(key) => match cx.under_entry(index, entry, |cx| T::decode(&entry.node, cx)) {
                    Some(_) if decoded.contains_key(&key) => {
                        cx.under_entry(index, entry, |cx| cx.error(entry.at, "this is here twice; remove one"));
                        whole = false;
                    }
                    Some(value) => drop(decoded.insert(key, value)),
                    None => whole = false,
                },
            }
        }
        whole.then_some(decoded)
    }

    fn schema() -> serde_json::Value {
        json!({"type": "object", "additionalProperties": T::schema()})
    }
}
