//! The names under which tools of servers are known.
use sha2::{Digest, Sha256};

/// The longest name of a tool, in bytes, that all model APIs take.
const MAX_NAME_BYTES: usize = 64;
/// The longest name of a server, in bytes: enough is left for its tools.
const MAX_SERVER_BYTES: usize = 30;
/// How many characters of a hash make a changed name unique.
const MARK_CHARS: usize = 8;

/// What is wrong with the name of a server, if something is. `__` separates server and tool, so no
/// server's name holds it or ends where it could begin: else a rule for `a` would match `a__b`.
pub(crate) fn server_fault(name: &str) -> Option<String> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let separable = !name.contains("__") && !name.starts_with('_') && !name.ends_with('_');
    if plain && separable && (1..=MAX_SERVER_BYTES).contains(&name.len()) {
        return None;
    }
    Some(format!(
        "{name:?} cannot name a server: letters, digits, `-` and single `_` within can, at most \
         {MAX_SERVER_BYTES} of them"
    ))
}

/// `mcp__server__tool`: the server is what stands before the first `__` after the prefix. A tool's
/// name that model APIs would refuse is changed, and carries a part of its hash, so that no two
/// tools of a server become one.
pub fn qualified(server: &str, tool: &str) -> String {
    let whole = format!("mcp__{server}__{tool}");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !tool.is_empty() && tool.chars().all(is_plain) && whole.len() <= MAX_NAME_BYTES {
        return whole;
    }
    let plain = whole.chars().map(|c| if is_plain(c) { c } else { '_' });
    let cut: String = plain.take(MAX_NAME_BYTES - MARK_CHARS - 1).collect();
    format!("{cut}_{}", &hash(tool.as_bytes())[..MARK_CHARS])
}

/// SHA-256, in hexadecimal digits.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_server_and_tool_apart() {
        for name in ["a", "git-hub", "my_server", "A1"] {
            assert_eq!(server_fault(name), None);
        }
        for name in ["", "a__b", "_a", "a_", "a b", "ä", "a/b", &"x".repeat(31)] {
            assert!(server_fault(name).is_some(), "{name:?}");
        }
        assert_eq!(qualified("a", "b__c"), "mcp__a__b__c");
        assert_eq!(qualified("a", "_x"), "mcp__a___x");
    }

    #[test]
    fn names_that_apis_refuse_become_others_that_do_not_collide() {
        let (dot, slash) = (qualified("a", "read.file"), qualified("a", "read/file"));
        assert_ne!(dot, slash);
        assert!(dot.starts_with("mcp__a__read_file_"), "{dot}");
        let long = qualified("server", &"very_long".repeat(20));
        assert_eq!(long.len(), MAX_NAME_BYTES);
        assert_ne!(long, qualified("server", &"very_long".repeat(21)));
        assert!(qualified("a", "").starts_with("mcp__a___"));
        assert_ne!(qualified("a", "日本"), qualified("a", "日曜"));
    }
}
