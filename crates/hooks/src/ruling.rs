//! What hooks say to whoever judges a call further in.
use crate::Decision;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::fmt;

/// What hooks have decided about one call. It travels as a value of that call to the layer that
/// judges it: the rules of that layer still hold, and a rule that denies stands above it. It names
/// the whole call, since a tool may make other calls while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct HookRuling {
    /// The id of the call.
    pub id: String,
    /// Its tool.
    pub tool: String,
    /// Its arguments, as hooks left them.
    pub input: Value,
    /// [`Decision::Ask`] or [`Decision::Allow`]: a call that is denied never gets so far.
    pub decision: Decision,
    /// Why, in the hook's words.
    pub reason: String,
}

impl HookRuling {
    /// The decision, if it is about this call.
    pub fn on(&self, id: &str, tool: &str, input: &Value) -> Option<Decision> {
        let same = self.id == id && self.tool == tool && self.input == *input;
        same.then_some(self.decision)
    }
}

type Asked = dyn Fn(String, Value) -> BoxFuture<'static, Option<Result<(), String>>> + Send + Sync;

/// The hooks that answer a question about a call before the person does (PermissionRequest). It
/// travels as a value of the call, to whoever asks.
pub struct PermissionHooks(Box<Asked>);

impl PermissionHooks {
    /// Hooks that are asked so, with the tool's name and its arguments.
    pub fn new<F>(ask: F) -> Self
    where
        F: Fn(String, Value) -> BoxFuture<'static, Option<Result<(), String>>>
            + Send
            + Sync
            + 'static,
    {
        PermissionHooks(Box::new(ask))
    }

    /// What they answer: that it may run, why it may not, or nothing, so that the person is asked.
    pub async fn ask(&self, tool: &str, input: &Value) -> Option<Result<(), String>> {
        (self.0)(tool.into(), input.clone()).await
    }
}

impl fmt::Debug for PermissionHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PermissionHooks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_ruling_is_about_one_call_only() {
        let ruling = HookRuling {
            id: "1".into(),
            tool: "bash".into(),
            input: json!({"command": "ls"}),
            decision: Decision::Allow,
            reason: String::new(),
        };
        assert_eq!(ruling.on("1", "bash", &json!({"command": "ls"})), Some(Decision::Allow));
        assert_eq!(ruling.on("2", "bash", &json!({"command": "ls"})), None);
        assert_eq!(ruling.on("1", "write", &json!({"command": "ls"})), None);
        assert_eq!(ruling.on("1", "bash", &json!({"command": "ls; rm x"})), None);
    }
}
