//! # s03: a plan that the model writes down
//!
//! On a task of many steps a model forgets some and wanders off into others: the goal is far up in the conversation, the
//! newest tool result is right in front. So it gets a list to write on, and when it has not looked at the list for a
//! while, somebody taps it on the shoulder.
//!
//! New here: three tools that share a state, kept by `cx.local` so that each conversation (and, from s04 on, each
//! subagent) has a plan of its own; and the first [`Layer`], which adds a reminder to the message that is about to be
//! sent. It never changes one that was sent: the server caches the conversation by its prefix, and a changed word far
//! back would make every later request pay for all of it again.
//!
//! Run it: `cargo run --example s03_todo_write`
//!
//! You will see a plan of three steps, worked off one at a time; then a model that forgets its plan, is reminded after
//! three turns, and comes back to it.
//!
//! Try: "Do two things at once." The tool refuses, and says why.
//!
//! Builds on s01. Motto: *An agent without a plan drifts.*

use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, Chat, Context, Layer, Message, NextAsk, Output, Reply, Result, Tool, ToolError,
    ToolSpec, tools::args,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{process::ExitCode, sync::Mutex};

/// Turns that may pass without a change of an unfinished plan before the model is reminded of it.
const STALE: usize = 3;

/// The plan of one conversation.
#[derive(Default)]
struct Plan {
    items: Vec<Item>,
    /// Turns since it was written or changed, or the model was last reminded.
    untouched: usize,
}

#[derive(Clone, Deserialize)]
struct Item {
    content: String,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    #[default]
    Pending,
    InProgress,
    Completed,
}

impl Plan {
    /// Takes the new items, if they make a plan: one thing at a time.
    fn change(&mut self, items: Vec<Item>) -> Result<Output, ToolError> {
        let in_progress = |(_, item): &(usize, &Item)| item.status == Status::InProgress;
        let busy: Vec<String> = items
            .iter()
            .enumerate()
            .filter(in_progress)
            .map(|(i, _)| (i + 1).to_string())
            .collect();
        if busy.len() > 1 {
            return Err(ToolError(format!(
                "items {} would be in progress at once; finish or put back one first, nothing was changed",
                busy.join(" and ")
            )));
        }
        if let Some(empty) = items.iter().position(|item| item.content.trim().is_empty()) {
            return Err(ToolError(format!(
                "item {} has no content; nothing was changed",
                empty + 1
            )));
        }
        *self = Plan { items, untouched: 0 };
        Ok(self.to_string().into())
    }

    fn is_open(&self) -> bool {
        self.items.iter().any(|item| item.status != Status::Completed)
    }
}

/// As the model and the person read it.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.items.is_empty() {
            return f.write_str("There is no plan yet.");
        }
        for (i, item) in self.items.iter().enumerate() {
            let mark = match item.status {
                Status::Pending => "[ ]",
                Status::InProgress => "[>]",
                Status::Completed => "[x]",
            };
            writeln!(f, "{mark} {}. {}", i + 1, item.content)?;
        }
        Ok(())
    }
}

fn with_plan<T>(cx: &Context, work: impl FnOnce(&mut Plan) -> T) -> T {
    work(&mut cx.local::<Mutex<Plan>>().lock().unwrap())
}

/// Writes the whole plan.
struct TodoWrite;
/// Changes one item.
struct TodoUpdate;
/// Reads the plan.
struct TodoRead;

impl Tool for TodoWrite {
    fn spec(&self) -> ToolSpec {
        let status = json!({"type": "string", "enum": ["pending", "in_progress", "completed"]});
        let item = json!({
            "type": "object",
            "properties": {"content": {"type": "string", "description": "One step, as an order."}, "status": status},
            "required": ["content"],
        });
        ToolSpec::new(
            "todo_write",
            "Writes the plan for a task of three or more steps, in place of the one there is. At most one item is in \
             progress at a time.",
            json!({"type": "object", "properties": {"todos": {"type": "array", "items": item}}, "required": ["todos"]}),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            todos: Vec<Item>,
        }
        let Args { todos } = args(input)?;
        with_plan(cx, |plan| plan.change(todos))
    }
}

impl Tool for TodoUpdate {
    fn spec(&self) -> ToolSpec {
        let status = json!({"type": "string", "enum": ["pending", "in_progress", "completed"]});
        ToolSpec::new(
            "todo_update",
            "Sets the status of one item of the plan: in_progress when you begin it, completed when it is done and \
             checked.",
            json!({
                "type": "object",
                "properties": {"item": {"type": "integer", "description": "Its number, from 1."}, "status": status},
                "required": ["item", "status"],
            }),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            item: usize,
            status: Status,
        }
        let Args { item, status } = args(input)?;
        with_plan(cx, |plan| {
            let mut items = plan.items.clone();
            let count = items.len();
            let Some(changed) = item.checked_sub(1).and_then(|i| items.get_mut(i)) else {
                return Err(ToolError(format!("there is no item {item}; the plan has {count}")));
            };
            changed.status = status;
            plan.change(items)
        })
    }
}

