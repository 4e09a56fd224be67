use rungs_core::{Message, ToolCall, ToolResult};

/// What the model reads of a call that was running.
const MAY_HAVE_RUN: &str = "interrupted: it may have run, wholly or in part. Look before you do it \
    again.";
/// What the model reads of a call that nobody had begun.
const NOT_RUN: &str = "not run: the program ended";

/// Answers these calls with what is known of them.
fn answers(calls: &[ToolCall], begun: &[&str], results: &[ToolResult]) -> Message {
    let known = calls.iter().map(|call| {
        if let Some(result) = results.iter().find(|result| result.id == call.id) {
            return result.clone();
        }
        let had_begun = begun.contains(&call.id.as_str());
        call.refuse(if had_begun { MAY_HAVE_RUN } else { NOT_RUN })
    });
    Message::results(known)
}
