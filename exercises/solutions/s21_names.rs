use std::hash::{DefaultHasher, Hash, Hasher};

/// How long the name of a tool may be, in bytes.
const MAX_NAME_BYTES: usize = 64;

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Whether this can name a server; why not, if it cannot.
fn check_server(name: &str) -> Result<(), String> {
    let is_separable = !name.contains("__") && !name.starts_with('_') && !name.ends_with('_');
    if (1..=30).contains(&name.len()) && name.chars().all(is_plain) && is_separable {
        return Ok(());
    }
    Err(format!("{name:?} cannot name a server: letters, digits, `-` and single `_` within can"))
}

/// The name under which the model calls a tool of a server.
fn qualified(server: &str, tool: &str) -> String {
    let whole = format!("mcp__{server}__{tool}");
    if !tool.is_empty() && tool.chars().all(is_plain) && whole.len() <= MAX_NAME_BYTES {
        return whole;
    }
    let mut hasher = DefaultHasher::new();
    tool.hash(&mut hasher);
    let mark = format!("_{:016x}", hasher.finish());
    let plain = whole.chars().map(|c| if is_plain(c) { c } else { '_' });
    let cut: String = plain.take(MAX_NAME_BYTES - mark.len()).collect();
    cut + &mark
}
