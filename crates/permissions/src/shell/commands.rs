//! What a command, an assignment and a redirection come to, with what is known before them.
use super::{
    Command, Item, Kind, danger, is_descriptor,
    nodes::{assigned_word, read_word},
    shorten, unwrap,
    walk::Walk,
    words::Word,
};
use tree_sitter::Node;

/// How long the value of a variable may be that is followed, in bytes.
const MAX_VALUE_BYTES: usize = 1000;
/// How many words of an array are followed.
const MAX_ARRAY_WORDS: usize = 50;

impl Walk {
    pub(super) fn expand(&self, words: &[Word]) -> Vec<String> {
        words.iter().flat_map(|word| word.expanded(&self.variables)).collect()
    }

    pub(super) fn command(
        &mut self,
        words: Vec<Word>,
        assigned: Vec<(String, Word)>,
        depth: usize,
        raw: &str,
        nested: usize,
        is_piped: bool,
    ) {
        let mut expanded = self.expand(&words);
        if is_piped && unwrap::commands(&expanded).iter().any(|words| words[0] == "xargs") {
            expanded.extend(danger::printed(&self.before));
        }
        let scripts = unwrap::scripts(&expanded);
        let dirs = self.dirs.clone();
        match words.first().map(|word| word.text.as_str()) {
            Some("cd" | "pushd" | "popd") => {
                self.dirs.change(&expanded, self.home.as_deref());
                if let Some(dir) = self.dirs.likely.first() {
                    self.variables.insert("PWD".into(), dir.display().to_string());
                }
            }
            Some("set") => self.arguments(&expanded[1..]),
            // After a `cd`, `./sudo` may be any program.
            Some(own) if own.starts_with("./") && !dirs.possible.is_empty() => {
                if let (Some(dir), Some(name)) = (dirs.likely.first(), expanded.first_mut()) {
                    *name = crate::paths::lexical(&dir.join(own)).display().to_string();
                }
            }
            _ => {}
        }
        self.before.clone_from(&expanded);
        let command = Command { words, expanded, assigned, is_piped, dirs };
        let kind = Kind::Command(command);
        self.items.push(Item { depth, label: "command", text: shorten(raw), kind });
        for script in scripts {
            self.nested(&script, nested, depth + 1, is_piped);
        }
    }

    /// `set -- a b`: what `$1` and `$@` are then.
    pub(super) fn arguments(&mut self, words: &[String]) {
        let words = match words {
            [dashes, words @ ..] if dashes == "--" => words,
            _ => return,
        };
        let all = words.join(" ");
        if all.len() > MAX_VALUE_BYTES {
            return;
        }
        for (at, word) in words.iter().enumerate().take(9) {
            self.variables.insert((at + 1).to_string(), word.clone());
        }
        self.variables.insert("@".into(), all.clone());
        self.variables.insert("*".into(), all);
    }

    pub(super) fn assignment(&mut self, node: Node<'_>, text: &str) {
        let (name, word) = assigned_word(node, text);
        let array = node.child_by_field_name("value").filter(|value| value.kind() == "array");
        let raw = &text[node.byte_range()];
        let value = match array {
            Some(array) => {
                let mut cursor = array.walk();
                let words = array.named_children(&mut cursor).take(MAX_ARRAY_WORDS);
                let words: Vec<Word> = words.map(|word| read_word(word, text)).collect();
                self.expand(&words).join(" ")
            }
            // What was fetched stands for the command that fetched it.
            None if raw.len() <= MAX_VALUE_BYTES && danger::holds_fetch(raw) => {
                raw[name.len() + 1..].trim_matches('"').to_string()
            }
            None => word.expanded(&self.variables).join(" "),
        };
        match value.len() <= MAX_VALUE_BYTES {
            true => self.variables.insert(name, value),
            false => self.variables.remove(&name),
        };
    }

    pub(super) fn redirect(&mut self, node: Node<'_>, text: &str, depth: usize) {
        let mut cursor = node.walk();
        let children: Vec<Node<'_>> = node.children(&mut cursor).collect();
        let operator = children.iter().find(|child| !child.is_named()).map_or("", |op| op.kind());
        let target = children.iter().find(|child| {
            child.is_named() && child.kind() != "file_descriptor" && !child.is_error()
        });
        let raw = &text[node.byte_range()];
        let Some(target) = target.map(|target| read_word(*target, text)) else {
            return self.doubt(depth, raw, "a stream is closed".into());
        };
        if operator.ends_with('&') && is_descriptor(&target.text) && target.doubt.is_none() {
            return self.structure(depth, "stream", raw);
        }
        let (label, kind) = match operator {
            "<" if !raw.trim_start_matches(|c: char| c != '<').starts_with("<>") => {
                ("read", Kind::Read(target, self.dirs.clone()))
            }
            "<&" => return self.doubt(depth, raw, "a stream is opened".into()),
            _ => ("write", Kind::Write(target, self.dirs.clone())),
        };
        self.items.push(Item { depth, label, text: shorten(raw), kind });
    }
}
