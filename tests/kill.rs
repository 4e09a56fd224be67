//! kill -9 at any moment: what was acknowledged is there, and every file can be read.
mod common;

use rehearsal::{Script, Server};
use rungs_core::Chat;
use rungs_mailbox::Mailbox;
use rungs_tasks::{Board, Status, Task};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// How often each lesson is killed.
const TIMES: u32 = 100;

fn serve(runtime: &tokio::runtime::Runtime, scenes: &str) -> Server {
    let script = Script::parse("script", &format!("scenes: [{scenes}]")).unwrap();
    runtime.block_on(script.record(true).serve()).unwrap()
}

fn start(lesson: &str, server: &Server, model: &str, folder: &Path) -> Child {
    let mut command = common::lesson(lesson);
    command.arg("go").current_dir(folder).env("RUNGS_PROVIDER", "anthropic");
    command.env("ANTHROPIC_BASE_URL", server.url()).env("MODEL_ID", model);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills it after a while that differs from time to time, from before its first request to somewhere in its work.
fn kill_after(mut child: Child, i: u32) {
    std::thread::sleep(Duration::from_millis(5) + Duration::from_micros(u64::from(i) * 1370));
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn the_board_of_s07_keeps_what_it_has_told() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".rungs/s07_task_system/tasks.jsonl");
    let mut told = 0;
    let start_of_all = Instant::now();
    for i in 0..TIMES / 2 {
        let server = serve(
            &runtime,
            "{when: ^go$, turns: [{repeat: 200, call: [{task_create: {subject: 'task {{ n }}'}}]}]}",
        );
        // Two at once, on the same board.
        let two = [
            start("s07_task_system", &server, "m", folder.path()),
            start("s07_task_system", &server, "m", folder.path()),
        ];
        two.into_iter().for_each(|child| kill_after(child, i));
        // What the model was told is in the requests.
        for seen in server.seen() {
            let text = seen.body["messages"].as_array().unwrap().last().unwrap().to_string();
            let ids = text
                .split("created #")
                .skip(1)
                .filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
            told = ids.fold(told, u64::max);
        }
        let (board, word) = Board::open(&file).unwrap();
        assert_eq!(word, None);
        let found = board
            .look(|state| (1..=told).filter(|id| state.get(*id).is_err()).collect::<Vec<_>>())
            .unwrap();
        assert_eq!(found, Vec::<u64>::new(), "of {told}");
    }
    assert!(
        told > 20,
        "it was always killed before it did anything, in {:?}",
        start_of_all.elapsed()
    );
}

#[test]
fn the_files_of_s06_can_be_read() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".rungs/s06_context_compact");
    // What a killed write leaves behind is hidden, and nobody reads it.
    let files = |folder: &Path| -> Vec<std::path::PathBuf> {
        let entries =
            std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries
            .filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'))
            .collect()
    };
    let read = |paths: Vec<std::path::PathBuf>| -> Vec<String> {
        paths.into_iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
    let transcripts = || read(files(&state.join("transcripts")));
    // A folder for each conversation.
    let results =
        || read(files(&state.join("results")).iter().flat_map(|folder| files(folder)).collect());
    for i in 0..TIMES {
        // The rehearsal's window is small, so room is made again and again.
        let server = serve(
            &runtime,
            "{when: ^Summarise, turns: [{say: a short summary}]},
             {when: ^go$, turns: [{repeat: 200, say: more, call: [{bash: {command: 'seq 100000 102000 # {{ n }}'}}]}]}",
        );
        kill_after(start("s06_context_compact", &server, "rehearsal", folder.path()), i);
        for transcript in transcripts() {
            let chat: Chat = serde_json::from_str(&transcript).unwrap();
            assert!(chat.messages().len() > 1);
        }
        assert!(results().iter().all(|text| text.ends_with("102000\n")));
        let memory =
            std::fs::read_to_string(state.join("memory.md")).unwrap_or("a short summary".into());
        assert_eq!(memory, "a short summary");
    }
    assert!(
        !transcripts().is_empty() && !results().is_empty(),
        "room was never made before the kill"
    );
}

/// Kills it at a random moment after so many requests, however fast the machine is.
fn kill_after_requests(mut child: Child, server: &Server, requests: u32) {
    while server.count() < requests as usize && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(500));
    }
    std::thread::sleep(Duration::from_micros(RandomState::new().hash_one(0) % 3000));
    let _ = child.kill();
    child.wait().unwrap();
}

/// The texts of what the model was told in this request: the results of the newest message.
fn results(body: &Value) -> Vec<String> {
    let newest = body["messages"].as_array().unwrap().last().unwrap();
    let blocks = newest["content"].as_array().into_iter().flatten();
    blocks.filter_map(|block| Some(block["content"][0]["text"].as_str()?.to_string())).collect()
}

