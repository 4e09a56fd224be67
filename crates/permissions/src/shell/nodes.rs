//! What single nodes of the parser's tree mean.
use super::{unwrap, words::Word};
use std::{
    ops::{ControlFlow, Range},
    time::Instant,
};
use tree_sitter::{Node, ParseOptions, Parser, Tree};

/// How many words of a command are looked at for a shell.
const MAX_WORDS: usize = 50;

pub(super) fn parse(text: &str, deadline: Instant) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bash::LANGUAGE.into()).ok()?;
    let mut watch = |_: &tree_sitter::ParseState| match Instant::now() > deadline {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let options = ParseOptions::new().progress_callback(&mut watch);
    let bytes = text.as_bytes();
    parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options))
}

/// Whether a command runs as a script what it is given: a shell, `eval`, `source`, also behind
/// programs that run others.
pub(super) fn is_shell(node: Node<'_>, text: &str) -> bool {
    let mut cursor = node.walk();
    let words = node.named_children(&mut cursor).take(MAX_WORDS);
    let words: Vec<String> = words.map(|word| text[word.byte_range()].to_string()).collect();
    unwrap::commands(&words).iter().any(|command| unwrap::is_shell_or_eval(&command[0]))
}

pub(super) fn statement_is_shell(node: Node<'_>, text: &str) -> bool {
    let body = node.child_by_field_name("body");
    body.is_some_and(|body| body.kind() == "command" && is_shell(body, text))
}

/// Whether the parser found a command right in an expansion.
pub(super) fn has_substitution(node: Node<'_>) -> bool {
    let mut cursor = node.walk();
    let holds = |kind| matches!(kind, "command_substitution" | "concatenation" | "string");
    node.named_children(&mut cursor).any(|child| holds(child.kind()))
}

/// A word with the commands that it holds left out.
pub(super) fn read_word(node: Node<'_>, text: &str) -> Word {
    let begin = node.start_byte();
    let mut holes = vec![];
    find_holes(node, begin, &mut holes, 0);
    let mut word = Word::read(&text[node.byte_range()], &holes);
    if matches!(node.kind(), "$" | "=~" | "==") {
        word.doubt = Some("the parser is not sure of it");
    }
    word
}

/// The parts of a word that hold commands. A word holds them at most four levels deep.
pub(super) fn find_holes(
    node: Node<'_>,
    begin: usize,
    holes: &mut Vec<Range<usize>>,
    depth: usize,
) {
    match node.kind() {
        "command_substitution"
        | "process_substitution"
        | "arithmetic_expansion"
        | "array"
        | "subscript" => holes.push(node.start_byte() - begin..node.end_byte() - begin),
        // `${x}` alone is a variable.
        "expansion" if node.named_child_count() != 1 || node.child_count() != 3 => {
            holes.push(node.start_byte() - begin..node.end_byte() - begin);
        }
        "word" | "raw_string" | "ansi_c_string" | "simple_expansion" | "expansion" => {}
        _ if depth < 6 => {
            let mut cursor = node.walk();
            for child in node.children(&mut cursor) {
                find_holes(child, begin, holes, depth + 1);
            }
        }
        _ => holes.push(node.start_byte() - begin..node.end_byte() - begin),
    }
}

pub(super) fn assigned_word(node: Node<'_>, text: &str) -> (String, Word) {
    let name = node.child_by_field_name("name").map(|name| text[name.byte_range()].to_string());
    let value = node.child_by_field_name("value").map(|value| read_word(value, text));
    (name.unwrap_or_default(), value.unwrap_or_else(|| Word::literal("")))
}

/// The parser takes words after a redirection's target for further targets; they belong to the
/// command.
pub(super) fn extra_words(node: Node<'_>, text: &str) -> Vec<Word> {
    let mut cursor = node.walk();
    let words = node.named_children(&mut cursor).filter(|child| child.kind() != "file_descriptor");
    words.skip(1).map(|word| read_word(word, text)).collect()
}

/// Whether the word that ends a here-document is quoted: then nothing in it is expanded.
pub(super) fn has_quoted_end(node: Node<'_>) -> bool {
    let mut cursor = node.walk();
    let mut children = node.children(&mut cursor);
    let start = children.find(|child| child.kind() == "heredoc_start");
    start.is_some_and(|start| start.end_byte() - start.start_byte() != end_length(node))
}

/// How long the line is that ends a here-document.
pub(super) fn end_length(node: Node<'_>) -> usize {
    let mut cursor = node.walk();
    let mut children = node.children(&mut cursor);
    let end = children.find(|child| child.kind() == "heredoc_end");
    end.map_or(0, |end| end.end_byte() - end.start_byte())
}

/// The text of a here-document.
pub(super) fn heredoc(node: Node<'_>, text: &str) -> Option<Word> {
    let mut cursor = node.walk();
    let body = node.children(&mut cursor).find(|child| child.kind() == "heredoc_body")?;
    Some(Word::literal(&text[body.byte_range()]))
}