impl Tool for TodoRead {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new("todo_read", "Reads the plan.", json!({"type": "object", "properties": {}}))
    }

    async fn call(&self, _input: Value, cx: &Context) -> Result<Output, ToolError> {
        Ok(with_plan(cx, |plan| plan.to_string()).into())
    }

    fn read_only(&self) -> bool {
        true
    }
}

/// Reminds the model of an unfinished plan that it has not touched for a while.
struct Reminder;

impl Layer for Reminder {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let stale = with_plan(cx, |plan| {
            plan.untouched += 1;
            (plan.is_open() && plan.untouched > STALE).then(|| {
                plan.untouched = 0;
                plan.to_string()
            })
        });
        if let Some(plan) = stale {
            cx.notice("(the model is reminded of its plan)");
            // It joins the message that is about to be sent, as its last block.
            chat.push(Message::user(format!(
                "<system-reminder>Your plan has not changed for {STALE} turns. Update it, or go on if it still holds:\n\
                 {plan}</system-reminder>"
            )));
        }
        next.run(chat, cx).await
    }
}

/// Adds the mechanism.
pub fn install(agent: Agent) -> Agent {
    agent.tool(TodoWrite).tool(TodoUpdate).tool(TodoRead).wrap(Reminder)
}

/// The agent of lesson one, with a plan.
pub fn main() -> ExitCode {
    lessons::run("s03_todo_write", async |stage| Ok(install(stage.agent())), agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn play(turns: &str) -> (String, Chat) {
        let script = format!("scenes: [{{when: ^go$, turns: [{turns}]}}]");
        let (client, _server) = lessons::rehearse(&script).await.unwrap();
        let agent = install(Agent::new(client, std::env::temp_dir()));
        let mut chat = Chat::new("go");
        let reply = agent_loop(&agent, &mut chat).await.unwrap();
        (reply.text(), chat)
    }

    const TOLD: &str =
        "{say: \"{{ results | map(attribute='text') | map('trim') | join(' | ') }}\"}";

    #[tokio::test]
    async fn one_item_at_a_time() {
        let (told, _) = play(&format!(
            "{{call: [
                {{todo_read: {{}}}},
                {{todo_write: {{todos: [{{content: a, status: in_progress}}, {{content: b}}]}}}},
                {{todo_update: {{item: 2, status: in_progress}}}},
                {{todo_update: {{item: 3, status: completed}}}},
                {{todo_update: {{item: 0, status: completed}}}},
                {{todo_write: {{todos: [{{content: ' '}}]}}}},
                {{todo_update: {{item: 1, status: completed}}}},
                {{todo_read: {{}}}}]}}, {TOLD}"
        ))
        .await;
        assert_eq!(
            told.split(" | ").collect::<Vec<_>>(),
            [
                "There is no plan yet.",
                "[>] 1. a\n[ ] 2. b",
                "items 1 and 2 would be in progress at once; finish or put back one first, nothing was changed",
                "there is no item 3; the plan has 2",
                "there is no item 0; the plan has 2",
                "item 1 has no content; nothing was changed",
                "[x] 1. a\n[ ] 2. b",
                "[x] 1. a\n[ ] 2. b",
            ]
        );
    }

    /// In which messages of the chat a reminder stands.
    fn reminders(chat: &Chat) -> Vec<usize> {
        let reminded = |(_, message): &(usize, &std::sync::Arc<Message>)| {
            message.text().contains("<system-reminder>")
        };
        chat.messages().iter().enumerate().filter(reminded).map(|(i, _)| i).collect()
    }

    #[tokio::test]
    async fn a_stale_plan_is_brought_back_in_the_unsent_message() {
        let write = "{call: [{todo_write: {todos: [{content: a}]}}]}";
        let (_, chat) =
            play(&format!("{write}, {{repeat: 8, call: [{{todo_read: {{}}}}]}}, {{say: end}}"))
                .await;
        // Four requests after the plan was written the model is reminded, and again four later.
        assert_eq!(reminders(&chat), [8, 16]);
        let content = &chat.messages()[8].content;
        assert!(
            content.len() == 2
                && content[1].as_text().is_some_and(|text| text.contains("[ ] 1. a"))
        );
    }

    #[tokio::test]
    async fn no_plan_or_a_finished_one_brings_no_reminder() {
        let read = "{repeat: 8, call: [{todo_read: {}}]}, {say: end}";
        assert!(reminders(&play(read).await.1).is_empty());
        let done = "{call: [{todo_write: {todos: [{content: a, status: completed}]}}]}";
        assert!(reminders(&play(&format!("{done}, {read}")).await.1).is_empty());
    }

    #[tokio::test]
    async fn a_child_has_a_plan_of_its_own() {
        let (client, _server) =
            lessons::rehearse("scenes: [{when: ., turns: [{say: x}]}]").await.unwrap();
        let agent = install(Agent::new(client, "."));
        let child = agent.child("helper", &[]);
        TodoWrite.call(json!({"todos": [{"content": "mine"}]}), &agent.context()).await.unwrap();
        let read =
            async |agent: &Agent| TodoRead.call(json!({}), &agent.context()).await.unwrap().text;
        assert_eq!(read(&agent).await, "[ ] 1. mine\n");
        assert_eq!(read(&child).await, "There is no plan yet.");
    }
}
