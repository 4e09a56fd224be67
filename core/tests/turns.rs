//! Turns as core runs them: what a refusal takes back, what a turn's token stops, what layers see.
use futures_util::StreamExt;
use rehearsal::{Scene, Server, Turn, call, calls, say, scene, script};
use rungs_core::{
    Agent, AnyModel, AnyTool, Block, Chat, Client, Context, Delta, Effect, Error, Event, Layer,
    Message, Model, NextAsk, NextSend, NextTurn, Recorder, Reply, Request, Result, State, Tool,
    ToolCall, ToolError, ToolOutput, ToolSpec,
    client::{Endpoint, Format},
    tools,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

async fn agent_loop(agent: &Agent, chat: &mut Chat) -> Result<Reply> {
    loop {
        let reply = agent.ask(chat).await?;
        chat.push(reply.message.clone());
        let calls = reply.calls();
        if calls.is_empty() {
            return Ok(reply);
        }
        chat.push(agent.act(calls).await);
    }
}

async fn agent(scenes: impl IntoIterator<Item = Scene>) -> (Agent, Server) {
    let server = script(scenes).record(true).serve().await.unwrap();
    let endpoint = Endpoint::new(Format::Anthropic, server.url(), "rehearsal");
    (Agent::new(Client::new(endpoint).unwrap(), "/project"), server)
}

fn refused() -> Turn {
    say("never").fault(json!({"status": 400, "message": "no", "times": "always"}))
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Count(u32);

impl State for Count {
    const NAME: &'static str = "count";
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Counter {
    /// Counts.
    CountUp {},
    /// Stops the turn.
    Stop {},
}

/// Adds tools that change the conversation's state and stop the turn.
fn counting(agent: Agent) -> Agent {
    async fn run(_: &(), call: Counter, cx: &Context) -> Result<String, ToolError> {
        match call {
            Counter::CountUp {} => {
                let count = cx.update(|count: &mut Count| {
                    count.0 += 1;
                    count.0
                });
                Ok(format!("counted {count}"))
            }
            Counter::Stop {} => {
                cx.cancel().cancel();
                Ok("stopped".into())
            }
        }
    }
    agent.tools((), |_: &Counter| Effect::Internal, run)
}

fn texts(message: &Message) -> Vec<&str> {
    message.blocks().filter_map(Block::as_text).collect()
}

#[tokio::test]
async fn a_refused_prompt_is_withdrawn_with_its_states() {
    let scenes = [scene("^hello$", [say("hi")]), scene("^poison$", [refused()])];
    let (agent, _server) = agent(scenes).await;
    let ui = Arc::new(Recorder::default());
    let agent = agent.ui(ui.clone()).wrap(CountTurns);
    let mut chat = Chat::default();
    agent.run(&mut chat, "hello", agent_loop).await.unwrap();
    let before = chat.messages().to_vec();
    let error = agent.run(&mut chat, "poison", agent_loop).await.unwrap_err();
    assert!(error.withdraws(), "{error}");
    assert_eq!((chat.messages(), chat.state::<Count>().0), (&before[..], 1));
    let told = "main: notice the conversation goes on without that prompt and what came of it";
    assert!(ui.take().contains(&told.to_string()));
}

/// Counts turns in the conversation's state.
struct CountTurns;

impl Layer for CountTurns {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        cx.update(|count: &mut Count| count.0 += 1);
        next.run(chat, cx).await
    }
}

#[tokio::test]
async fn a_refusal_late_in_a_turn_returns_to_the_last_step_that_was_accepted() {
    let up = || call("count_up", json!({}));
    let scenes = [scene("^go$", [up(), up(), refused()]), scene("^what", [say("two steps")])];
    let (agent, server) = agent(scenes).await;
    let agent = counting(agent);
    let mut chat = Chat::default();
    agent.run(&mut chat, "go", agent_loop).await.unwrap_err();
    // The prompt, the first call and its result are known; the second result was refused.
    let lines: Vec<String> =
        chat.messages().iter().map(|message| texts(message).concat()).collect();
    assert!(lines[0].ends_with("go") && lines[2] == "counted 1", "{lines:?}");
    assert!(lines[4].starts_with("This result was withdrawn"), "{lines:?}");
    assert_eq!((lines.len(), chat.state::<Count>().0), (5, 1));
    agent.run(&mut chat, "what did you do?", agent_loop).await.unwrap();
    assert_eq!(server.requests().last().unwrap().status, 200);
}

/// Refuses every request that holds this word, which it says itself.
struct Poison;

impl Model for Poison {
    async fn reply(&self, request: &Request, _: &Context) -> Result<Reply> {
        if request.messages.iter().any(|message| message.text().contains("poison")) {
            return Err(Error::Api {
                host: "here".into(),
                status: 400,
                kind: "odd".into(),
                message: "odd".into(),
                request_id: None,
                retry_after: None,
            });
        }
        let said = if request.messages.len() == 3 { "poison" } else { "sound" };
        Ok(Reply::new(vec![Block::text(said)]))
    }
}

#[tokio::test]
async fn a_reply_that_the_server_refuses_gives_way_when_it_stands_in_the_way_of_every_prompt() {
    let agent = Agent::new(Poison, "/project");
    let mut chat = Chat::default();
    for prompt in ["one", "two"] {
        agent.run(&mut chat, prompt, agent_loop).await.unwrap();
    }
    let before = chat.messages().to_vec();
    // The prompt might be at fault, so nothing else is taken out for it.
    agent.run(&mut chat, "three", agent_loop).await.unwrap_err();
    assert_eq!(chat.messages(), before);
    assert_eq!(agent.run(&mut chat, "four", agent_loop).await.unwrap().text(), "poison");
    let typed: Vec<&str> = chat.messages().iter().flat_map(|message| message.typed()).collect();
    assert_eq!(typed, ["one", "two", "four"]);
}

#[tokio::test]
async fn a_file_that_was_read_only_in_a_withdrawn_step_counts_as_unread() {
    let read = || call("read", json!({"file_path": "f"}));
    let write = || call("write", json!({"file_path": "f", "content": "new"}));
    let scenes = [
        scene("^look$", [read(), refused()]),
        scene("^write$", [write(), say("{{ results[0].text }}")]),
        scene("^read first$", [read(), write(), say("{{ results[0].text }}")]),
    ];
    let (agent, _server) = agent(scenes).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "old").unwrap();
    let agent = tools::all(agent.in_dir(dir.path()));
    let mut chat = Chat::default();
    agent.run(&mut chat, "look", agent_loop).await.unwrap_err();
    let reply = agent.run(&mut chat, "write", agent_loop).await.unwrap();
    assert_eq!(reply.text(), "f: it exists, and it has not been read; read it first");
    let reply = agent.run(&mut chat, "read first", agent_loop).await.unwrap();
    assert_eq!(reply.text(), "replaced f: 1 line");
}

#[tokio::test]
async fn what_may_pass_is_kept_and_the_next_prompt_follows_it() {
    let down = say("x").fault(json!({"status": 401, "times": "always"}));
    let scenes = [scene("^first$", [down]), scene("^second$", [say("both")])];
    let (agent, server) = agent(scenes).await;
    let mut chat = Chat::default();
    agent.run(&mut chat, "first", agent_loop).await.unwrap_err();
    agent.run(&mut chat, "second", agent_loop).await.unwrap();
    let sent = server.requests().pop().unwrap().body["messages"].take();
    assert_eq!(sent.as_array().unwrap().len(), 1);
    assert_eq!(sent[0]["content"][2]["text"], "second");
}

/// Puts a copy of the chat in its place, in `ask` or in `turn`, before or after.
struct Swap(usize);

impl Swap {
    fn swap(&self, place: usize, chat: &mut Chat) {
        if self.0 == place {
            *chat = chat.clone();
        }
    }
}

impl Layer for Swap {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        self.swap(0, chat);
        let reply = next.run(chat, cx).await;
        self.swap(1, chat);
        reply
    }
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        self.swap(2, chat);
        let reply = next.run(chat, cx).await;
        self.swap(3, chat);
        reply
    }
}

