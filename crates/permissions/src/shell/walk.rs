//! The walk over the parser's tree. It uses no recursion, since a text can nest as deep as it is
//! long.
use super::{
    Dirs, Item, Kind, MAX_NESTED_SHELLS, danger,
    functions::Functions,
    loose,
    nodes::{
        assigned_word, extra_words, has_quoted_end, has_substitution, heredoc, is_shell, parse,
        read_word, statement_is_shell,
    },
    shorten, unwrap,
    words::Word,
};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tree_sitter::{Node, Tree};

/// How long the parser may take for one text, with all scripts in it.
const MAX_PARSE_TIME: Duration = Duration::from_secs(2);
/// How many functions within functions are looked at.
const MAX_FUNCTIONS: usize = 20;
/// How many words of a command are read in a text that cannot be parsed.
const MAX_LOOSE_WORDS: usize = 1000;
/// How many scripts within one text are read.
const MAX_SCRIPTS: usize = 100;
/// How long they may be together, in bytes.
const MAX_SCRIPT_BYTES: usize = 1 << 20;

/// What a text does, in the order of the text.
pub(super) struct Walk {
    pub(super) items: Vec<Item>,
    /// What variables were set to, as far as that is known.
    pub(super) variables: HashMap<String, String>,
    /// The words of the command before, which a pipe may bring to the next one.
    pub(super) before: Vec<String>,
    functions: Functions,
    pub(super) dirs: Dirs,
    pub(super) home: Option<PathBuf>,
    /// How many scripts within the text were read.
    scripts: usize,
    script_bytes: usize,
    /// When the parser must have come to an end.
    deadline: Instant,
}

/// What holds for the children of a node.
#[derive(Clone, Copy)]
struct Frame<'t> {
    kind: &'t str,
    /// The node itself: to ask a node for its parent takes as long as the text.
    node: Option<Node<'t>>,
    /// Whether a pipe leads into what comes next.
    is_piped: bool,
    /// Whether it is in what a shell will run.
    feeds_shell: bool,
    depth: usize,
    /// Whether the name of a function was added.
    names: bool,
    /// Whether a process of its own runs it.
    is_spawned: bool,
}

impl Walk {
    pub(super) fn new(cwd: &Path, home: Option<&Path>) -> Walk {
        let mut variables = HashMap::new();
        for (name, value) in [("IFS", " "), ("SHELL", "sh"), ("BASH", "bash")] {
            variables.insert(name.into(), value.into());
        }
        variables.insert("PWD".into(), cwd.display().to_string());
        if let Some(home) = home {
            variables.insert("HOME".into(), home.display().to_string());
        }
        let dirs = Dirs { likely: vec![cwd.into()], ..Dirs::default() };
        Walk {
            items: vec![],
            variables,
            before: vec![],
            functions: Functions::default(),
            dirs,
            home: home.map(Path::to_path_buf),
            scripts: 0,
            script_bytes: 0,
            deadline: Instant::now() + MAX_PARSE_TIME,
        }
    }

    /// Reads a script; whether the parser understood all of it.
    pub(super) fn script(
        &mut self,
        text: &str,
        depth: usize,
        nested: usize,
        is_piped: bool,
    ) -> bool {
        if danger::is_fork_bomb(text) {
            self.denied(depth, text, "it is a fork bomb");
        }
        let tree = parse(text, self.deadline);
        let is_whole = tree.as_ref().is_some_and(|tree| !tree.root_node().has_error());
        match tree {
            Some(tree) => self.tree(&tree, text, depth, nested, is_piped),
            None => self.doubt(depth, text, "the parser did not come to an end".into()),
        }
        if !is_whole {
            self.doubt(depth, text, "it cannot be parsed".into());
            self.loose(text, depth, nested);
        }
        if self.functions.have_bomb() {
            self.denied(depth, text, "it is a fork bomb");
        }
        is_whole
    }

    /// Reads a text that is too long for the parser.
    pub(super) fn long(&mut self, text: &str) {
        self.doubt(0, text, "it is too long to be parsed".into());
        self.loose(text, 0, 0);
    }

    /// Looks for what may be commands where the parser found none.
    fn loose(&mut self, text: &str, depth: usize, nested: usize) {
        let mut known = HashSet::new();
        for words in loose::commands(text) {
            if Instant::now() > self.deadline {
                return self.doubt(depth, text, "it takes too long to read".into());
            }
            if !known.insert(words.clone()) {
                continue;
            }
            let words: Vec<Word> =
                words.iter().take(MAX_LOOSE_WORDS).map(|word| Word::read(word, &[])).collect();
            self.command(words, vec![], depth, text, nested, false);
        }
    }

