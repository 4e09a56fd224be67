//! What all servers offer together: the tools by their qualified names, what they cost, and words
//! to find them by.
use crate::{
    Person,
    approvals::Change,
    names::qualified,
    output::Output,
    person::shortened,
    server::{Server, Status},
    servers::Servers,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How many characters of a description a model gets, and those of a list and a question.
const MAX_DESCRIPTION_CHARS: usize = 2_000;
const MAX_ABOUT_CHARS: usize = 300;
/// Tokens are estimated: so many bytes of JSON are one.
const BYTES_PER_TOKEN: usize = 4;

/// A tool of a server that may be called.
#[derive(Clone)]
pub struct RemoteTool {
    /// Its server.
    pub server: Arc<Server>,
    /// Its [qualified](crate::qualified) name.
    pub name: String,
    /// What the server says of it.
    pub description: String,
    /// The schema of its arguments.
    pub schema: Value,
    /// Whether it only reads: its server says so, and is trusted.
    pub reads: bool,
    own_name: String,
}

/// What a tool that is sent like this costs in every request, in tokens, by estimate.
pub fn schema_tokens(spec: &impl Serialize) -> usize {
    rungs_json::size(spec) / BYTES_PER_TOKEN
}

impl RemoteTool {
    /// What it costs in every request, in tokens, by estimate.
    pub fn tokens(&self) -> usize {
        let RemoteTool { name, description, schema, .. } = self;
        schema_tokens(&json!({"name": name, "description": description, "input_schema": schema}))
    }

    /// Calls it. Dropping the call tells the server to stop.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn call(
        &self,
        arguments: Map<String, Value>,
        person: &impl Person,
    ) -> Result<Output, String> {
        self.server.call(&self.own_name, arguments, person).await
    }
}

impl Servers {
    /// All tools that may be called now, by server and in its order.
    pub fn tools(&self) -> Vec<RemoteTool> {
        let mut tools = vec![];
        for server in self.all() {
            for tool in server.lists().tools {
                let hint = tool.annotations.is_some_and(|hints| hints.read_only_hint == Some(true));
                tools.push(RemoteTool {
                    server: server.clone(),
                    name: qualified(&server.name, &tool.name),
                    description: shortened(
                        &tool.description.unwrap_or_default(),
                        MAX_DESCRIPTION_CHARS,
                    ),
                    schema: Value::Object(tool.input_schema.as_ref().clone()),
                    reads: hint && server.config.trusted,
                    own_name: tool.name.into_owned(),
                });
            }
        }
        tools
    }

    /// The tools that have the most of these words in name and description, and how many more have
    /// some.
    pub fn search(&self, query: &str, at_most: usize) -> (Vec<RemoteTool>, usize) {
        let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
        let mut found = vec![];
        for tool in self.tools() {
            let text = format!("{} {}", tool.name, tool.description).to_lowercase();
            let score = words.iter().filter(|word| text.contains(*word)).count();
            if score > 0 {
                found.push((score, tool));
            }
        }
        found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        let more = found.len().saturating_sub(at_most);
        (found.into_iter().take(at_most).map(|(_, tool)| tool).collect(), more)
    }

    /// A line for each resource and each form of their addresses.
    pub fn resources(&self) -> String {
        let mut lines = vec![];
        for server in self.all() {
            let lists = server.lists();
            let templates = lists.templates.iter().map(|t| (&t.uri_template, &t.description));
            let all = lists.resources.iter().map(|r| (&r.uri, &r.description)).chain(templates);
            lines.extend(all.map(|(uri, about)| {
                let about = shortened(about.as_deref().unwrap_or_default(), MAX_ABOUT_CHARS);
                format!("{} {uri} {about}", server.name)
            }));
        }
        if lines.is_empty() { "There are no resources.".into() } else { lines.join("\n") }
    }

    /// What a person types: nothing shows all that there is; `login NAME` signs in to a server.
    pub async fn command(&self, typed: &str, person: &impl Person) -> String {
        let words: Vec<&str> = typed.split_whitespace().collect();
        let server = match words[..] {
            [] => return self.overview(),
            ["login", name] => self.get(name),
            _ => None,
        };
        let Some(server) = server else { return "`login NAME` signs in to a server".into() };
        match server.login(person).await {
            Ok(()) => format!("signed in; the tools of {} come with a later prompt", server.name),
            Err(why) => format!("not signed in to {}: {why}", server.name),
        }
    }

    /// Servers, tools, and what each costs in every request.
    pub fn overview(&self) -> String {
        let (tools, mut lines) = (self.tools(), vec![]);
        for server in self.all() {
            let status = match server.status() {
                Status::Starting => "is starting".into(),
                Status::Connected(revision) => format!("is connected (MCP {revision})"),
                Status::Failed(why) => format!("failed: {why}"),
            };
            lines.push(format!("{} {status}", server.name));
            for tool in tools.iter().filter(|tool| tool.server.name == server.name) {
                lines.push(format!("  {} ({} tokens)", tool.name, tool.tokens()));
            }
            lines.extend(server.withheld().iter().map(|change| {
                format!("  {} is withheld: it has changed, and nobody has agreed yet", change.tool)
            }));
            let lists = server.lists();
            lines.extend(lists.prompts.iter().map(|prompt| {
                let arguments = prompt.arguments.iter().flatten();
                let arguments: String = arguments.map(|a| format!(" {}=..", a.name)).collect();
                format!("  :prompt {} {}{arguments}", server.name, prompt.name)
            }));
            lines.extend(lists.resources.iter().map(|resource| format!("  {}", resource.uri)));
            lines.extend(server.faults().iter().map(|fault| format!("  {fault}")));
        }
        let sum: usize = tools.iter().map(RemoteTool::tokens).sum();
        let most = self.max_schema_tokens();
        let deferred = if sum > most { ": they are deferred" } else { "" };
        lines.push(format!("{sum} tokens in each request, of at most {most}{deferred}"));
        lines.join("\n")
    }
}

impl Server {
    /// What a person who is asked about changes has to know: a line for each.
    pub fn describe(&self, changes: &[Change]) -> String {
        let mut text = format!("the MCP server {} has changed what it offers:", self.name);
        for change in changes {
            let kind = if change.is_new { "new" } else { "changed" };
            let about = shortened(&change.description, MAX_ABOUT_CHARS);
            text.push_str(&format!("\n  {} ({kind}): {about}", change.tool));
        }
        text
    }
}
