//! What a repository brings in the place of a lesson's state: links lead nowhere, and a person is
//! asked before damaged records are given up.
mod common;

use rehearsal::{Scene, Server, call, calls, say, scene, script};
use rungs_redis::testing::PrivateServer;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What must not be read, nor written.
const SECRET: &str = "a secret of the person";
/// The longest time in which a lesson ends.
const TIMEOUT: Duration = Duration::from_secs(60);

fn serve(runtime: &tokio::runtime::Runtime, scenes: impl IntoIterator<Item = Scene>) -> Server {
    runtime.block_on(script(scenes).record(true).serve()).unwrap()
}

/// What the model does in a lesson, so that the lesson writes every kind of file that it has.
fn scenes(lesson: &str) -> Vec<Scene> {
    let create = call("task_create", json!({"subject": "a task"}));
    let spawn = json!({"name": "ann", "role": "works", "prompt": "begin"});
    match lesson {
        "s06_context_compact" => {
            let read = call("bash", json!({"command": "seq 100000 102000"})).repeat(12);
            vec![scene("^Summarise", [say("short")]), scene("go", [read, say("done")])]
        }
        "s08_background_tasks" => {
            let start = call("bash_background", json!({"command": "echo started"}));
            vec![scene("^go", [start, say("done")]), scene("<job", [say("noted")])]
        }
        "s07_task_system" => vec![scene("^go", [create, say("done")])],
        "s12_worktree_task_isolation" => {
            let work = call("work_on", json!({"tasks": [1]}));
            vec![scene("^go", [create, work, say("done")]), scene(".", [say("worked")])]
        }
        _ => vec![
            scene("^go", [calls([("spawn_teammate", spawn)]), say("free")]),
            scene(".", [say("done")]),
        ],
    }
}

/// Runs a lesson to its end; what it printed, and what it sent to the model.
fn run(lesson: &str, runtime: &tokio::runtime::Runtime, folder: &Path) -> (String, String) {
    run_command(common::lesson(lesson), lesson, runtime, folder)
}

fn run_command(
    mut command: Command,
    lesson: &str,
    runtime: &tokio::runtime::Runtime,
    folder: &Path,
) -> (String, String) {
    let server = serve(runtime, scenes(lesson));
    command.current_dir(folder).env("RUNGS_PROVIDER", "anthropic");
    command.env("ANTHROPIC_BASE_URL", server.url()).env("MODEL_ID", "rehearsal");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let prompts: &[u8] = match lesson {
        "s06_context_compact" => b"go\n:memory\ngo on\n:compact\n",
        _ => b"go\n",
    };
    // It may have ended with an error already.
    let _ = child.stdin.take().unwrap().write_all(prompts);
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > TIMEOUT {
            child.kill().unwrap();
            panic!("{lesson} hangs: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let done = child.wait_with_output().unwrap();
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    let sent: Vec<String> =
        server.requests().iter().map(|request| request.body.to_string()).collect();
    (printed, sent.join("\n"))
}

/// A folder in which a lesson can work: s12 needs a repository with a commit. In memory where
/// possible: what is tried here does not depend on the disk, and nobody waits for its flushes.
fn workspace() -> TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let repository = git2::Repository::init(folder.path()).unwrap();
    let author = git2::Signature::now("a", "a@example.com").unwrap();
    let tree = repository.treebuilder(None).unwrap().write().unwrap();
    let tree = repository.find_tree(tree).unwrap();
    repository.commit(Some("HEAD"), &author, &author, "start", &tree, &[]).unwrap();
    folder
}

/// Everything below a folder: file or folder, by its path from there. Links are not followed.
fn walk(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(path.clone());
            }
            let content = kind.is_file().then(|| fs::read(&path).unwrap());
            found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), content);
        }
    }
    found
}

fn is_content(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jsonl" || extension == "md")
}

/// The names that a repository can bring: those that the lesson makes, without what is random.
fn names(lesson: &str, made: &BTreeMap<PathBuf, Option<Vec<u8>>>) -> Vec<(PathBuf, bool)> {
    let of_worktree = Path::new(".rungs").join(lesson).join("trees");
    let mut names: Vec<(PathBuf, bool)> = made
        .iter()
        .filter(|(path, _)| path.starts_with(".rungs"))
        // What a worktree has in it is the repository's.
        .filter(|(path, _)| {
            !path.strip_prefix(&of_worktree).is_ok_and(|p| p.components().count() > 1)
        })
        .map(|(path, content)| (path.clone(), content.is_some()))
        .collect();
    // What stands there for a moment only, or only after damage.
    let mut more = vec![];
    for (path, _) in names.iter().filter(|(path, is_file)| *is_file && is_content(path)) {
        let name = path.file_name().unwrap().display();
        more.push((path.with_file_name(format!(".{name}.0123456789abcdef.tmp")), true));
        more.push((path.with_file_name(format!("{name}.torn-1")), true));
        more.push((path.with_file_name(format!("{name}.replaced-1")), true));
    }
    if lesson == "s08_background_tasks" {
        more.push((Path::new(".rungs").join(lesson).join("1.log"), true));
    }
    names.extend(more);
    names
}