/// Counts through the context wherever it can.
struct CountEverywhere;

impl Layer for CountEverywhere {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        cx.update(|count: &mut Count| count.0 += 1);
        let reply = next.run(chat, cx).await;
        cx.update(|count: &mut Count| count.0 += 1);
        reply
    }
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        cx.update(|count: &mut Count| count.0 += 1);
        let reply = next.run(chat, cx).await;
        cx.update(|count: &mut Count| count.0 += 1);
        reply
    }
}

#[tokio::test]
async fn every_layer_sees_the_states_of_whatever_chat_is_there() {
    for place in 0..4 {
        let (agent, _server) = agent([scene(".", [say("a")])]).await;
        let agent = agent.wrap(CountEverywhere).wrap(Swap(place)).wrap(CountEverywhere);
        for prompt in ["one", "two"] {
            let mut chat = Chat::default();
            agent.run(&mut chat, prompt, agent_loop).await.unwrap();
            assert_eq!(chat.state::<Count>().0, 8, "{place} {prompt}");
        }
    }
}

#[tokio::test]
async fn two_conversations_at_once_have_states_of_their_own() {
    let turns = [call("count_up", json!({})), say("{{ results[0].text }}")];
    let (agent, _server) = agent([scene(".", turns)]).await;
    let agent = counting(agent);
    let (mut one, mut two) = (Chat::default(), Chat::default());
    let (a, b) = tokio::join!(
        agent.run(&mut one, "one", agent_loop),
        agent.run(&mut two, "two", agent_loop)
    );
    assert_eq!([a.unwrap().text(), b.unwrap().text()], ["counted 1", "counted 1"]);
}

