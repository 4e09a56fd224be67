// # Each in its own directory
//
// build, level 2, 25 minutes. Read: examples/s12_worktree_task_isolation.rs
//
// Several jobs are to be done at the same time, on the same files. Write `side_by_side`: for each
// job it takes a worktree (`trees.take(name)`), lets a subagent work there, and commits what it
// leaves, also when it failed: then the message begins with `Unfinished: `. It returns a line for
// each job, in the order of the jobs: the last words of the subagent, or why it failed.
//
// - `agent.child(name, &[])` makes a subagent, `.in_dir(folder)` binds it to a folder.
// - `child.run(&mut chat, prompt, agent_loop)` runs it; an error is the failure.
// - Trees work with git and the disk, so they belong on blocking threads:
//   `tokio::task::spawn_blocking(move || ..).await`.
// - `join_all` runs futures at the same time.
//
// The message of a commit is the job's name.
//
// Run: cargo run -p rungs-exercises -- run s12_side_by_side

#[allow(unused_imports)]
use futures_util::future::join_all;
#[allow(unused_imports)]
use lessons::s01_loop::agent_loop;
use rungs_core::Agent;
#[allow(unused_imports)]
use rungs_core::Chat;
use rungs_worktree::Trees;

/// What a subagent is to do; the name is also that of its worktree.
#[derive(Debug, Clone)]
#[allow(dead_code)]
struct Job {
    name: String,
    prompt: String,
}

/// Has jobs done at the same time, each in a worktree of its own.
async fn side_by_side(agent: &Agent, trees: &Trees, jobs: &[Job]) -> Vec<String> {
    let _ = (agent, trees, jobs);
    todo!("for each job: take a tree, run a child in its folder, commit; all at the same time")
}

mod tests {
    use super::*;
    use rehearsal::{Scene, call, say, scene};
    use rungs_core::tools;
    use rungs_exercises::support::{Play, git, play};
    use serde_json::json;
    use std::{fs, path::PathBuf, time::Duration};

    struct Place {
        play: Play,
        root: PathBuf,
        trees: Trees,
    }

    async fn place(scenes: impl IntoIterator<Item = Scene>) -> Place {
        let play = play(scenes, |agent, dir| {
            let root = dir.canonicalize().unwrap();
            git(&root, "init -q -b main");
            git(&root, "config user.name Tester");
            git(&root, "config user.email t@localhost");
            git(&root, "config core.excludesFile /dev/null");
            fs::write(root.join("same.txt"), "start\n").unwrap();
            fs::write(root.join(".gitignore"), ".trees/\n").unwrap();
            git(&root, "add -A");
            git(&root, "commit -qm Start");
            tools::all(agent.in_dir(root))
        })
        .await;
        let root = play.dir.path().canonicalize().unwrap();
        let trees = Trees::new(&root, root.join(".trees"));
        Place { play, root, trees }
    }

    fn job(name: &str) -> Job {
        Job { name: name.into(), prompt: format!("do {name}") }
    }

    impl Place {
        async fn run(&self, names: &[&str]) -> Vec<String> {
            let jobs: Vec<Job> = names.iter().map(|name| job(name)).collect();
            let running = side_by_side(&self.play.agent, &self.trees, &jobs);
            tokio::time::timeout(Duration::from_secs(10), running).await.expect("it takes too long")
        }

        fn on_branch(&self, name: &str, file: &str) -> String {
            git(&self.root, &format!("show rungs/{name}:{file}"))
        }
    }

    /// Writes its name into the file that all share, waits, and reports what it finds there.
    fn works() -> Scene {
        let command = "echo {{ m[1] }} > same.txt; sleep 0.3; cat same.txt; pwd > where.txt";
        let report = say("{{ results[0].text | trim }}");
        let turns = [call("bash", json!({ "command": command })), report];
        scene("^do (\\w+)$", turns)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_job_sees_its_own_files() {
        let place = place([works()]).await;
        let reports = place.run(&["one", "two", "three"]).await;
        let why = "each wrote its name into same.txt and read it again. In one folder they would \
                   read the name of whoever came last";
        assert_eq!(reports, ["one", "two", "three"], "{why}");
        let main = fs::read_to_string(place.root.join("same.txt")).unwrap();
        assert_eq!(main, "start\n", "nobody works in the main folder");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_they_leave_is_committed_to_their_branches() {
        let place = place([works()]).await;
        place.run(&["one", "two"]).await;
        for name in ["one", "two"] {
            assert_eq!(place.on_branch(name, "same.txt"), name, "the job's branch has its work");
            assert!(
                place.on_branch(name, "where.txt").ends_with(&format!(".trees/{name}")),
                "its commands ran in its tree: the directory belongs to the agent"
            );
            let subject = git(&place.root, &format!("log -1 --format=%s rungs/{name}"));
            assert_eq!(subject, name, "the message is the job's name");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn they_run_at_the_same_time() {
        let arrive = "touch ../../begun.{{ m[1] }}; for _ in $(seq 60); do [ $(ls ../.. | grep -c \
                      begun) = 3 ] && break; sleep 0.05; done; ls ../.. | grep -c begun";
        let turns =
            [call("bash", json!({ "command": arrive })), say("{{ results[0].text | trim }}")];
        let place = place([scene("^do (\\w+)$", turns)]).await;
        let reports = place.run(&["one", "two", "three"]).await;
        let why = "each waits until all three have begun, three seconds at most, and reports how \
                   many have. One after the other, the first would wait for nothing";
        assert_eq!(reports, ["3", "3", "3"], "{why}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_job_that_fails_leaves_its_work_and_the_others() {
        let refused = say("x").fault(json!({"status": 400, "message": "no", "times": "always"}));
        let half = call("bash", json!({"command": "echo half > new.txt"}));
        let place = place([scene("do bad", [half, refused]), works()]).await;
        let reports = place.run(&["bad", "good"]).await;
        assert_eq!(reports.len(), 2, "a line for each job");
        assert!(reports[0].contains("no"), "why it failed: {reports:?}");
        assert_eq!(reports[1], "good", "the other job has nothing to do with it");
        let why = "half a result in a commit can be looked at; in a tree alone it is easily lost";
        assert_eq!(place.on_branch("bad", "new.txt"), "half", "{why}");
        let subject = git(&place.root, "log -1 --format=%s rungs/bad");
        assert_eq!(subject, "Unfinished: bad", "nobody may take it for finished work");
    }
}
