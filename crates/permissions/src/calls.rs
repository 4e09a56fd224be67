//! Calls of tools that are no shell.
use crate::{
    Access, Call, Decision, Mode, Part, Policy, Ruling,
    judge::Verdict,
    paths::Place,
    policy::{part, path_rule, strictest},
    rule::{Rule, ToolName},
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
            (ToolName::Read, _) => (Some(ToolName::Read), paths_in(call.input, &["."])),
            (_, Access::Writes(paths)) => {
                let texts = paths.iter().map(|path| path.to_string_lossy().into_owned());
                (Some(ToolName::Edit), texts.collect())
            }
            (ToolName::Edit, _) => (Some(ToolName::Edit), paths_in(call.input, &[])),
            (ToolName::Other(_), _) => (Some(ToolName::Read), paths_in(call.input, &[])),
        };
        if !matches!(tool, ToolName::Read | ToolName::Edit) || paths.is_empty() {
            let verdict = self.judge_call(call, mode);
            if verdict.ruling == Ruling::Ask && verdict.rule.is_none() {
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
        if parts.iter().any(|part| part.ruling == Ruling::Deny || asks_by_rule(part)) {
            remember.clear();
        }
        strictest(parts, remember)
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
