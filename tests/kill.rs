//! SIGKILL at random moments: what was acknowledged is on the disk, and every file can be read.
//!
//! The short form is the default. `LONG=1 cargo test --test kill` kills each lesson 100 times.
mod common;

use durable::Folder;
use rehearsal::{Scene, Server, Turn, call, calls, say, scene, script};
use rungs_core::Chat;
use rungs_mailbox::Mailbox;
use rungs_sessions::{Redactor, Sessions};
use rungs_tasks::{Board, Status, Task};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// The kills of each lesson in the long form.
const LONG_KILLS: u32 = 100;
/// The kills of each lesson in the short form.
const SHORT_KILLS: u32 = 15;
/// The longest time in which a lesson sends the requests after which it is killed.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(60);
/// The time from a start to the first request, about; it bounds the delay of kills before that.
const START_TIME: Duration = Duration::from_millis(20);
/// The longest delay of a kill after a request. A whole step of a lesson fits into it.
const MAX_KILL_DELAY: Duration = Duration::from_millis(50);

/// How often this test kills its lesson; says which form that is.
fn kills(test: &str) -> u32 {
    let long = env::var("LONG").is_ok_and(|value| value == "1");
    let (kills, form) =
        if long { (LONG_KILLS, "long") } else { (SHORT_KILLS, "short, LONG=1 for the long") };
    // Not with `println!`: the test runner captures that.
    let _ = writeln!(std::io::stderr(), "{test}: {kills} kills ({form} form)");
    kills
}

/// The number of requests before kill number `i`. It grows evenly up to `max`, in both forms.
fn requests_before(i: u32, kills: u32, max: u32) -> usize {
    (i * max / kills) as usize
}

fn serve(runtime: &tokio::runtime::Runtime, scenes: impl IntoIterator<Item = Scene>) -> Server {
    runtime.block_on(script(scenes).record(true).serve()).unwrap()
}

/// The lead spawns the teammates ann and bob.
fn spawn_two() -> Turn {
    calls(
        ["ann", "bob"].map(|name| {
            ("spawn_teammate", json!({"name": name, "role": "works", "prompt": "begin"}))
        }),
    )
}

fn start(lesson: &str, server: &Server, model: &str, folder: &Path) -> Child {
    start_with(lesson, &["go"], server, model, folder)
}

fn start_with(lesson: &str, args: &[&str], server: &Server, model: &str, folder: &Path) -> Child {
    let mut command = common::lesson(lesson);
    command.args(args).current_dir(folder).env("RUNGS_PROVIDER", "anthropic");
    command.env("ANTHROPIC_BASE_URL", server.url()).env("MODEL_ID", model);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills the processes at a random moment of the step that follows so many requests. The length of
/// a step is measured, so that slow machines are killed in every part of a step as well.
fn kill_after_requests(mut children: Vec<Child>, server: &Server, requests: usize) {
    let start = Instant::now();
    let mut alive = || children.iter_mut().any(|child| child.try_wait().unwrap().is_none());
    while server.request_count() < requests && alive() {
        assert!(
            start.elapsed() < REQUESTS_TIMEOUT,
            "only {} requests were sent",
            server.request_count()
        );
        std::thread::sleep(Duration::from_micros(500));
    }
    let step = match requests {
        0 => START_TIME,
        requests => start.elapsed() / requests as u32,
    };
    std::thread::sleep(step.min(MAX_KILL_DELAY).mul_f64(fastrand::f64()));
    for mut child in children {
        // It may have exited already.
        let _ = child.kill();
        child.wait().unwrap();
    }
}

#[test]
fn no_acknowledged_task_of_s07_is_lost() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = Folder::open(folder.path(), ".rungs/s07_task_system").unwrap();
    let mut acknowledged = 0;
    // Each round kills two processes.
    let rounds = kills("no_acknowledged_task_of_s07_is_lost").div_ceil(2);
    for i in 0..rounds {
        let create = call("task_create", json!({"subject": "task {{ n }}"})).repeat(200);
        let server = serve(&runtime, [scene("^go$", [create])]);
        // Two at once, on the same board.
        let two = vec![
            start("s07_task_system", &server, "m", folder.path()),
            start("s07_task_system", &server, "m", folder.path()),
        ];
        kill_after_requests(two, &server, requests_before(i, rounds, 30));
        // The results of the tools are in the requests.
        for seen in server.requests() {
            let text = seen.body["messages"].as_array().unwrap().last().unwrap().to_string();
            let ids = text
                .split("created #")
                .skip(1)
                .filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
            acknowledged = ids.fold(acknowledged, u64::max);
        }
        let board = Board::open(&state, "tasks.jsonl").unwrap();
        assert_eq!(board.take_notices(), [""; 0]);
        let lost = board
            .look(|state| {
                (1..=acknowledged).filter(|id| state.get(*id).is_err()).collect::<Vec<_>>()
            })
            .unwrap();
        assert_eq!(lost, Vec::<u64>::new(), "of {acknowledged}");
    }
    assert!(acknowledged > 20, "only {acknowledged} tasks were acknowledged before the kills");
}