#[test]
fn a_link_in_the_place_of_any_state_leads_nowhere() {
    // Those in the long form keep the same state as others.
    let mut lessons = vec![
        "s06_context_compact",
        "s07_task_system",
        "s08_background_tasks",
        "s09_agent_teams",
        "s12_worktree_task_isolation",
    ];
    if std::env::var_os("LONG").is_some() {
        lessons.extend(["s10_team_protocols", "s11_autonomous_agents"]);
    }
    let links: usize = std::thread::scope(|scope| {
        let tried: Vec<_> =
            lessons.iter().map(|lesson| scope.spawn(|| plant_links(lesson))).collect();
        tried.into_iter().map(|links| links.join().unwrap()).sum()
    });
    // Not with `println!`: the test runner captures that.
    let _ = writeln!(std::io::stderr(), "{links} links tried (LONG=1 tries all lessons)");
}

/// Plants a link for each name of a lesson's state, and runs the lesson; how many links.
fn plant_links(lesson: &str) -> usize {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let first = workspace();
    run(lesson, &runtime, first.path());
    let made = walk(first.path());
    assert!(made.contains_key(&Path::new(".rungs").join(lesson)), "{lesson}: {made:?}");
    let names = names(lesson, &made);
    for (name, is_file) in &names {
        let (here, outside) = (workspace(), tempfile::tempdir().unwrap());
        let (file, folder) = (outside.path().join("file"), outside.path().join("folder"));
        fs::create_dir_all(folder.join(lesson)).unwrap();
        for secret in [&file, &folder.join("memory.md"), &folder.join(lesson).join("memory.md")] {
            fs::write(secret, SECRET).unwrap();
        }
        let before = walk(outside.path());
        let link = here.path().join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(if *is_file { &file } else { &folder }, &link).unwrap();
        let (printed, sent) = run(lesson, &runtime, here.path());
        let context = format!("{lesson}: {}: {printed}", name.display());
        assert_eq!(walk(outside.path()), before, "{context}");
        assert!(!sent.contains(SECRET) && !printed.contains(SECRET), "{context}");
    }
    names.len()
}

#[test]
fn the_program_with_everything_leaves_nothing_beside_its_state_that_it_has_not_used() {
    let (runtime, here) = (tokio::runtime::Runtime::new().unwrap(), workspace());
    let (printed, _) = run("full", &runtime, here.path());
    let found = walk(here.path());
    let beside = |path: &&PathBuf| !path.starts_with(".git") && !path.starts_with(".rungs");
    assert_eq!(found.keys().find(beside), None, "{printed}");
    // No server, so no team on it that would have to be found again.
    let has = |path: &str| found.contains_key(Path::new(path));
    assert!(has(".rungs/full") && !has(".rungs/full/team"), "{printed}");
}

#[test]
fn the_team_of_a_folder_is_the_same_after_a_restart() {
    let Some(redis) = PrivateServer::start(&[]) else { return };
    let (runtime, here) = (tokio::runtime::Runtime::new().unwrap(), workspace());
    let said = [(), ()].map(|()| {
        let mut command = common::lesson("s22_production_mailbox");
        command.env("REDIS_URL", redis.url());
        let (printed, _) = run_command(command, "s22_production_mailbox", &runtime, here.path());
        printed.lines().find(|line| line.contains("mail and tasks: team ")).map(String::from)
    });
    assert!(said[0].is_some());
    assert_eq!(said[0], said[1]);
}

#[test]
fn what_is_no_file_in_the_place_of_state_is_named_and_nothing_hangs() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (lesson, name) in [
        ("s06_context_compact", "memory.md"),
        ("s07_task_system", "tasks.jsonl"),
        ("s07_task_system", "tasks.jsonl.lock"),
        ("s09_agent_teams", "team-1/lead.jsonl"),
    ] {
        for kind in ["fifo", "folder", "3 GB"] {
            let here = workspace();
            let path = here.path().join(".rungs").join(lesson).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match kind {
                "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                "folder" => fs::create_dir(&path).unwrap(),
                _ => fs::File::create(&path).unwrap().set_len(3 << 30).unwrap(),
            }
            let (printed, _) = run(lesson, &runtime, here.path());
            if (kind, name) != ("3 GB", "tasks.jsonl.lock") {
                assert!(printed.contains(name), "{lesson}, {kind} as {name}: {printed}");
            }
        }
    }
}
