//! A prompt without any lesson, for the tests on a terminal: the model is the server at `MODEL`.
//! `:later` shows lines from elsewhere while the prompt is open, `:aside` asks the model beside the
//! conversation, `:ask` has a question come later, `:stream` shows words as a reply that arrives.
use rungs_core::{
    Agent, Chat, Client, Context, Error, Event, Layer, Message, NextAsk, Question, Reply, Request,
    Result,
    client::{Endpoint, Format},
    tools,
};
use rungs_terminal::{Interrupt, Prompt, Screen, Signals, TerminalModes};
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

/// Takes a line that is typed while a turn runs, and gives it back when the turn is stopped.
struct Steered;

impl Layer for Steered {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        let Some(typed) = cx.typed() else { return next.run(chat, cx).await };
        cx.notice("taken");
        let interrupt = cx.value::<Interrupt>().ok_or(Error::Cancelled)?;
        interrupt.requested().await;
        interrupt.give_back(typed.text());
        Err(Error::Cancelled)
    }
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
    let modes = TerminalModes::save();
    let signals = Signals::new(move || modes.restore()).map_err(Error::other)?;
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
    let agent = agent.command("stream", "shows so many words, one by one", async |_, count, cx| {
        for n in 0..count.trim().parse().unwrap_or(0) {
            cx.emit(Event::TextDelta(format!("word{n} ")));
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        cx.notice("end");
        Ok::<(), Error>(())
    });
    let agent = agent.command("ask", "asks a question later", async |_, millis, cx| {
        let millis = millis.trim().parse().unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let answer = cx.choose(Question::new("Sure?").choice("yes")).await;
        cx.notice(format!("{answer:?}"));
        Ok::<(), Error>(())
    });
    let agent = match std::env::var_os("HANGS") {
        Some(_) => agent.on_exit("never ends", Duration::from_secs(60), std::future::pending),
        None => agent,
    };
    let agent = match std::env::var_os("STEERED") {
        Some(_) => agent.wrap(Steered),
        None => agent,
    };
    let prompt = Prompt {
        name: "t".into(),
        help: "what there is to know".into(),
        suggestions: vec!["the suggestion".into()],
        plays_alone: true,
        last_line: "all was played".into(),
        history: std::env::var_os("HISTORY").map(PathBuf::from),
        ..Prompt::default()
    };
    Ok(prompt.run(agent, screen, signals, agent_loop).await)
}