#[test]
fn every_file_of_s06_can_be_read() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".rungs/s06_context_compact");
    // A killed write leaves a hidden file behind, which nobody reads.
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
    let kills = kills("every_file_of_s06_can_be_read");
    for i in 0..kills {
        // The window of the rehearsal is small, so the conversation is compacted again and again.
        let read = call("bash", json!({"command": "seq 100000 102000 # {{ n }}"})).say("more");
        let server = serve(
            &runtime,
            [scene("^Summarise", [say("a short summary")]), scene("^go$", [read.repeat(200)])],
        );
        let child = start("s06_context_compact", &server, "rehearsal", folder.path());
        kill_after_requests(vec![child], &server, requests_before(i, kills, 20));
        for transcript in transcripts() {
            let chat: Chat = serde_json::from_str(&transcript).unwrap();
            assert!(chat.messages().len() > 1);
        }
        assert!(results().iter().all(|text| text.ends_with("102000\n")));
        let memory =
            std::fs::read_to_string(state.join("memory.md")).unwrap_or("a short summary".into());
        assert_eq!(memory, "a short summary");
    }
    assert!(!transcripts().is_empty() && !results().is_empty(), "no compaction before any kill");
}

/// The texts of the tool results in the newest message of this request.
fn results(body: &Value) -> Vec<String> {
    let newest = body["messages"].as_array().unwrap().last().unwrap();
    let blocks = newest["content"].as_array().into_iter().flatten();
    blocks.filter_map(|block| Some(block["content"][0]["text"].as_str()?.to_string())).collect()
}

#[test]
fn no_acknowledged_letter_of_s09_is_lost() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let boxes = Folder::open(folder.path(), ".rungs/s09_agent_teams/team-1").unwrap();
    let mut acknowledged = 0;
    let kills = kills("no_acknowledged_letter_of_s09_is_lost");
    for i in 0..kills {
        // Two teammates write to each other and to the lead as fast as they can.
        let write = |from: &str, to: &str| {
            let text = format!("run {i}, {from} {{{{ n }}}}");
            let letter = |to: &str| ("send_message", json!({"to": to, "text": text}));
            let letters = calls([letter(to), letter("lead")]).repeat(40);
            scene(&format!("{to}.>"), [letters, say("x")])
        };
        let all = json!({"text": format!("run {i}, all {{{{ n }}}}")});
        // Whoever is written to answers: or all would be at rest before the kill.
        let answer = json!({"to": "{{ m[1] }}", "text": format!("run {i}, answer {{{{ n }}}}")});
        let server = serve(
            &runtime,
            [
                scene("^go$", [spawn_two(), say("x")]),
                scene("(ann|bob).>[^<]*run", [call("send_message", answer), say("noted")]),
                scene("lead.>", [call("broadcast", all).repeat(40), say("x")]),
                write("ann", "bob"),
                write("bob", "ann"),
            ],
        );
        let child = start("s09_agent_teams", &server, "m", folder.path());
        kill_after_requests(vec![child], &server, requests_before(i, kills, 100));
        // Each acknowledged letter is in its mailbox, whole, once for each time it was sent.
        let mut sent: BTreeMap<(String, String), usize> = BTreeMap::new();
        for seen in server.requests() {
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
        acknowledged += sent.values().sum::<usize>();
        for name in ["ann", "bob", "lead"] {
            let mut inbox = Mailbox::open(&boxes, name).unwrap();
            let letters = inbox.newest(usize::MAX).unwrap();
            let ids: Vec<u64> = letters.iter().map(|letter| letter.id.number).collect();
            assert!(ids.is_sorted_by(|a, b| a < b), "{name}: {ids:?}");
            for ((to, text), count) in sent.iter().filter(|((to, _), _)| to == name) {
                let found = letters.iter().filter(|letter| letter.text == *text).count();
                assert!(found >= *count, "{text:?} to {to}: {found} of {count}");
            }
            // Only a torn tail is damage: the letter that was being written. It is reported.
            assert!(
                inbox.receive(&[].into()).unwrap().damage.iter().all(|word| word.contains("torn")),
                "{name}"
            );
        }
    }
    let expected = 5 * kills as usize;
    assert!(acknowledged > expected, "only {acknowledged} letters were sent before the kills");
}

