//! # s03: a plan that the model writes down
//!
//! On a task of many steps a model forgets some and starts others: the goal is far up in the
//! conversation, the newest tool result is right in front. So it gets a list to write on, and when
//! it has not changed an unfinished list for a while, the harness reminds it.
//!
//! ```text
//! todo_write, todo_update -> the plan, a state of the conversation
//!                                 |
//! ask: chat --> [Reminder: plan unchanged for 3 steps? append it] --> model --> reply
//! ```
//!
//! New here: three tools that share a state, and the first [`Layer`]. The plan is a [`State`] of
//! the conversation, so a subagent or a fork has its own, and a saved session brings it back. The
//! reminder joins the message that is about to be sent and never changes one that was: the server
//! caches the conversation by its prefix, and after a changed word far back the next request pays
//! in full for all that follows it.
//!
//! Terms: **todo list**, **system reminder** (inserted text, marked with its origin so that nobody
//! takes it for the person's words), **prompt cache**, **append-only history**.
//!
//! Run it: `cargo run --example s03_todo_write`
//!
//! You will see a plan of three steps, done one at a time; then a model that forgets its plan, is
//! reminded after three steps, and returns to it.
//!
//! Try, and predict first:
//! 1. "Do two things at once." What does the model read, and where is that decided?
//! 2. Set `STALE_STEPS` to 0. In how many messages does the plan stand after ten steps?
//! 3. Type `:commands`, then a new prompt. Does the plan of the first prompt still hold?
//!
//! Pitfalls: a reminder that is sent too often trains the model to ignore it; a plan kept in the
//! agent instead of the conversation would survive a withdrawn prompt that wrote it.
//!
//! A product also shows the plan on the screen while it changes, and blocks the end of a turn while
//! items are open.
//!
//! Builds on s01. Motto: *An agent without a plan drifts.*

use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, Chat, Context, Effect, Layer, Message, NextAsk, Reply, Result, State, ToolError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// Steps that may pass without a change of an unfinished plan before the model is reminded of it.
const STALE_STEPS: usize = 3;

/// The plan of one conversation.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Plan {
    items: Vec<Item>,
    /// Steps since it was changed, or the model was last reminded.
    unchanged_steps: usize,
}

impl State for Plan {
    const NAME: &'static str = "plan";
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Item {
    /// One step, as an order.
    content: String,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    #[default]
    Pending,
    InProgress,
    Completed,
}

impl Plan {
    /// Takes the new items, if they are a plan: one thing at a time.
    fn change(&mut self, items: Vec<Item>) -> Result<String, ToolError> {
        let numbered = || items.iter().zip(1..);
        let in_progress = numbered().filter(|(item, _)| item.status == Status::InProgress);
        let in_progress: Vec<String> = in_progress.map(|(_, number)| number.to_string()).collect();
        if in_progress.len() > 1 {
            return Err(ToolError(format!(
                "items {} would be in progress at once; finish or put back one first, nothing was \
                 changed",
                in_progress.join(" and ")
            )));
        }
        if let Some((_, number)) = numbered().find(|(item, _)| item.content.trim().is_empty()) {
            return Err(ToolError(format!("item {number} has no content; nothing was changed")));
        }
        *self = Plan { items, unchanged_steps: 0 };
        Ok(self.to_string())
    }

    /// Counts a step; whether the model has left its unfinished plan unchanged for too long.
    fn is_stale(&mut self) -> bool {
        self.unchanged_steps += 1;
        let unfinished = self.items.iter().any(|item| item.status != Status::Completed);
        let stale = unfinished && self.unchanged_steps > STALE_STEPS;
        if stale {
            self.unchanged_steps = 0;
        }
        stale
    }
}

/// As the model and the person read it.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.items.is_empty() {
            return f.write_str("There is no plan yet.");
        }
        for (item, number) in self.items.iter().zip(1..) {
            let mark = match item.status {
                Status::Pending => "[ ]",
                Status::InProgress => "[>]",
                Status::Completed => "[x]",
            };
            writeln!(f, "{mark} {number}. {}", item.content)?;
        }
        Ok(())
    }
}

/// The three tools, as the model calls them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Call {
    /// Writes the plan for a task of three or more steps, in place of the one there is. At most one
    /// item is in progress at a time.
    TodoWrite { todos: Vec<Item> },
    /// Sets the status of one item of the plan: in_progress when you begin it, completed when it is
    /// done and checked.
    TodoUpdate {
        /// Its number, from 1.
        item: usize,
        status: Status,
    },
    /// Reads the plan.
    TodoRead {},
}

async fn run(_: &(), call: Call, cx: &Context) -> Result<String, ToolError> {
    cx.update(|plan: &mut Plan| match call {
        Call::TodoRead {} => Ok(plan.to_string()),
        Call::TodoWrite { todos } => plan.change(todos),
        Call::TodoUpdate { item, status } => {
            let mut items = plan.items.clone();
            let count = items.len();
            match item.checked_sub(1).and_then(|index| items.get_mut(index)) {
                Some(changed) => changed.status = status,
                None => {
                    return Err(ToolError(format!(
                        "there is no item {item}; the plan has {count}"
                    )));
                }
            }
            plan.change(items)
        }
    })
}

