//! The person for whom servers are called.

/// Somebody who watches, and may be asked.
pub trait Person: Sync {
    /// Whether anybody is there to answer.
    fn is_there(&self) -> bool;
    /// Shows a line.
    fn notice(&self, line: &str);
    /// Asks for one of these choices.
    fn choose(&self, question: String, choices: Vec<String>)
    -> impl Future<Output = Chosen> + Send;
}

/// What the person answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Chosen {
    /// The choice with this index.
    Choice(usize),
    /// None of them, with what was typed instead.
    No(String),
}

/// The first characters of a text, and whether there are more.
pub(crate) fn shortened(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{} [cut]", &text[..end]),
        None => text.into(),
    }
}