/// Keeps the tokens that it sees in a turn, and children made there.
#[derive(Default)]
struct Tokens(Mutex<Vec<(Context, [Agent; 2])>>);

impl Layer for Tokens {
    async fn turn(&self, chat: &mut Chat, cx: &Context, next: NextTurn<'_>) -> Result<Reply> {
        let children = [cx.agent.child("sub", &[]), cx.agent.lasting_child("mate", &[])];
        assert!(!cx.cancel().is_cancelled());
        let seen = (cx.clone(), children);
        self.0.lock().unwrap().push(seen);
        next.run(chat, cx).await
    }
}

#[tokio::test]
async fn a_turn_ends_its_own_token_and_subagents_but_no_teammates() {
    let (agent, _server) = agent([scene(".", [say("a")])]).await;
    let tokens = Arc::new(Tokens::default());
    let agent = agent.wrap_shared(tokens.clone());
    agent.run(&mut Chat::default(), "go", agent_loop).await.unwrap();
    let (cx, [sub, mate]) = tokens.0.lock().unwrap().pop().unwrap();
    let watched = [
        cx.cancel().clone(),
        sub.context().shutdown().clone(),
        mate.context().shutdown().clone(),
        cx.shutdown().clone(),
    ];
    let fired = || watched.iter().map(|token| token.is_cancelled()).collect::<Vec<_>>();
    assert_eq!(fired(), [true, true, false, false]);
    assert_eq!([sub.name(), mate.name()], ["main/sub", "main/mate"]);
    drop((agent, cx));
    assert_eq!(fired(), [true; 4]);
}

