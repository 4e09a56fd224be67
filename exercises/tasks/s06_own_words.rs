// # Whose words are these
//
// repair, level 2, 20 minutes. Read: examples/s06_context_compact.rs, core/src/block.rs
//
// When older turns are summarised, two kinds of text must survive word for word: what the person
// typed, and what the harness has marked as `keep`. `survivors` finds them. A user reports:
//
//   "I told the agent `<config> stays as it is: never touch port 5432`. After the conversation was
//   compacted it did not know of that. What it kept, as if I had said it, was a reminder: `Your
//   plan has not changed`. And the checklist that it had loaded was gone."
//
// Mend `survivors`. Its result: the kept blocks first, then the person's words, each in the order
// of the conversation. Words of the model, results of tools and other insertions do not survive.
//
// Run: cargo run -p rungs-exercises -- run s06_own_words

#[allow(unused_imports)]
use rungs_core::{Block, Message, Role};
use std::sync::Arc;

/// What survives of these messages, word for word.
fn survivors(old: &[Arc<Message>]) -> Vec<Block> {
    let (mut kept, mut typed) = (vec![], vec![]);
    for message in old {
        for block in &message.content {
            let Some(text) = block.as_text() else { continue };
            if text.starts_with("<environment>") || text.starts_with("# ") {
                kept.push(block.clone());
            } else if !text.starts_with('<') {
                typed.push(block.clone());
            }
        }
    }
    kept.append(&mut typed);
    kept
}

mod tests {
    use super::*;
    use rungs_core::{ToolOutput, ToolResult};
    use serde_json::json;

    fn messages(messages: Vec<Message>) -> Vec<Arc<Message>> {
        messages.into_iter().map(Arc::new).collect()
    }

    fn texts(blocks: &[Block]) -> Vec<&str> {
        blocks.iter().filter_map(Block::as_text).collect()
    }

    fn results(blocks: Vec<Block>) -> Message {
        let output = ToolOutput(blocks);
        Message::results([ToolResult { id: "a".into(), output, is_error: false }])
    }

    #[test]
    fn what_was_typed_survives_whatever_it_looks_like() {
        let old = messages(vec![
            Message::user("<config> stays as it is: never touch port 5432"),
            Message::user("# My notes\nbuy pears"),
            Message::user("<system-reminder>is what I saw on the screen"),
        ]);
        let survivors = survivors(&old);
        let expected = [
            "<config> stays as it is: never touch port 5432",
            "# My notes\nbuy pears",
            "<system-reminder>is what I saw on the screen",
        ];
        let why = "people paste configuration, Markdown and what they saw on a screen; how a text \
                   begins says nothing about who wrote it";
        assert_eq!(texts(&survivors), expected, "{why}");
    }

    #[test]
    fn what_was_inserted_does_not_count_as_typed() {
        let old = messages(vec![
            Message::user("go on"),
            Message::inserted("reminder", "Your plan has not changed for 3 steps."),
            Message::inserted("mail", "<mail>from ann</mail>"),
        ]);
        let why = "the model would take a reminder for an order of the person, for ever";
        assert_eq!(texts(&survivors(&old)), ["go on"], "{why}");
    }

    #[test]
    fn what_the_model_and_the_tools_said_does_not_survive() {
        let call = json!({"type": "tool_use", "id": "a", "name": "bash", "input": {}});
        let old = messages(vec![
            Message::user("look"),
            Message::assistant(vec![Block::text("I look."), Block::from_value(&call)]),
            results(vec![Block::text("10,000 lines of a log")]),
            Message::assistant(vec![Block::text("It is fine.")]),
        ]);
        let why = "the summary is there for these; only what the person typed is kept as it is";
        assert_eq!(texts(&survivors(&old)), ["look"], "{why}");
    }

    #[test]
    fn what_is_marked_as_kept_survives_also_inside_of_a_result() {
        let skill = Block::kept("skill:review", "Look twice.");
        let old = messages(vec![
            Message::kept("environment", "folder: /work"),
            Message::user("review it"),
            results(vec![Block::text("loaded:"), skill.clone()]),
        ]);
        let survivors = survivors(&old);
        let expected = ["folder: /work", "Look twice.", "review it"];
        let why =
            "a loaded skill stands inside of a tool result; `Message::blocks` looks there too";
        assert_eq!(texts(&survivors), expected, "{why}");
        let why = "it must be found again at the next compaction, so it keeps its mark";
        assert_eq!(survivors[1], skill, "{why}");
    }

    #[test]
    fn the_next_compaction_finds_the_same() {
        let old = messages(vec![Message::kept("environment", "here"), Message::user("be brief")]);
        let once = survivors(&old);
        let head = Arc::new(Message { role: Role::User, content: once.clone() });
        assert_eq!(survivors(&[head]), once, "what survived once must survive again, unchanged");
    }
}
