//! Calls of tools that are no shell.
use crate::{
    Access, Call, Decision, Mode, Part, Policy, Ruling,
    judge::Verdict,
    paths::Place,
    policy::{part, path_rule, strictest},
    rule::{Rule, ToolName},
    secrets::{Search, Secrets},
};
use serde_json::Value;

impl Policy {
    /// Judges a call by the files that it names, or by its tool.
    pub(crate) fn decide_tool(&self, tool: &ToolName, call: &Call<'_>, mode: Mode) -> Decision {
        let home = self.home.as_deref();
        let place = |text: &str| Place::new(text, call.cwd, call.cwd, home);
        let mut parts = vec![];
        let mut remember = vec![];
        let (kind, paths) = match (tool, call.access) {
            (ToolName::Bash, _) => (None, vec![]),
            (ToolName::Read, _) => (Some(ToolName::Read), read_paths(call)),
            (_, Access::Writes(paths)) => {
                let texts = paths.iter().map(|path| path.to_string_lossy().into_owned());
                (Some(ToolName::Edit), texts.collect())
            }
            (ToolName::Edit, _) => (Some(ToolName::Edit), paths_in(call.input, &[])),
            (ToolName::Other(_), _) => (Some(ToolName::Read), paths_in(call.input, &[])),
        };
        if !matches!(tool, ToolName::Read | ToolName::Edit) || paths.is_empty() {
            let verdict = self.judge_call(call, mode);
            let is_bash = *tool == ToolName::Bash;
            if verdict.ruling == Ruling::Ask && verdict.rule.is_none() && !is_bash {
                remember.push(call.tool.to_string());
            }
            parts.push(part("call", call.tool.to_string(), verdict));
        }
        if let Some(kind) = kind {
            for path in paths {
                let is_other = matches!(tool, ToolName::Other(_));
                let verdict = self.judge_path(&kind, call.tool, &place(&path), mode);
                // Of a tool of another kind, its own rules decide what no rule for files does.
                if is_other && verdict.rule.is_none() && kind == ToolName::Read {
                    continue;
                }
                if verdict.ruling == Ruling::Ask && verdict.rule.is_none() {
                    let name = if kind == ToolName::Read { "Read" } else { "Edit" };
                    remember.push(format!("{name}({})", path_rule(&path)));
                }
                let label = if kind == ToolName::Read { "read" } else { "write" };
                parts.push(part(label, path, verdict));
            }
        }
        if let Some(search) = searched(call)
            && let Some(verdict) = self.judge_search(call, &search, &place, mode)
        {
            remember.clear();
            parts.push(part("search", call.tool.to_string(), verdict));
        }
        if parts.iter().any(|part| part.ruling == Ruling::Deny || asks_by_rule(part)) {
            remember.clear();
        }
        strictest(parts, remember)
    }

    /// What rules say of the files below a folder that a call searches, if one denies or asks.
    fn judge_search(
        &self,
        call: &Call<'_>,
        search: &Search,
        place: &impl Fn(&str) -> Place,
        mode: Mode,
    ) -> Option<Verdict> {
        let folder = place(text_of(call.input, "path").unwrap_or("."));
        let real = folder.real.as_deref().filter(|real| real.is_dir())?;
        for ruling in [Ruling::Deny, Ruling::Ask] {
            let rules = self.of(ruling).filter(|rule| rule.is_for(&ToolName::Read, call.tool));
            let secrets = Secrets::of_rules(rules);
            match secrets.below(real, search, &folder.cwd[1], folder.home.as_deref()) {
                Ok(None) => {}
                Err(why) => return Some(self.by_mode(mode, &why)),
                Ok(Some(file)) => {
                    let file_place = place(&folder.cwd[1].join(&file).to_string_lossy());
                    let covers =
                        |rule: &Rule| rule.covers_path(&ToolName::Read, call.tool, &file_place);
                    let Some(rule) = self.first(&[ruling], covers) else { continue };
                    let verdict = Verdict::by(rule);
                    return Some(Verdict { why: format!("{file}: {}", verdict.why), ..verdict });
                }
            }
        }
        None
    }

    /// Judges a call of a tool that is no shell and names no files.
    fn judge_call(&self, call: &Call<'_>, mode: Mode) -> Verdict {
        let covers = |rule: &Rule| rule.covers_input(call.tool, call.input);
        if let Some(rule) = self.first(&[Ruling::Deny, Ruling::Ask], covers) {
            return Verdict::by(rule);
        }
        let is_harmless = call.access == Access::Harmless;
        if mode == Mode::Plan && !is_harmless {
            return Verdict::new(Ruling::Deny, "nothing is changed in plan mode");
        }
        if let Some(rule) = self.first(&[Ruling::Allow], covers) {
            return Verdict::by(rule);
        }
        match is_harmless {
            true => Verdict::new(Ruling::Allow, "it changes nothing"),
            false => self.by_mode(mode, "no rule allows it"),
        }
    }
}

fn asks_by_rule(part: &Part) -> bool {
    part.ruling == Ruling::Ask && part.rule.is_some()
}

fn text_of<'a>(input: &'a Value, field: &str) -> Option<&'a str> {
    input.get(field).and_then(Value::as_str)
}

/// What a call searches below its folder: for `grep` the files that it opens; for `glob` hidden
/// files that it asks for, since others are only named.
fn searched(call: &Call<'_>) -> Option<Search> {
    let all = Search { hidden: true, ..Search::default() };
    let (glob, kind) = match call.tool.to_lowercase().as_str() {
        "grep" => (text_of(call.input, "glob"), text_of(call.input, "type")),
        "glob" => {
            let pattern = text_of(call.input, "pattern")?;
            let mut parts = pattern.split(['/', '{', ',', '(', '|']);
            let is_hidden = parts.any(|part| part.starts_with(['.', '[', '?']) && part != ".");
            (is_hidden.then_some(Some(pattern))?, None)
        }
        _ => return None,
    };
    // A pattern that every reader understands the same way.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "*?[].-_{},/".contains(c);
    let plain = |text: &&str| !text.is_empty() && text.chars().all(is_plain);
    Some(Search {
        globs: glob.filter(plain).map(str::to_string).into_iter().collect(),
        types: kind.filter(plain).map(str::to_string).into_iter().collect(),
        narrows: true,
        ..all
    })
}

/// The files and folders that a call reads by its words.
fn read_paths(call: &Call<'_>) -> Vec<String> {
    if call.tool.eq_ignore_ascii_case("grep") {
        let named = ["path", "glob"].iter().filter_map(|field| text_of(call.input, field));
        let paths: Vec<String> = named.map(str::to_string).collect();
        return if paths.is_empty() { vec![".".into()] } else { paths };
    }
    paths_in(call.input, &["."])
}

/// The paths that a call names.
fn paths_in(input: &Value, none: &[&str]) -> Vec<String> {
    const FIELDS: [&str; 6] = ["file_path", "path", "notebook_path", "pattern", "glob", "filePath"];
    let is_search = input.get("output_mode").is_some() || input.get("glob").is_some();
    let named = FIELDS.iter().filter(|field| **field != "pattern" || !is_search);
    let texts = named.filter_map(|field| input.get(field).and_then(Value::as_str));
    let paths: Vec<String> = texts.map(str::to_string).collect();
    match paths.is_empty() {
        true => none.iter().map(|path| path.to_string()).collect(),
        false => paths,
    }
}
