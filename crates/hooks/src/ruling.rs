//! What hooks say to whoever judges a call further in, or lets a prompt join a turn.
use crate::{Decision, HookEvent, HookSet, NOBODY, Verdict};
use futures_util::future::BoxFuture;
use rungs_process::Environment;
use serde_json::{Value, json};
use std::{fmt, sync::Arc};

/// What hooks say about one call, for the layer that judges it. It travels as a value of that call
/// and names the whole of it, since a tool may make other calls while it runs. The rules of that
/// layer still hold: one that denies stands above a hook that allows.
#[derive(Debug)]
pub struct HookRuling {
    /// Id, tool and arguments, as hooks left them.
    call: (String, String, Value),
    decision: Option<(Decision, String)>,
    hooks: Arc<HookSet>,
    /// What hooks of PermissionRequest read.
    input: Value,
    environment: Environment,
}

impl HookRuling {
    /// What hooks of PreToolUse have decided about a call (its id, its tool, its arguments), and
    /// the hooks that are asked with this input before the person would be.
    pub fn new(
        (id, tool, arguments): (&str, &str, &Value),
        decision: Option<(Decision, String)>,
        hooks: Arc<HookSet>,
        input: Value,
        environment: &Environment,
    ) -> Self {
        let call = (id.into(), tool.into(), arguments.clone());
        HookRuling { call, decision, hooks, input, environment: environment.clone() }
    }

    fn is_on(&self, id: &str, tool: &str, input: &Value) -> bool {
        self.call.0 == id && self.call.1 == tool && self.call.2 == *input
    }

    /// The decision and its reason, if there is one and it is about exactly this call:
    /// [`Decision::Ask`] or [`Decision::Allow`], since a call that is denied never gets so far.
    pub fn on(&self, id: &str, tool: &str, input: &Value) -> Option<(Decision, &str)> {
        let (decision, why) = self.decision.as_ref().filter(|_| self.is_on(id, tool, input))?;
        Some((*decision, why))
    }

    /// To be called when the person is about to be asked about exactly this call: runs the hooks of
    /// PermissionRequest. If [`Decision::Allow`] or [`Decision::Deny`] comes back, that is the
    /// answer. Otherwise the person is asked, and the hooks of Notification run here.
    pub async fn ask(&self, id: &str, tool: &str, input: &Value, question: &str) -> Verdict {
        if !self.is_on(id, tool, input) {
            return Verdict::default();
        }
        let asked = self.hooks.run(&self.input, tool, &self.environment, NOBODY).await;
        let mut verdict = asked.unwrap_or_default();
        if !matches!(verdict.decision, Some((Decision::Allow | Decision::Deny, _))) {
            let mut input = self.input.clone();
            input["hook_event_name"] = json!(HookEvent::Notification);
            input["notification_type"] = "permission_prompt".into();
            input["message"] = question.into();
            let told = self.hooks.run(&input, "", &self.environment, NOBODY).await;
            verdict.messages.extend(told.unwrap_or_default().messages);
        }
        verdict
    }
}

/// The hooks of UserPromptSubmit, for whoever lets what is typed meanwhile join a turn that runs
/// already. They travel as a value of the turn.
pub struct PromptHooks(Box<Submit>);

type Submit = dyn Fn(String) -> BoxFuture<'static, Verdict> + Send + Sync;

impl PromptHooks {
    /// The hooks that `submit` runs on a prompt.
    pub fn new<F>(submit: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        PromptHooks(Box::new(move |prompt| Box::pin(submit(prompt))))
    }

    /// What the model reads beside this prompt.
    ///
    /// # Errors
    /// Why the model must not read the prompt.
    pub async fn submit(&self, prompt: String) -> Result<String, String> {
        (self.0)(prompt).await.added()
    }
}

impl fmt::Debug for PromptHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptHooks").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Form, Hooks};
    use std::path::Path;

    async fn set(yaml: &str, dir: &Path) -> Arc<HookSet> {
        let store = durable::Folder::open(dir, "store").unwrap();
        let hooks = Hooks::parse(Path::new("f"), yaml, Form::Own).unwrap();
        Arc::new(HookSet::open(hooks, dir, &store, NOBODY).await)
    }

    const LS: &str = r#"{"command": "ls"}"#;

    fn asked() -> Value {
        json!({"hook_event_name": "PermissionRequest", "tool_name": "Bash",
            "tool_input": {"command": "ls"}})
    }

    #[tokio::test]
    async fn a_ruling_is_about_one_call_only() {
        let dir = tempfile::tempdir().unwrap();
        let ls: Value = serde_json::from_str(LS).unwrap();
        let allow = Some((Decision::Allow, "fine".to_string()));
        let hooks = set("hooks: {PermissionRequest: [{command: 'exit 2'}]}", dir.path()).await;
        let environment = Environment::default();
        let ruling = HookRuling::new(("1", "bash", &ls), allow, hooks, asked(), &environment);
        assert_eq!(ruling.on("1", "bash", &ls), Some((Decision::Allow, "fine")));
        for (id, tool, input) in [
            ("2", "bash", ls.clone()),
            ("1", "write", ls),
            ("1", "bash", json!({"command": "ls; rm x"})),
        ] {
            assert_eq!(ruling.on(id, tool, &input), None);
            assert_eq!(ruling.ask(id, tool, &input, "run?").await, Verdict::default());
        }
    }

    #[tokio::test]
    async fn hooks_answer_for_the_person_or_the_person_is_notified_of() {
        let dir = tempfile::tempdir().unwrap();
        let told = dir.path().join("told");
        let notify = format!(
            "Notification: [{{matcher: permission_prompt, command: 'cat > {}'}}]",
            told.display()
        );
        let answer = |behavior: &str| {
            let json = json!({"hookSpecificOutput": {"hookEventName": "PermissionRequest",
                "decision": {"behavior": behavior, "message": "by rule"}}});
            let hook = json!([{"matcher": "Bash", "command": format!("echo '{json}'")}]);
            format!("hooks: {{PermissionRequest: {hook}, {notify}}}")
        };
        let ask = async |yaml: &str| {
            let hooks = set(yaml, dir.path()).await;
            let ls: Value = serde_json::from_str(LS).unwrap();
            let call = ("1", "bash", &ls);
            let ruling = HookRuling::new(call, None, hooks, asked(), &Environment::default());
            ruling.ask("1", "bash", &ls, "run `ls`?").await
        };
        let by_rule = |decision| Some((decision, "by rule".to_string()));
        assert_eq!(ask(&answer("allow")).await.decision, by_rule(Decision::Allow));
        assert_eq!(ask(&answer("deny")).await.decision, by_rule(Decision::Deny));
        assert!(!told.exists());
        assert_eq!(ask(&format!("hooks: {{{notify}}}")).await, Verdict::default());
        let told: Value = serde_json::from_slice(&std::fs::read(told).unwrap()).unwrap();
        assert_eq!(
            (&told["message"], &told["hook_event_name"]),
            (&json!("run `ls`?"), &json!("Notification"))
        );
    }
}
