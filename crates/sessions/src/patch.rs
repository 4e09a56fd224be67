//! JSON Merge Patch (RFC 7396): what changed in a value, as a value.
use serde_json::{Map, Value};

/// What turns `old` into `new`; none where no patch can, since `null` in one means "gone".
pub(crate) fn diff(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (!has_null(new)).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(known) if known == value => {}
            known => drop(patch.insert(key.clone(), diff(known.unwrap_or(&Value::Null), value)?)),
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(patch.into())
}

/// In an array it is a value as any other.
fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().any(has_null),
        _ => false,
    }
}

/// Applies a patch.
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Map::new().into();
    }
    for (key, change) in patch {
        if let Value::Object(map) = target {
            match change {
                Value::Null => drop(map.remove(&key)),
                change => merge(map.entry(key).or_insert(Value::Null), change),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_holds_what_changed_and_leads_from_the_old_to_the_new() {
        for (old, new, patch) in [
            (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), json!({"b": 3})),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"b": null})),
            (json!({"a": {"x": 1, "y": [1]}}), json!({"a": {"x": 1, "y": [1, null]}}), {
                json!({"a": {"y": [1, null]}})
            }),
            (json!({"a": {"x": 1}}), json!({"a": [], "b": {}}), json!({"a": [], "b": {}})),
            (json!({"a": [1]}), json!({"a": {"x": {}}}), json!({"a": {"x": {}}})),
            (json!([1]), json!("one"), json!("one")),
            (json!({"a": 1}), json!({"a": 1}), json!({})),
        ] {
            assert_eq!(diff(&old, &new), Some(patch.clone()));
            let mut patched = old;
            merge(&mut patched, patch);
            assert_eq!(patched, new);
        }
    }

    #[test]
    fn null_cannot_be_set_by_a_patch() {
        for new in [json!({"a": null}), json!({"a": {"b": {"c": null}}}), json!(null)] {
            assert_eq!(diff(&json!({"a": 1}), &new), None);
        }
    }
}
