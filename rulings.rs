//! What becomes of a call, and why in words: the sentence for a model and a person, a command as a
//! tree, the list of all rules.
use rungs_core::{Context, Effect, ToolCall};
use rungs_hooks::{Decision as HookDecision, HookRuling};
use rungs_permissions::{Access, Call, Decision, Mode, Policy, Ruling};
use rungs_terminal::escaped;
use std::cmp::Reverse;

/// How many parts of a command are drawn.
const MAX_DRAWN_PARTS: usize = 500;

/// The call as dispatch will read it, which is lenient where the meaning is certain: a list may
/// come as text. `None` when dispatch will refuse it: there is no such tool, or its arguments are
/// wrong.
pub fn as_it_will_run(call: &ToolCall, cx: &Context) -> Option<ToolCall> {
    let spec = cx.agent.specs().into_iter().find(|spec| spec.name == call.name)?;
    let input = rungs_json::fit(&spec.input_schema, &call.input).ok()?.value;
    Some(ToolCall { input, ..call.clone() })
}

/// What the rules and the mode say of a call. What fails denies.
pub async fn judge(policy: Policy, mode: Mode, call: &ToolCall, cx: &Context) -> Decision {
    let effect = cx.effect(call);
    let (call, effect) = match as_it_will_run(call, cx) {
        Some(call) => (call, effect),
        None => (call.clone(), Effect::Anything),
    };
    let cwd = cx.cwd().to_path_buf();
    // It follows links and reads the configuration of repositories.
    let judging = tokio::task::spawn_blocking(move || {
        let access = match &effect {
            Effect::Writes(paths) => Access::Writes(paths),
            Effect::Anything => Access::Anything,
            Effect::Reads | Effect::Internal | Effect::Delegates => Access::Harmless,
        };
        let (tool, input) = (&*call.name, &call.input);
        policy.decide(&Call { tool, input, access, cwd: &cwd }, mode)
    });
    judging.await.unwrap_or_else(|failed| {
        let why = format!("it could not be judged: {failed}");
        Decision { ruling: Ruling::Deny, rule: None, why, parts: vec![], remember: vec![] }
    })
}

/// Why a call was judged so: the part that decided, and the rule if one did.
pub fn reason(decision: &Decision) -> String {
    let Decision { ruling, why, parts, rule, .. } = decision;
    let decisive = parts.iter().find(|part| part.ruling == *ruling && part.why == *why);
    let part = decisive.map_or(String::new(), |part| format!("`{}`: ", part.text));
    match rule {
        // The text of a built-in rule is its reason.
        Some(rule) if rule.text == *why => format!("{part}{why} ({})", rule.source),
        Some(rule) => format!("{part}{why} (the rule {}, {})", rule.text, rule.source),
        None => format!("{part}{why}"),
    }
}

/// A command as a tree, each part with its ruling, the rule and the reason.
pub fn tree(decision: &Decision, colour: bool) -> String {
    // Of middle brightness, which can be read on light and on dark.
    let paint = |ruling: Ruling, text: &str| match (colour, ruling) {
        (false, _) => text.to_string(),
        (true, Ruling::Allow) => format!("\x1b[38;5;64m{text}\x1b[0m"),
        (true, Ruling::Ask) => format!("\x1b[38;5;130m{text}\x1b[0m"),
        (true, Ruling::Deny) => format!("\x1b[38;5;160m{text}\x1b[0m"),
    };
    let parts = &decision.parts[..decision.parts.len().min(MAX_DRAWN_PARTS)];
    let first = format!("{}: {}", decision.ruling, decision.why);
    let mut lines = vec![paint(decision.ruling, &escaped(&first))];
    for (index, part) in parts.iter().enumerate() {
        // Whether a part of this depth follows within the same construct.
        let goes_on = |depth: usize| {
            let mut inside = parts[index + 1..].iter().take_while(|part| part.depth >= depth);
            inside.any(|part| part.depth == depth)
        };
        let above = (0..part.depth).map(|depth| if goes_on(depth) { "│  " } else { "   " });
        let branch = if goes_on(part.depth) { "├─ " } else { "└─ " };
        let rule = match &part.rule {
            Some(rule) if rule.text == part.why => format!("{}: ", rule.source),
            Some(rule) => format!("{}: ", rule.text),
            None => String::new(),
        };
        let text = format!("{} {} {}  {rule}{}", part.ruling, part.label, part.text, part.why);
        let text = escaped(text.trim_end()).replace('\n', "\\n");
        lines.push(format!("{}{branch}{}", above.collect::<String>(), paint(part.ruling, &text)));
    }
    if parts.len() < decision.parts.len() {
        lines.push(format!("... {} more parts", decision.parts.len() - parts.len()));
    }
    lines.join("\n")
}

/// The rules whose lines hold this text, the strictest first, each with its source.
pub fn list(policy: &Policy, text: &str) -> String {
    let mut rules: Vec<_> = policy.rules().collect();
    rules.sort_by_key(|rule| Reverse(rule.ruling));
    let lines = rules.iter().map(|rule| {
        let reason = rule.reason.as_ref().map_or(String::new(), |reason| format!("; {reason}"));
        format!("{:<5} {}  ({}{reason})", rule.ruling.to_string(), rule.text, rule.source)
    });
    let lines: Vec<String> = lines.filter(|line| line.contains(text)).collect();
    format!("{}\n{} of {} rules", lines.join("\n"), lines.len(), rules.len())
}

/// What hooks say about exactly this call. They can be stricter than the rules; what a rule says
/// they do not undo.
pub fn outer_ruling(call: &ToolCall, cx: &Context) -> Option<Ruling> {
    Some(match cx.value::<HookRuling>()?.on(&call.id, &call.name, &call.input)?.0 {
        HookDecision::Allow => Ruling::Allow,
        HookDecision::Ask => Ruling::Ask,
        HookDecision::Deny => Ruling::Deny,
    })
}

/// What hooks answer for the person, if they do.
pub async fn hooks_answer(call: &ToolCall, why: &str, cx: &Context) -> Option<Result<(), String>> {
    let hooks = cx.value::<HookRuling>()?;
    let verdict = hooks.ask(&call.id, &call.name, &call.input, why).await;
    verdict.messages.iter().for_each(|line| cx.notice(line));
    match verdict.decision? {
        // Another input would have to be judged first.
        (HookDecision::Allow, _) if verdict.updated_input.is_none() => Some(Ok(())),
        (HookDecision::Deny, why) => Some(Err(format!("a hook refuses it: {why}"))),
        _ => None,
    }
}
