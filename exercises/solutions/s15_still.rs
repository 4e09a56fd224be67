use rungs_core::{Answer, Context, Effect, Layer, NextAct, Question, ToolCall, ToolResult};
use std::path::PathBuf;

/// What was found out about a call that writes.
#[derive(Debug, Clone, PartialEq)]
struct Judged {
    /// The file that it would change, free of links.
    target: PathBuf,
    /// Why it is denied, if it is.
    denied: Option<&'static str>,
}

impl Judged {
    fn question(&self) -> Question {
        Question::new(format!("May {} be changed?", self.target.display())).choice("yes")
    }
}

/// Judges a call as things are now; `None` when it writes nothing.
fn judge(call: &ToolCall, cx: &Context) -> Option<Judged> {
    let Effect::Writes(files) = cx.effect(call) else { return None };
    let path = cx.cwd().join(files.first()?);
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let target = folder.unwrap_or_default().join(path.file_name().unwrap_or_default());
    let is_closed = target.components().any(|part| part.as_os_str() == "closed");
    let denied = is_closed.then_some("nothing in `closed` may be changed");
    Some(Judged { target, denied })
}

/// Asks before each call that writes.
struct Gate;

impl Layer for Gate {
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        // What the person has said yes to.
        let mut allowed = None;
        loop {
            let Some(judged) = judge(&call, cx) else { return next.run(call, cx).await };
            if let Some(why) = judged.denied {
                return call.refuse(format!("not run: {why}"));
            }
            if allowed.as_ref() == Some(&judged) {
                return next.run(call, cx).await;
            }
            if !cx.attended() {
                return call.refuse("not run: the person would be asked, and nobody is there");
            }
            match cx.choose(judged.question()).await {
                Answer::Choice(0) => allowed = Some(judged),
                _ => return call.refuse("not run: the person said no"),
            }
        }
    }
}
