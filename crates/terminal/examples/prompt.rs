//! A prompt without any lesson, for the tests on a terminal: the model is the server at `MODEL`.
//! `:later` shows lines from elsewhere while the prompt is open, `:aside` asks the model beside the
//! conversation.
use rungs_core::{
    Agent, Chat, Client, Error, Message, Reply, Request, Result,
    client::{Endpoint, Format},
    tools,
};
use rungs_terminal::{Prompt, Screen, Signals};
use std::{path::PathBuf, process::ExitCode, time::Duration};

async fn agent_loop(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    loop {
        let reply = agent.ask(chat).await?;
        chat.push(reply.message.clone());
        if reply.calls().is_empty() {
            return Ok(reply);
        }
        let results = agent.act(reply.calls()).await;
        chat.push(results);
    }
}

/// `:later MILLISECONDS CHILD TEXT`: after that time `CHILD` says each line of `TEXT`, which `|`
/// separates; `main` is the agent itself.
fn later(args: &str, agent: Agent) {
    let mut words = args.splitn(3, ' ').map(String::from);
    let millis = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let (child, text) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let speaker = if child == "main" { agent } else { agent.lasting_child(&child, &[]) };
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        for line in text.split('|') {
            speaker.context().notice(line);
        }
    });
}

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::stdio();
    let code = run(screen.clone()).await.unwrap_or_else(|error| {
        screen.say(&error.to_string());
        1
    });
    ExitCode::from(code)
}

async fn run(screen: Screen) -> Result<u8> {
    let signals = Signals::new(|| {}).map_err(Error::other)?;
    let folder = std::env::current_dir().map_err(Error::other)?;
    let url = std::env::var("MODEL").unwrap_or_default();
    let client = Client::new(Endpoint::new(Format::Anthropic, &url, "model"))?;
    screen.cost_by(|usage| Some((usage.input_tokens + usage.output_tokens) as f64));
    let agent = tools::all(Agent::new(client, folder).ui(screen.clone()));
    let agent = agent.command("later", "says something later", async move |_, args, cx| {
        later(args, cx.agent.clone());
        Ok::<(), Error>(())
    });
    let agent = agent.command("aside", "asks the model", async |_, text, cx| {
        let mut chat = Chat::default();
        chat.push(Message::user(text));
        cx.side_request(Request::of(&chat)).await.map(drop)
    });
    let prompt = Prompt {
        name: "t".into(),
        help: "what there is to know".into(),
        suggestions: vec!["the suggestion".into()],
        plays_alone: true,
        last_line: "all was played".into(),
        history: std::env::var_os("HISTORY").map(PathBuf::from),
        question: None,
        chat: Default::default(),
    };
    Ok(prompt.run(agent, screen, signals, agent_loop).await)
}
