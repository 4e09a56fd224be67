//! A reader for texts that cannot be parsed: it finds what might be commands, for the rules that
//! deny. It is wrong in both directions, and nothing is allowed by it.

/// The words, with their quotes, of whatever stands where a command may begin.
pub(crate) fn commands(text: &str) -> Vec<Vec<&str>> {
    let (mut commands, mut words, mut begin) = (vec![], vec![], None);
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        let is_end = match (quote, c) {
            (Some('\''), '\'') => {
                quote = None;
                false
            }
            (Some('\''), _) => false,
            (_, '\\') => {
                escaped = true;
                false
            }
            (Some('"'), '"') => {
                quote = None;
                false
            }
            (Some(_), _) => false,
            (None, '\'' | '"') => {
                quote = Some(c);
                false
            }
            (None, _) => c.is_whitespace() || ";&|()`<>".contains(c),
        };
        if !is_end {
            begin.get_or_insert(at);
            continue;
        }
        if let Some(begin) = begin.take() {
            let word = &text[begin..at];
            if !matches!(word, "{" | "}" | "then" | "do" | "else" | "!" | "$") {
                words.push(word);
            }
        }
        if (c == '\n' || ";&|()`".contains(c)) && !words.is_empty() {
            commands.push(std::mem::take(&mut words));
        }
    }
    if let Some(begin) = begin {
        words.push(&text[begin..]);
    }
    if !words.is_empty() {
        commands.push(words);
    }
    commands
}