#[test]
fn no_letter_of_s09_is_lost_that_was_said_to_be_sent() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let boxes = folder.path().join(".rungs/s09_agent_teams/team-1");
    let mut told = 0;
    for i in 0..TIMES {
        // Two teammates write to each other and to the lead as fast as they can.
        let hire = |name: &str| {
            format!("{{spawn_teammate: {{name: {name}, role: writes, prompt: 'begin'}}}}")
        };
        let write = |from: &str, to: &str| {
            format!(
                "{{when: '{to}.>', turns: [{{repeat: 40, call: [{{send_message: {{to: {to}, text: 'run {i}, {from} {{{{ n }}}}'}}}},
                 {{send_message: {{to: lead, text: 'run {i}, {from} {{{{ n }}}}'}}}}]}}, {{say: x}}]}}"
            )
        };
        let server = serve(
            &runtime,
            &format!(
                "{{when: ^go$, turns: [{{call: [{}, {}]}}, {{say: x}}]}}, {{when: '(ann|bob).>[^<]*run', turns: [{{say: heard}}]}},
                 {{when: 'lead.>', turns: [{{repeat: 40, call: [{{broadcast: {{text: 'run {i}, all {{{{ n }}}}'}}}}]}}, {{say: x}}]}}, {}, {}",
                hire("ann"),
                hire("bob"),
                write("ann", "bob"),
                write("bob", "ann"),
            ),
        );
        kill_after_requests(start("s09_agent_teams", &server, "m", folder.path()), &server, i);
        // What was said to be sent is in the boxes, whole, once for each time it was sent.
        let mut sent: BTreeMap<(String, String), usize> = BTreeMap::new();
        for seen in server.seen() {
            let asked = seen.body["messages"].as_array().unwrap();
            let calls = asked.iter().rev().nth(1).and_then(|message| message["content"].as_array());
            let calls = calls.into_iter().flatten().filter(|block| block["type"] == "tool_use");
            for (call, result) in calls.zip(results(&seen.body)) {
                let text = call["input"]["text"].as_str().unwrap_or_default();
                let to = result.strip_prefix("sent to ").unwrap_or_default();
                for to in to.split(", ").filter(|to| !to.is_empty()) {
                    *sent.entry((to.into(), text.into())).or_default() += 1;
                }
            }
        }
        told += sent.values().sum::<usize>();
        for name in ["ann", "bob", "lead"] {
            let mut inbox = Mailbox::open(&boxes, name).unwrap();
            let letters = inbox.newest(usize::MAX).unwrap();
            let ids: Vec<u64> = letters.iter().map(|letter| letter.id.number).collect();
            assert!(ids.is_sorted_by(|a, b| a < b), "{name}: {ids:?}");
            for ((to, text), count) in sent.iter().filter(|((to, _), _)| to == name) {
                let found = letters.iter().filter(|letter| letter.text == *text).count();
                assert!(found >= *count, "{text:?} to {to}: {found} of {count}");
            }
            // Nothing is torn that was said to be there; what was being written is set aside, and said.
            assert!(
                inbox.receive(&[].into()).unwrap().damage.iter().all(|word| word.contains("torn")),
                "{name}"
            );
        }
    }
    assert!(told > 500, "only {told} letters were sent before the kills");
}

#[test]
fn no_task_of_s11_is_lost_or_done_twice() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".rungs/s11_autonomous_agents/tasks.jsonl");
    let tasks = 3000;
    let (board, _) = Board::open(&file).unwrap();
    let new = |id| Task { id, subject: format!("task {id}"), ..Task::default() };
    board.change(|_| Ok(((1..=tasks).map(new).collect(), ()))).unwrap();
    let mut done: BTreeMap<u64, Task> = BTreeMap::new();
    for i in 0..TIMES {
        let hire = |name: &str| {
            format!("{{spawn_teammate: {{name: {name}, role: works, prompt: begin}}}}")
        };
        let server = serve(
            &runtime,
            &format!(
                "{{when: ^go$, turns: [{{call: [{}, {}]}}, {{say: x}}]}}, {{when: 'lead.>', turns: [{{say: x}}]}},
                 {{when: '(ann|bob).>', turns: [{{say: heard}}]}},
                 {{when: '<task id=.(\\d+)', turns: [{{call: [{{finish_task: {{result: 'run {i} did {{{{ m[1] }}}}'}}}}]}}, {{say: x}}]}}",
                hire("ann"),
                hire("bob")
            ),
        );
        kill_after_requests(
            start("s11_autonomous_agents", &server, "m", folder.path()),
            &server,
            i,
        );
        let all: Vec<Task> = board.look(|tasks| tasks.all().cloned().collect()).unwrap();
        assert_eq!(all.len() as u64, tasks);
        for (id, before) in &done {
            assert_eq!(all[*id as usize - 1], *before, "it was done, and then changed");
        }
        // Whatever the model was told is done is done, by this run.
        for seen in server
            .seen()
            .iter()
            .filter(|seen| results(&seen.body).iter().any(|result| result == "noted"))
        {
            let asked = seen.body["messages"].as_array().unwrap();
            let result = asked.iter().rev().nth(1).unwrap()["content"][0]["input"]["result"]
                .as_str()
                .unwrap()
                .to_string();
            let id: usize = result.rsplit(' ').next().unwrap().parse().unwrap();
            assert_eq!(
                (all[id - 1].status, all[id - 1].result.as_ref()),
                (Status::Done, Some(&result))
            );
        }
        done.extend(
            all.into_iter().filter(|task| task.status == Status::Done).map(|task| (task.id, task)),
        );
    }
    // Those that a killed teammate held wait for their lease to run out; all others are done or can be.
    let left = board
        .look(|tasks| tasks.all().filter(|task| task.status == Status::InProgress).count())
        .unwrap();
    assert!(done.len() > 500 && left <= 2 * TIMES as usize, "{} done, {left} held", done.len());
    drop(board);
    assert_eq!(Board::open(&file).unwrap().1, None);
}
