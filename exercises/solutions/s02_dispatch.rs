use rungs_core::{ToolCall, ToolError, ToolOutput, ToolResult};
use serde_json::Value;

/// A tool whose arguments are all required.
struct SimpleTool {
    name: &'static str,
    arguments: &'static [&'static str],
    run: fn(&Value) -> Result<ToolOutput, ToolError>,
}

/// Runs the calls of one reply.
fn act(tools: &[SimpleTool], calls: &[ToolCall]) -> Vec<ToolResult> {
    calls.iter().map(|call| call.finish(run(tools, call))).collect()
}

/// Runs one call, if it fits a tool. Every error says what would be right.
fn run(tools: &[SimpleTool], call: &ToolCall) -> Result<ToolOutput, ToolError> {
    let Some(tool) = tools.iter().find(|tool| tool.name == call.name) else {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
        let names = names.join(", ");
        return Err(ToolError(format!("there is no tool `{}`; the tools are {names}", call.name)));
    };
    let Some(input) = call.input.as_object() else {
        return Err(ToolError("the arguments are no JSON object; were they cut?".into()));
    };
    let missing = tool.arguments.iter().filter(|name| !input.contains_key(**name));
    let missing = missing.map(|name| format!("missing argument `{name}`"));
    let unknown = input.keys().filter(|name| !tool.arguments.contains(&name.as_str()));
    let unknown = unknown.map(|name| format!("there is no argument `{name}`"));
    let faults: Vec<String> = missing.chain(unknown).collect();
    if !faults.is_empty() {
        let arguments = tool.arguments.join(", ");
        return Err(ToolError(format!("{} (there are: {arguments})", faults.join("; "))));
    }
    (tool.run)(&call.input)
}