#[test]
fn no_task_of_s11_is_lost_or_finished_twice() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = Folder::open(folder.path(), ".rungs/s11_autonomous_agents").unwrap();
    let tasks = 3000;
    let board = Board::open(&state, "tasks.jsonl").unwrap();
    let new = |id| Task { id, subject: format!("task {id}"), ..Task::default() };
    board.change(|_| Ok(((1..=tasks).map(new).collect(), ()))).unwrap();
    let mut done: BTreeMap<u64, Task> = BTreeMap::new();
    let kills = kills("no_task_of_s11_is_lost_or_finished_twice");
    for i in 0..kills {
        let finish = json!({"result": format!("run {i} did {{{{ m[1] }}}}")});
        let server = serve(
            &runtime,
            [
                scene("^go$", [spawn_two(), say("x")]),
                scene("lead.>", [say("x")]),
                scene("(ann|bob).>", [say("noted")]),
                scene("<task id=.(\\d+)", [call("finish_task", finish), say("x")]),
            ],
        );
        let child = start("s11_autonomous_agents", &server, "m", folder.path());
        kill_after_requests(vec![child], &server, requests_before(i, kills, 100));
        let all: Vec<Task> = board.look(|tasks| tasks.all().cloned().collect()).unwrap();
        assert_eq!(all.len() as u64, tasks);
        for (id, before) in &done {
            assert_eq!(all[*id as usize - 1], *before, "it was done, and then changed");
        }
        // Each task whose end was acknowledged is done, by this run.
        for seen in server
            .requests()
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
    // The tasks of a killed teammate wait until their lease expires; all others are done or
    // pending.
    let left = board
        .look(|tasks| tasks.all().filter(|task| task.status == Status::InProgress).count())
        .unwrap();
    let kills = kills as usize;
    let done = done.len();
    assert!(done > 5 * kills && left <= 2 * kills, "{done} done, {left} in progress");
    drop(board);
    assert_eq!(Board::open(&state, "tasks.jsonl").unwrap().take_notices(), [""; 0]);
}

/// The kills of s17 in the long form.
const LONG_SESSION_KILLS: u32 = 500;
/// The kills of one session, which is resumed after each.
const KILLS_OF_A_SESSION: u32 = 20;

#[test]
fn a_session_of_s17_knows_every_call_that_ran_and_goes_on() {
    let long = env::var("LONG").is_ok_and(|value| value == "1");
    let count = if long { LONG_SESSION_KILLS } else { 5 };
    let _ = writeln!(std::io::stderr(), "sessions of s17: {count} kills (LONG=1: 500)");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut resumed, mut calls_run, mut interrupted) = (0, 0, 0);
    let mut folder = tempfile::tempdir().unwrap();
    let mut sent_before = 0;
    for i in 0..count {
        if i % KILLS_OF_A_SESSION == 0 {
            folder = tempfile::tempdir().unwrap();
            sent_before = 0;
        }
        let state = Folder::open(folder.path(), ".rungs/s17_session_management").unwrap();
        let sessions = Sessions::new(state.folder("sessions").unwrap(), Redactor::default());
        // One that was killed at once had nothing to write.
        let is_new = sessions.find("").is_err();
        // Every command leaves a line of its own.
        let work = |n: &str| json!({"command": format!("echo {i}-{{{{ n }}}}{n} >> work.log")});
        let two = calls([("bash", work("a")), ("bash", work("b"))]);
        let server = serve(&runtime, [scene("^go$", [two.repeat(200)])]);
        let args: &[&str] = if is_new { &["go"] } else { &["--continue", "go"] };
        let lesson = "s17_session_management";
        let child = start_with(lesson, args, &server, "m", folder.path());
        kill_after_requests(vec![child], &server, requests_before(i + 1, count, 12));

        let ran = fs::read_to_string(folder.path().join("work.log")).unwrap_or_default();
        let Ok(id) = sessions.find("") else {
            assert_eq!(ran, "");
            continue;
        };
        let tree = sessions.read(&id).unwrap();
        let (mut commands, mut begun, mut results) =
            (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        for record in tree.records() {
            if record.kind == "call" {
                begun.extend(record.read::<String>());
            }
            let message: Value = record.read().unwrap_or_default();
            for block in message["content"].as_array().into_iter().flatten() {
                let text = |key: &str| block[key].as_str().unwrap_or_default().to_string();
                match block["type"].as_str() {
                    Some("tool_use") => {
                        commands.insert(block["input"]["command"].to_string(), text("id"));
                    }
                    Some("tool_result") => {
                        results.insert(text("tool_use_id"));
                        interrupted += u32::from(block.to_string().contains("may have run"));
                    }
                    _ => {}
                }
            }
        }
        for line in ran.lines() {
            let command = json!(format!("echo {line} >> work.log")).to_string();
            let id = commands.get(&command);
            assert!(id.is_some_and(|id| begun.contains(id)), "{line} ran, and is not recorded");
            calls_run += 1;
        }
        let seen = server.requests();
        for (n, request) in seen.iter().enumerate() {
            let messages = request.body["messages"].as_array().unwrap();
            if n == 0 {
                assert!(messages.len() >= sent_before, "{} of {sent_before}", messages.len());
                resumed += u32::from(!is_new);
            }
            // What was sent had been written before.
            for block in messages.last().unwrap()["content"].as_array().unwrap() {
                if let Some(id) = block["tool_use_id"].as_str() {
                    assert!(results.contains(id), "the result of {id} was sent, and is not saved");
                }
            }
            sent_before = sent_before.max(messages.len());
        }
        // The strict model would have refused a conversation with an unanswered call.
        assert!(seen.iter().all(|request| matches!(request.status, 0 | 200)));
    }
    assert!(resumed > count / 4 && calls_run > 0, "{resumed} resumed, {calls_run} calls");
    let _ = writeln!(
        std::io::stderr(),
        "{resumed} resumed, {calls_run} lines of calls checked, {interrupted} told as interrupted"
    );
}
