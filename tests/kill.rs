//! kill -9 at any moment: what was acknowledged is there, and every file can be read.
mod common;

use common::program;
use lessons::s07_task_system::Board;
use rehearsal::{Script, Server};
use rungs_core::Chat;
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How often each lesson is killed.
const TIMES: u32 = 100;

fn serve(runtime: &tokio::runtime::Runtime, scenes: &str) -> Server {
    let script = Script::parse("script", &format!("scenes: [{scenes}]")).unwrap();
    runtime.block_on(script.record(true).serve()).unwrap()
}

fn start(lesson: &str, server: &Server, model: &str, folder: &Path) -> Child {
    let mut command = Command::new(program(lesson));
    command.arg("go").current_dir(folder).env("RUNGS_PROVIDER", "anthropic").env("RUNGS_ENV", "/dev/null");
    command.env("ANTHROPIC_BASE_URL", server.url()).env("MODEL_ID", model);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
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
        let server =
            serve(&runtime, "{when: ^go$, turns: [{repeat: 200, call: [{task_create: {subject: 'task {{ n }}'}}]}]}");
        // Two at once, on the same board.
        let two = [
            start("s07_task_system", &server, "m", folder.path()),
            start("s07_task_system", &server, "m", folder.path()),
        ];
        two.into_iter().for_each(|child| kill_after(child, i));
        // What the model was told is in the requests.
        for seen in server.seen() {
            let text = seen.body["messages"].as_array().unwrap().last().unwrap().to_string();
            let ids = text.split("created #").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
            told = ids.fold(told, u64::max);
        }
        let (board, word) = Board::open(&file).unwrap();
        assert_eq!(word, None);
        let found = board.look(|state| (1..=told).filter(|id| state.get(*id).is_err()).collect::<Vec<_>>()).unwrap();
        assert_eq!(found, Vec::<u64>::new(), "of {told}");
    }
    assert!(told > 20, "it was always killed before it did anything, in {:?}", start_of_all.elapsed());
}

#[test]
fn the_files_of_s06_can_be_read() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".rungs/s06_context_compact");
    // What a killed write leaves behind is hidden, and nobody reads it.
    let files = |folder: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.')).collect()
    };
    let read = |paths: Vec<std::path::PathBuf>| -> Vec<String> {
        paths.into_iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
    let transcripts = || read(files(&state.join("transcripts")));
    // A folder for each conversation.
    let results = || read(files(&state.join("results")).iter().flat_map(|folder| files(folder)).collect());
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
        let memory = std::fs::read_to_string(state.join("memory.md")).unwrap_or("a short summary".into());
        assert_eq!(memory, "a short summary");
    }
    assert!(!transcripts().is_empty() && !results().is_empty(), "room was never made before the kill");
}
