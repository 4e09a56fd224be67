//! What several hooks answer, as one.
use crate::{Answer, Decision};
use serde_json::Value;

/// What all hooks of an event came to: deny over ask over allow.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// The strictest decision, and the reasons of those that made it.
    pub decision: Option<(Decision, String)>,
    /// The arguments with which the call runs instead: those of the last hook in the configuration
    /// that changes them.
    pub updated_input: Option<Value>,
    /// What the model reads instead of the result, likewise.
    pub updated_output: Option<String>,
    /// What the model reads besides, in the order of the configuration.
    pub context: Vec<String>,
    /// Why the turn ends now, if it does.
    pub stop: Option<String>,
    /// Lines for the person.
    pub messages: Vec<String>,
}

impl Verdict {
    /// Why it is denied, or blocked, if it is.
    pub fn denied(&self) -> Option<&str> {
        match &self.decision {
            Some((Decision::Deny, why)) => Some(why),
            _ => None,
        }
    }

    /// What the model reads besides, or why it must not read what this is about.
    ///
    /// # Errors
    /// The reason of the hook that blocks, or that ends the turn.
    pub fn added(&self) -> Result<String, String> {
        match self.denied().or(self.stop.as_deref()) {
            Some(why) => Err(why.into()),
            None => Ok(self.context.join("\n")),
        }
    }

    /// Adds one more answer, that of a hook further down in the configuration.
    pub(crate) fn add(&mut self, answer: Answer) {
        if let Some((decision, why)) = answer.decision {
            match &mut self.decision {
                Some((known, _)) if *known > decision => {}
                Some((known, reasons)) if *known == decision => *reasons += &format!("\n{why}"),
                other => *other = Some((decision, why)),
            }
        }
        if let Some(input) = answer.updated_input {
            if self.updated_input.as_ref().is_some_and(|known| *known != input) {
                self.messages.push("two hooks change the same call; the last one counts".into());
            }
            self.updated_input = Some(input);
        }
        self.updated_output = answer.updated_output.or(self.updated_output.take());
        self.context.extend(answer.context);
        self.stop = self.stop.take().or(answer.stop);
        self.messages.extend(answer.messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decided(decision: Decision, why: &str) -> Answer {
        Answer { decision: Some((decision, why.into())), ..Answer::default() }
    }

    #[test]
    fn deny_is_over_ask_is_over_allow_in_any_order() {
        use Decision::{Allow, Ask, Deny};
        for order in [
            [Allow, Ask, Deny],
            [Allow, Deny, Ask],
            [Ask, Allow, Deny],
            [Ask, Deny, Allow],
            [Deny, Allow, Ask],
            [Deny, Ask, Allow],
        ] {
            let mut verdict = Verdict::default();
            for decision in order {
                verdict.add(decided(decision, &format!("{decision:?}")));
            }
            assert_eq!(verdict.decision, Some((Deny, "Deny".into())));
        }
        let mut verdict = Verdict::default();
        verdict.add(decided(Deny, "a"));
        verdict.add(decided(Deny, "b"));
        verdict.add(Answer::default());
        assert_eq!(verdict.denied(), Some("a\nb"));
    }

    #[test]
    fn the_last_change_counts_and_context_adds_up() {
        let changed = |input: Value, context: &str| Answer {
            updated_input: Some(input.clone()),
            updated_output: Some(input.to_string()),
            context: Some(context.into()),
            stop: Some(context.into()),
            ..Answer::default()
        };
        let mut verdict = Verdict::default();
        for answer in [changed(json!({"a": 1}), "x"), changed(json!({"a": 2}), "y")] {
            verdict.add(answer);
        }
        verdict.add(Answer::default());
        let expected = Verdict {
            updated_input: Some(json!({"a": 2})),
            updated_output: Some("{\"a\":2}".into()),
            context: vec!["x".into(), "y".into()],
            stop: Some("x".into()),
            messages: vec!["two hooks change the same call; the last one counts".into()],
            decision: None,
        };
        assert_eq!(verdict, expected);
    }
}