/// Reminds the model of an unfinished plan that it has not changed for a while.
struct Reminder;

impl Layer for Reminder {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let stale = chat.update(|plan: &mut Plan| plan.is_stale().then(|| plan.to_string()));
        if let Some(plan) = stale {
            cx.notice("(the model is reminded of its plan)");
            // It joins the message that is about to be sent, as its last block.
            let text = format!(
                "<system-reminder>Your plan has not changed for {STALE_STEPS} steps. Update it, or \
                 continue if it still holds:\n{plan}</system-reminder>"
            );
            chat.push(Message::inserted("reminder", text));
        }
        next.run(chat, cx).await
    }
}

/// Adds the mechanism.
pub fn install(agent: Agent) -> Agent {
    agent.tools((), |_: &Call| Effect::Internal, run).wrap(Reminder)
}

/// The agent of lesson one, with a plan.
pub fn main() -> ExitCode {
    lessons::run("s03_todo_write", async |stage| Ok(install(stage.agent())), agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lessons::testing::{Play, inserted, play, results};
    use rehearsal::{Turn, call, calls, say, scene};
    use serde_json::{Value, json};

    async fn planner(turns: impl IntoIterator<Item = Turn>) -> Play {
        play([scene("^go$", turns)], |agent, _| install(agent)).await
    }

    fn write(todos: &Value) -> Turn {
        call("todo_write", json!({ "todos": todos }))
    }

    #[tokio::test]
    async fn one_item_at_a_time() {
        let update =
            |item: usize, status: &str| ("todo_update", json!({"item": item, "status": status}));
        let write = |todos: Value| ("todo_write", json!({ "todos": todos }));
        let play = planner([
            calls([
                ("todo_read", json!({})),
                write(json!([{"content": "a", "status": "in_progress"}, {"content": "b"}])),
                update(2, "in_progress"),
                update(3, "completed"),
                update(0, "completed"),
                write(json!([{"content": " "}])),
                update(1, "completed"),
                ("todo_read", json!({})),
            ]),
            say("done"),
        ])
        .await;
        let (_, chat) = play.ask("go").await;
        let twice = "items 1 and 2 would be in progress at once; finish or put back one first, \
                     nothing was changed";
        assert_eq!(
            results(&chat.messages()[2]),
            [
                "There is no plan yet.",
                "[>] 1. a\n[ ] 2. b\n",
                twice,
                "there is no item 3; the plan has 2",
                "there is no item 0; the plan has 2",
                "item 1 has no content; nothing was changed",
                "[x] 1. a\n[ ] 2. b\n",
                "[x] 1. a\n[ ] 2. b\n",
            ]
        );
    }

    /// In which messages of the chat a reminder stands, as their last block.
    fn reminders(chat: &Chat) -> Vec<usize> {
        let reminded = |message: &Message| {
            let origin = message.content.last().and_then(|block| block.origin());
            origin.is_some_and(|origin| origin.name == "reminder")
        };
        (0..chat.messages().len()).filter(|i| reminded(&chat.messages()[*i])).collect()
    }

    #[tokio::test]
    async fn a_stale_plan_is_appended_to_the_unsent_message() {
        let read = call("todo_read", json!({})).repeat(8);
        let play = planner([write(&json!([{"content": "a"}])), read, say("end")]).await;
        let (_, chat) = play.ask("go").await;
        // Four requests after the plan was written the model is reminded, and again four later.
        assert_eq!(reminders(&chat), [8, 16]);
        assert!(inserted(&chat, "reminder")[0].contains("[ ] 1. a"));
        assert_eq!(chat.messages()[8].content.len(), 2);
    }

    #[tokio::test]
    async fn no_plan_or_a_finished_one_brings_no_reminder() {
        let read = || call("todo_read", json!({})).repeat(8);
        let (_, chat) = planner([read(), say("end")]).await.ask("go").await;
        assert_eq!(reminders(&chat), [0; 0]);
        let done = write(&json!([{"content": "a", "status": "completed"}]));
        let (_, chat) = planner([done, read(), say("end")]).await.ask("go").await;
        assert_eq!(reminders(&chat), [0; 0]);
    }

    #[tokio::test]
    async fn a_fork_and_a_child_have_plans_of_their_own_and_a_file_brings_the_plan_back() {
        let play = planner([write(&json!([{"content": "mine"}])), say("end")]).await;
        let (_, chat) = play.ask("go").await;
        let fork = chat.fork();
        fork.update(|plan: &mut Plan| plan.items.clear());
        assert_eq!(chat.state::<Plan>().to_string(), "[ ] 1. mine\n");
        let file = serde_json::to_string(&chat).unwrap();
        let read: Chat = serde_json::from_str(&file).unwrap();
        assert_eq!(read.state::<Plan>().to_string(), "[ ] 1. mine\n");
        let child = play.agent.child("helper", &[]);
        let plan = run(&(), Call::TodoRead {}, &child.context()).await.unwrap();
        assert_eq!(plan, "There is no plan yet.");
    }
}