#[tokio::test]
async fn a_stopped_turn_calls_and_asks_nothing_more() {
    let stops = [calls([("stop", json!({})), ("stop", json!({}))]), say("never")];
    let (agent, server) = agent([scene("^go$", stops)]).await;
    let mut chat = Chat::default();
    let end = counting(agent).run(&mut chat, "go", agent_loop).await;
    assert!(matches!(end, Err(Error::Cancelled)));
    assert_eq!(texts(&chat.messages()[2]), ["stopped", "not run: the turn was stopped"]);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_dropped_turn_leaves_a_valid_chat() {
    let scenes = [scene("^a$", [say("late").delay_ms(60_000)]), scene("^b$", [say("b")])];
    let (agent, server) = agent(scenes).await;
    let mut chat = Chat::default();
    tokio::select! {
        end = agent.run(&mut chat, "a", agent_loop) => panic!("{end:?}"),
        () = async {
            while server.requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    assert_eq!(agent.run(&mut chat, "b", agent_loop).await.unwrap().text(), "b");
}

#[tokio::test]
async fn a_new_conversation_opens_with_the_environment_which_survives_compaction() {
    let (agent, _server) = agent([scene("^go$", [say("a")])]).await;
    let mut chat = Chat::default();
    agent.run(&mut chat, "go", agent_loop).await.unwrap();
    let first = &chat.messages()[0].content[0];
    assert!(first.as_text().unwrap().contains("working directory: /project\n"));
    assert!(first.origin().is_some_and(|origin| origin.name == "environment" && origin.keep));
    assert_eq!(chat.messages()[0].typed().collect::<Vec<_>>(), ["go"]);
}

#[tokio::test]
async fn a_command_that_speaks_first_speaks_after_the_environment() {
    let (agent, _server) = agent([scene("^hi$", [say("hello")])]).await;
    let note = async |chat: &mut Chat, _: &str, _: &Context| {
        chat.push(Message::inserted("note", "a note"));
        Ok(())
    };
    let agent = agent.command("note", "adds a note", note);
    let mut chat = Chat::default();
    agent.run_command("note", "", &mut chat).await.unwrap().unwrap();
    agent.run(&mut chat, "hi", agent_loop).await.unwrap();
    let first = texts(&chat.messages()[0]);
    assert!(first[0].starts_with("<environment>\nworking directory: /project\n"));
    assert_eq!(first[1..], ["a note", "hi"]);
}

#[tokio::test(start_paused = true)]
async fn exit_functions_run_concurrently_each_with_its_own_timeout() {
    let (done, ended) = tokio::sync::oneshot::channel();
    let (agent, _server) = agent([]).await;
    let agent = agent
        .on_exit("slow", Duration::from_secs(60), std::future::pending)
        .on_exit("bad", Duration::from_secs(1), async || panic!("on purpose"))
        .on_exit("short", Duration::from_millis(20), std::future::pending)
        .on_exit("good", Duration::from_secs(4), async move || {
            tokio::time::sleep(Duration::from_secs(3)).await;
            done.send(()).unwrap();
        });
    let began = tokio::time::Instant::now();
    let failures = agent.exit().await;
    let expected =
        ["slow did not end within 5000 ms", "bad failed", "short did not end within 20 ms"];
    assert_eq!(failures, expected);
    assert_eq!((ended.await, began.elapsed().as_secs()), (Ok(()), 5));
    assert!(agent.context().shutdown().is_cancelled());
}

/// Shows its reply while it comes.
struct Streaming(AnyModel);

impl Model for Streaming {
    async fn reply(&self, request: &Request, cx: &Context) -> Result<Reply> {
        let mut deltas = self.0.stream(request, cx).await?;
        let mut text = String::new();
        while let Some(delta) = deltas.next().await {
            if let Delta::Text { text: more, .. } = delta? {
                text.push_str(&more);
                cx.emit(Event::TextDelta(more));
            }
        }
        Ok(Reply::new(vec![Block::text(text)]))
    }
}

/// Asks twice, and takes the second reply.
struct Twice;

impl Layer for Twice {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        next.run(chat, cx).await?;
        next.run(chat, cx).await
    }
}

#[tokio::test]
async fn a_reply_is_shown_once_and_shown_deltas_without_a_reply_are_discarded() {
    for (turn, layers, expected) in [
        (say("fine"), 0, vec!["delta", "reply fine"]),
        (say("fine"), 1, vec!["delta", "reply discarded", "delta", "reply fine"]),
        (
            say("some words of a reply").fault(json!({"cut_after": 5, "times": "always"})),
            0,
            vec!["delta", "reply discarded"],
        ),
    ] {
        let (agent, _server) = agent([scene(".", [turn])]).await;
        let ui = Arc::new(Recorder::default());
        let mut agent = agent.model(Streaming).ui(ui.clone());
        for _ in 0..layers {
            agent = agent.wrap(Twice);
        }
        let _ = agent.run(&mut Chat::default(), "go", agent_loop).await;
        let mut shown: Vec<String> = ui.take();
        for line in &mut shown {
            *line = line.trim_start_matches("main: ").to_string();
            if line.starts_with("delta") {
                *line = "delta".into();
            }
        }
        shown.dedup();
        assert_eq!(shown, expected);
    }
}

/// Says its name.
#[derive(Deserialize, JsonSchema)]
struct Nothing {}

struct Named(&'static str);

impl Tool for Named {
    type Input = Value;
    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<Nothing>(self.0)
    }
    fn effect(&self, _: &Value) -> Effect {
        Effect::Reads
    }
    async fn call(&self, _: Value, _: &Context) -> Result<ToolOutput, ToolError> {
        Ok(self.0.into())
    }
}

#[tokio::test]
async fn tools_of_a_source_are_listed_once_a_turn_and_children_may_lack_them() {
    let turns = [call("two", json!({})), call("two", json!({})), say("{{ results[0].text }}")];
    let (agent, server) = agent([scene("^go$", turns), scene(".", [say("a")])]).await;
    let there = Arc::new(Mutex::new(vec!["one", "two"]));
    let listed = there.clone();
    let agent = agent.tool(Named("one")).source(move || {
        let names = listed.lock().unwrap();
        names.iter().map(|name| AnyTool::new(Named(name))).collect()
    });
    // It goes away in the middle of a turn, which does not notice.
    let gone = there.clone();
    let agent = agent.listen(move |event, _| {
        if matches!(event, Event::Call(..)) {
            gone.lock().unwrap().clear();
        }
    });
    let mut chat = Chat::default();
    assert_eq!(agent.run(&mut chat, "go", agent_loop).await.unwrap().text(), "two");
    *there.lock().unwrap() = vec!["two", "three"];
    let child = agent.child("sub", &["two", "one"]);
    child.run(&mut Chat::default(), "list", agent_loop).await.unwrap();
    let names = |body: &Value| {
        let tools = body["tools"].as_array().unwrap().clone();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let bodies: Vec<Value> = server.requests().into_iter().map(|seen| seen.body).collect();
    assert_eq!([names(&bodies[0]), names(&bodies[2])], [["one", "two"], ["one", "two"]]);
    assert_eq!(names(&bodies[3]), ["three"]);
}

struct Budget(u32);

/// Notes the budget that a call sees.
#[derive(Default)]
struct SeenBudget(Mutex<Vec<Option<u32>>>);

impl Layer for SeenBudget {
    async fn send(&self, request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        self.0.lock().unwrap().push(cx.value::<Budget>().map(|budget| budget.0));
        next.run(request, cx).await
    }
}

#[tokio::test]
async fn a_value_reaches_the_whole_turn_and_no_child() {
    let (agent, _server) = agent([scene(".", [say("a")])]).await;
    let seen = Arc::new(SeenBudget::default());
    let agent = agent.wrap_shared(seen.clone()).with(Budget(7));
    agent.run(&mut Chat::default(), "go", agent_loop).await.unwrap();
    for child in [agent.child("sub", &[]), agent.child("sub", &[]).with(Budget(3))] {
        child.run(&mut Chat::default(), "go", agent_loop).await.unwrap();
    }
    assert_eq!(*seen.0.lock().unwrap(), [Some(7), None, Some(3)]);
}

#[tokio::test]
async fn layers_are_arranged_by_one_order_which_must_name_them_all() {
    let (agent, _server) = agent([]).await;
    let agent = agent.wrap(Twice).wrap(Swap(9)).wrap(CountTurns);
    assert_eq!(agent.layers(), ["CountTurns", "Swap", "Twice"]);
    let order = ["Twice", "Elsewhere", "CountTurns", "Swap"];
    let arranged = agent.clone().arrange(order).unwrap();
    assert_eq!(arranged.layers(), ["Twice", "CountTurns", "Swap"]);
    let error = agent.arrange(["Swap", "CountTurns"]).unwrap_err();
    assert_eq!(error, "the order of layers leaves out Twice");
}

#[tokio::test]
async fn a_panic_in_a_tool_is_a_result() {
    struct Panics;
    impl Tool for Panics {
        type Input = Nothing;
        fn spec(&self) -> ToolSpec {
            ToolSpec::of::<Nothing>("panics")
        }
        fn effect(&self, _: &Nothing) -> Effect {
            Effect::Anything
        }
        async fn call(&self, _: Nothing, _: &Context) -> Result<ToolOutput, ToolError> {
            panic!("on purpose")
        }
    }
    let (agent, _server) = agent([]).await;
    let call = ToolCall { id: "1".into(), name: "panics".into(), input: json!({}) };
    let results = agent.tool(Panics).act(vec![call]).await;
    assert_eq!(texts(&results), ["`panics` panicked: on purpose"]);
}

#[tokio::test]
async fn a_tool_may_show_the_person_another_text_than_the_model_reads() {
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Letters {
        /// Lists them.
        List {},
        /// Does not show anything of its own.
        Count {},
        /// Fails.
        Fail {},
    }
    async fn run(_: &(), call: Letters, cx: &Context) -> Result<String, ToolError> {
        if !matches!(call, Letters::Count {}) {
            cx.show_result("ann → bob: hi");
        }
        match call {
            Letters::List {} => Ok("<mail from=\"ann\">hi</mail>".into()),
            Letters::Count {} => Ok("1".into()),
            Letters::Fail {} => Err(ToolError("no mailbox".into())),
        }
    }
    let (agent, _server) = agent([]).await;
    let screen = Arc::new(Recorder::default());
    let agent = agent.tools((), |_: &Letters| Effect::Reads, run).ui(screen.clone());
    let call = |name: &str| ToolCall { id: name.into(), name: name.into(), input: json!({}) };
    let results = agent.act(["list", "count", "fail"].map(call).into()).await;
    assert_eq!(texts(&results), ["<mail from=\"ann\">hi</mail>", "1", "no mailbox"]);
    let shown = screen.take();
    let shown: Vec<&String> = shown.iter().filter(|line| line.contains("result")).collect();
    let expected = ["main: result ann → bob: hi", "main: result 1", "main: result no mailbox"];
    assert_eq!(shown, expected);
}
