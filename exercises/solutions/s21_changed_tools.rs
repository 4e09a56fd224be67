use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// For each tool of one server by its name: what a person has agreed to.
#[derive(Default)]
struct Pins {
    agreed: BTreeMap<String, String>,
    /// Whether the server was ever listed.
    is_known: bool,
}

impl Pins {
    /// The names of the tools that the model may be told of, of those that the server lists now.
    fn offered(&mut self, tools: &[Value]) -> Vec<String> {
        if !std::mem::replace(&mut self.is_known, true) {
            tools.iter().for_each(|tool| self.approve(tool));
        }
        let agreed = |tool: &&Value| self.agreed.get(&name(tool)) == Some(&pin(tool));
        tools.iter().filter(agreed).map(name).collect()
    }

    /// The person has read this tool and agrees to it.
    fn approve(&mut self, tool: &Value) {
        self.agreed.insert(name(tool), pin(tool));
    }
}

/// All that a model or a rule goes by.
fn pin(tool: &Value) -> String {
    sorted(tool).to_string()
}

fn name(tool: &Value) -> String {
    tool["name"].as_str().unwrap_or_default().into()
}

/// The same value, whatever the order of its keys was.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let by_key: BTreeMap<_, _> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            Value::Object(by_key.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
