//! Names and ids as every API takes them.
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The longest name or id, in bytes: OpenAI's limit, the smaller one of the two APIs.
const MAX_BYTES: usize = 64;

/// What Anthropic allows in names and ids. OpenAI allows more in ids.
pub fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Whether both APIs take this as the name of a tool.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_BYTES).contains(&name.len()) && name.chars().all(is_plain)
}

/// A name as both APIs take it, as near to this one as can be.
pub fn as_name(name: &str) -> Cow<'_, str> {
    if is_name(name) {
        return name.into();
    }
    let plain = name.chars().map(|c| if is_plain(c) { c } else { '_' });
    let plain: String = plain.take(MAX_BYTES).collect();
    if plain.is_empty() { "unnamed".into() } else { plain.into() }
}

/// An id of a call as the API takes it, always the same one for this one.
pub fn as_id(id: &str, is_allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    if (1..=MAX_BYTES).contains(&id.len()) && id.chars().all(is_allowed) {
        return id.into();
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    format!("call_{:016x}", hasher.finish()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_become_what_the_apis_take() {
        let long = "ä".repeat(300);
        for (name, taken) in [
            ("read", "read"),
            ("functions.bash:0", "functions_bash_0"),
            ("", "unnamed"),
            (&long, &"_".repeat(64)),
        ] {
            assert_eq!(as_name(name), taken);
            assert!(is_name(taken));
        }
        for id in ["toolu_1", "functions.bash:0", "", &long, &"a".repeat(65)] {
            let (plain, any) = (as_id(id, is_plain), as_id(id, |_| true));
            assert!(is_name(&plain), "{plain}");
            assert_eq!((&as_id(id, is_plain), any.len() <= 64), (&plain, true));
        }
        assert_eq!(as_id("toolu_1", is_plain), "toolu_1");
        assert_eq!(as_id("functions.bash:0", |_| true), "functions.bash:0");
        assert_ne!(as_id("a b", is_plain), as_id("a c", is_plain));
    }
}