    pub(super) fn doubt(&mut self, depth: usize, text: &str, why: String) {
        let text = shorten(text);
        self.items.push(Item { depth, label: "unknown", text, kind: Kind::Doubt(why) });
    }

    pub(super) fn denied(&mut self, depth: usize, text: &str, why: &'static str) {
        let text = shorten(text);
        self.items.push(Item { depth, label: "danger", text, kind: Kind::Denied(why) });
    }

    fn tree(&mut self, tree: &Tree, text: &str, depth: usize, nested: usize, is_piped: bool) {
        let mut cursor = tree.walk();
        let root = Frame {
            kind: "",
            node: None,
            is_piped,
            feeds_shell: false,
            depth,
            names: false,
            is_spawned: false,
        };
        let mut frames = vec![root];
        let mut functions: Vec<&str> = vec![];
        loop {
            let node = cursor.node();
            let parent = frames.len() - 1;
            let inner = self.visit(node, text, &mut frames[parent], nested, &mut functions);
            if let Some(frame) = inner
                && cursor.goto_first_child()
            {
                frames.push(frame);
                continue;
            }
            if inner.is_some_and(|frame| frame.names) {
                functions.pop();
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return;
                }
                if frames.pop().is_some_and(|frame| frame.names) {
                    functions.pop();
                }
            }
        }
    }

    /// Looks at a node; what holds for its children, if they are to be looked at.
    fn visit<'t>(
        &mut self,
        node: Node<'t>,
        text: &'t str,
        parent: &mut Frame<'t>,
        nested: usize,
        functions: &mut Vec<&'t str>,
    ) -> Option<Frame<'t>> {
        let raw = &text[node.byte_range()];
        let kind = node.kind();
        if !node.is_named() {
            match kind {
                "|" | "|&" => parent.is_piped = true,
                "&" => {
                    self.doubt(parent.depth, "&", "it starts something in the background".into())
                }
                _ => {}
            }
            return None;
        }
        self.hidden_scripts(node, raw, parent, nested);
        let mut frame =
            Frame { kind, node: Some(node), depth: parent.depth + 1, names: false, ..*parent };
        match kind {
            "program" => frame.depth = parent.depth,
            "comment" => return None,
            "list" => self.structure(parent.depth, "list", raw),
            "pipeline" => {
                frame.is_spawned = true;
                self.structure(parent.depth, "pipeline", raw);
            }
            "redirected_statement" => {
                frame.depth = parent.depth;
                frame.feeds_shell |= statement_is_shell(node, text);
            }
            "command" | "declaration_command" | "unset_command" => {
                let bomb = self.node_command(node, text, parent, nested, functions);
                if bomb {
                    self.denied(parent.depth, raw, "it is a fork bomb");
                }
                frame.feeds_shell |= is_shell(node, text);
                frame.is_piped = false;
            }
            "variable_assignment" => {
                self.assignment(node, text);
                if parent.kind != "command" {
                    let why = "a variable is set, which may change what follows".into();
                    self.doubt(parent.depth, raw, why);
                }
            }
            "process_substitution" => {
                frame.is_piped = raw.starts_with('>');
                self.doubt(parent.depth, raw, "process substitution is not judged".into());
            }
            "file_redirect" => self.redirect(node, text, parent.depth),
            "heredoc_redirect" | "herestring_redirect" => {
                let why = "a text is fed to it as a file".into();
                self.doubt(parent.depth, raw.lines().next().unwrap_or_default(), why);
            }
            "function_definition" => {
                let why = "a function is defined, which may stand for another command".into();
                self.doubt(parent.depth, raw, why);
                if let Some(name) = node.child_by_field_name("name") {
                    functions.push(&text[name.byte_range()]);
                    frame.names = true;
                    frame.is_spawned = false;
                }
            }
            "word"
            | "string"
            | "raw_string"
            | "concatenation"
            | "number"
            | "string_content"
            | "file_descriptor"
            | "heredoc_body"
            | "heredoc_start"
            | "heredoc_end"
            | "variable_name"
            | "special_variable_name"
            | "heredoc_content"
            | "ansi_c_string"
            | "translated_string"
            | "test_operator"
            | "regex" => {
                frame.depth = parent.depth;
            }
            "command_name" => {
                frame.depth = parent.depth;
                // What a substitution says is the command.
                frame.feeds_shell |= raw.trim_start_matches('"').starts_with(['$', '`']);
            }
            "ERROR" => self.doubt(parent.depth, raw, "it cannot be parsed".into()),
            _ => {
                let why = format!("{} is not judged", kind.replace('_', " "));
                self.doubt(parent.depth, raw, why);
            }
        }
        Some(frame)
    }

    /// Backticks where the parser takes them for text.
    fn hidden_scripts(&mut self, node: Node<'_>, raw: &str, parent: &Frame<'_>, nested: usize) {
        let script = match node.kind() {
            // The parser does not see a substitution behind every operator: `${a^^$(b)}`.
            "expansion" if !has_substitution(node) && raw.contains("$(") => {
                let (_, inner) = raw.split_once("$(").unwrap_or_default();
                let inner = inner.rsplit_once(')').map_or(inner, |(inner, _)| inner);
                return self.nested(inner, nested, parent.depth + 1, false);
            }
            "expansion" | "regex" | "extglob_pattern" => raw,
            "heredoc_body" if !parent.node.is_some_and(has_quoted_end) => raw,
            // Within backticks, those of a deeper level have a backslash.
            "command_substitution" if raw.starts_with('`') && raw.contains("\\`") => {
                let inner = raw.trim_matches('`').replace("\\`", "`");
                return self.nested(&inner, nested, parent.depth + 1, false);
            }
            _ => return,
        };
        for script in script.split('`').skip(1).step_by(2) {
            self.nested(script, nested, parent.depth + 1, false);
        }
    }

    pub(super) fn structure(&mut self, depth: usize, label: &'static str, text: &str) {
        self.items.push(Item { depth, label, text: shorten(text), kind: Kind::Structure });
    }

    /// Reads a command's words; whether it is part of a fork bomb.
    fn node_command(
        &mut self,
        node: Node<'_>,
        text: &str,
        parent: &Frame<'_>,
        nested: usize,
        functions: &[&str],
    ) -> bool {
        let (mut words, mut assigned, mut here) = (vec![], vec![], None);
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "variable_assignment" if node.kind() == "command" => {
                    assigned.push(assigned_word(child, text));
                }
                "file_redirect" => words.extend(extra_words(child, text)),
                "herestring_redirect" => {
                    here = child
                        .child(child.child_count().saturating_sub(1))
                        .map(|word| read_word(word, text));
                }
                "comment" => {}
                _ => words.push(read_word(child, text)),
            }
        }
        if let Some(statement) = parent.node.filter(|up| up.kind() == "redirected_statement") {
            let mut cursor = statement.walk();
            for child in statement.children(&mut cursor) {
                match child.kind() {
                    "file_redirect" => words.extend(extra_words(child, text)),
                    "heredoc_redirect" => here = heredoc(child, text).or(here),
                    _ => {}
                }
            }
        }
        let raw = &text[node.byte_range()];
        let calls = words.first().map(|word| word.text.clone()).unwrap_or_default();
        let calls_itself = functions.iter().rev().take(MAX_FUNCTIONS).any(|name| *name == calls);
        if let Some(script) = here
            && unwrap::runs_a_text(&self.expand(&words))
        {
            self.nested(&script.text, nested, parent.depth + 1, false);
        }
        let expanded = self.expand(&words);
        self.command(words, assigned, parent.depth, raw, nested, parent.is_piped);
        let next = || node.next_sibling().map(|next| next.kind());
        if calls == "$0" && next() == Some("&") {
            self.denied(parent.depth, raw, "it starts itself again and again");
        }
        if let Some(function) = functions.last()
            && raw == calls
        {
            let is_spawned =
                parent.is_spawned || (functions.len() < MAX_FUNCTIONS && next() == Some("&"));
            self.functions.call(function, &calls, is_spawned);
        }
        let fetches =
            || unwrap::commands(&expanded).iter().any(|words| danger::is_fetch(&words[0]));
        if parent.feeds_shell && fetches() {
            self.denied(parent.depth, raw, "what it fetches from the network is run by a shell");
        }
        calls_itself
            && (parent.kind == "pipeline"
                || (functions.len() < MAX_FUNCTIONS && next() == Some("&")))
    }

    /// Reads what another shell would run.
    pub(super) fn nested(&mut self, script: &str, nested: usize, depth: usize, is_piped: bool) {
        self.scripts += 1;
        self.script_bytes += script.len();
        let is_much = self.scripts > MAX_SCRIPTS || self.script_bytes > MAX_SCRIPT_BYTES;
        if nested >= MAX_NESTED_SHELLS || is_much {
            return self.doubt(depth, script, "too many shells within shells".into());
        }
        self.structure(depth, "script", script);
        self.script(script, depth + 1, nested + 1, is_piped);
    }
}
