// # Killed in the middle of a merge
//
// drill, level 3, 40 minutes. Read: crates/worktree/src/merge.rs
//
// `merge` moves a folder and its branch from one commit to another. The process can be killed
// between any two operations on the disk (each of them happens whole or not at all; whatever is
// tried after the kill is `Killed`). As it is, a kill leaves a branch that says one thing and
// files that say another. And it overwrites what a person has changed in the meantime.
//
// Write both functions, so that at every moment of a kill nothing is lost:
//
// - `merge` refuses with `InTheWay` if a file that it would write was changed by somebody, and then
//   changes nothing. Else files and branch are as in `to` afterwards, and no intent is left.
// - `finish` is called when a process starts. It brings a merge that was begun to its end. It never
//   overwrites a change that somebody has made since: then it refuses with `InTheWay`, and can be
//   called again later. If somebody has moved the branch meanwhile, only the intent goes.
//
// What was begun is known from one file, `INTENT`. All files of both commits have the same names.
//
// Run: cargo run -p rungs-exercises -- run s23_killed_merge

use std::collections::BTreeMap;

/// The file that says from which commit to which one a merge moves: two ids, a line each.
#[allow(dead_code)]
const INTENT: &str = ".merging";

/// A commit: its id, and its files by their names.
#[derive(Debug, Clone, PartialEq)]
struct Commit {
    id: String,
    files: BTreeMap<String, String>,
}

/// Why a merge did not come to its end.
#[derive(Debug, PartialEq)]
enum Stop {
    /// The process was killed.
    Killed,
    /// Somebody has changed this file.
    #[allow(dead_code)]
    InTheWay(String),
}

/// A folder and its branch.
trait Disk {
    /// The text of a file, if there is one.
    fn read(&self, file: &str) -> Option<String>;
    /// Writes a file.
    fn write(&mut self, file: &str, text: &str) -> Result<(), Stop>;
    /// Removes a file.
    fn remove(&mut self, file: &str) -> Result<(), Stop>;
    /// The id of the commit at which the branch is.
    fn branch(&self) -> String;
    /// Moves the branch.
    fn move_branch(&mut self, to: &str) -> Result<(), Stop>;
}

/// Moves the folder and its branch from one commit to another.
fn merge(disk: &mut impl Disk, from: &Commit, to: &Commit) -> Result<(), Stop> {
    let _ = from;
    disk.move_branch(&to.id)?;
    for (file, text) in &to.files {
        disk.write(file, text)?;
    }
    Ok(())
}

/// Finishes a merge that was interrupted; `commits` are all there are.
fn finish(disk: &mut impl Disk, commits: &[Commit]) -> Result<(), Stop> {
    let _ = (disk, commits);
    Ok(())
}

mod tests {
    use super::*;

    /// A disk whose process is killed after so many operations.
    #[derive(Debug, Clone, PartialEq)]
    struct Folder {
        files: BTreeMap<String, String>,
        branch: String,
        left: usize,
    }

    impl Folder {
        fn operate(&mut self) -> Result<(), Stop> {
            self.left = self.left.checked_sub(1).ok_or(Stop::Killed)?;
            Ok(())
        }

        /// The next process, which nobody kills.
        fn next_process(&self) -> Folder {
            Folder { left: usize::MAX, ..self.clone() }
        }
    }

    impl Disk for Folder {
        fn read(&self, file: &str) -> Option<String> {
            self.files.get(file).cloned()
        }
        fn write(&mut self, file: &str, text: &str) -> Result<(), Stop> {
            self.operate()?;
            self.files.insert(file.into(), text.into());
            Ok(())
        }
        fn remove(&mut self, file: &str) -> Result<(), Stop> {
            self.operate()?;
            self.files.remove(file);
            Ok(())
        }
        fn branch(&self) -> String {
            self.branch.clone()
        }
        fn move_branch(&mut self, to: &str) -> Result<(), Stop> {
            self.operate()?;
            self.branch = to.into();
            Ok(())
        }
    }

    fn commit(id: &str, texts: [&str; 3]) -> Commit {
        let names = ["a.txt", "b.txt", "c.txt"];
        let files = names.into_iter().zip(texts).map(|(name, text)| (name.into(), text.into()));
        Commit { id: id.into(), files: files.collect() }
    }

    fn commits() -> [Commit; 3] {
        [
            commit("from", ["a", "b", "c"]),
            commit("to", ["a2", "b", "c2"]),
            commit("other", ["a", "b3", "c"]),
        ]
    }

    /// A folder at the commit `from`, whose process is killed after so many operations.
    fn folder(left: usize) -> Folder {
        let [from, ..] = commits();
        Folder { files: from.files, branch: from.id, left }
    }

    fn is_at(folder: &Folder, commit: &Commit, what: &str) {
        let Folder { files, branch, .. } = folder;
        assert_eq!((branch, files), (&commit.id, &commit.files), "{what}");
    }

    #[test]
    fn a_merge_that_nobody_kills_moves_all() {
        let [from, to, _] = commits();
        let mut disk = folder(usize::MAX);
        assert_eq!(merge(&mut disk, &from, &to), Ok(()), "nothing is in the way");
        is_at(&disk, &to, "files and branch, and no other file is left");
        let before = disk.clone();
        assert_eq!(finish(&mut disk, &commits()), Ok(()), "there is nothing to finish");
        assert_eq!(disk, before, "so nothing may change");
    }

    #[test]
    fn what_somebody_has_changed_is_not_overwritten() {
        let [from, to, _] = commits();
        let mut disk = folder(usize::MAX);
        disk.files.insert("c.txt".into(), "mine".into());
        let before = disk.files.clone();
        let end = merge(&mut disk, &from, &to);
        assert_eq!(end, Err(Stop::InTheWay("c.txt".into())), "the change is in no commit");
        assert_eq!((disk.branch.as_str(), &disk.files), ("from", &before), "nothing has changed");
    }

    #[test]
    fn a_change_in_a_file_that_the_merge_leaves_alone_is_no_matter() {
        let [from, to, _] = commits();
        let mut disk = folder(usize::MAX);
        disk.files.insert("b.txt".into(), "mine".into());
        assert_eq!(merge(&mut disk, &from, &to), Ok(()), "both commits have the same b.txt");
        assert_eq!(disk.read("b.txt"), Some("mine".into()), "it is not for the merge to write");
    }

    #[test]
    fn after_a_kill_at_any_moment_the_next_process_finishes_it() {
        let [from, to, _] = commits();
        for moment in 0..12 {
            let mut disk = folder(moment);
            let is_killed = merge(&mut disk, &from, &to) == Err(Stop::Killed);
            let mut disk = disk.next_process();
            assert_eq!(finish(&mut disk, &commits()), Ok(()), "killed after {moment} operations");
            let what = format!("killed after {moment} operations, finished by the next process");
            if is_killed && disk.branch == "from" {
                is_at(&disk, &from, &format!("{what}: it had not begun"));
            } else {
                is_at(&disk, &to, &what);
            }
            assert!(moment > 0 || disk.branch == "from", "nothing was on the disk");
            assert!(moment < 2 || disk.branch == "to", "{what}: it had begun, and was forgotten");
        }
    }

    #[test]
    fn a_kill_while_it_is_finished_is_finished_too() {
        let [from, to, _] = commits();
        for first in 1..8 {
            for second in 0..8 {
                let mut disk = folder(first);
                let _ = merge(&mut disk, &from, &to);
                disk.left = second;
                let _ = finish(&mut disk, &commits());
                let mut disk = disk.next_process();
                let what = format!("killed after {first} operations, and again after {second}");
                assert_eq!(finish(&mut disk, &commits()), Ok(()), "{what}");
                is_at(&disk, &to, &what);
            }
        }
    }

    #[test]
    fn what_somebody_changes_after_the_kill_is_not_overwritten() {
        let [from, to, _] = commits();
        for moment in 1..8 {
            let mut disk = folder(moment);
            if merge(&mut disk, &from, &to) != Err(Stop::Killed) || disk.branch == "to" {
                continue;
            }
            let mut disk = disk.next_process();
            disk.files.insert("c.txt".into(), "mine".into());
            let end = finish(&mut disk, &commits());
            let why = format!("killed after {moment} operations; then somebody changed c.txt");
            assert_eq!(end, Err(Stop::InTheWay("c.txt".into())), "{why}");
            assert_eq!(disk.read("c.txt"), Some("mine".into()), "{why}");
            // The person takes the change back.
            disk.files.insert("c.txt".into(), "c".into());
            assert_eq!(finish(&mut disk, &commits()), Ok(()), "now it can be finished");
            is_at(&disk, &to, &why);
        }
    }

    #[test]
    fn a_branch_that_has_gone_on_is_left_alone() {
        let [from, to, other] = commits();
        let mut disk = folder(1);
        let why = "a merge takes more than one operation";
        assert_eq!(merge(&mut disk, &from, &to), Err(Stop::Killed), "{why}");
        let mut disk = disk.next_process();
        // Somebody commits something else, from where the branch was.
        disk.branch = other.id.clone();
        let intent = disk.files.remove(INTENT);
        disk.files = other.files.clone();
        disk.files.extend(intent.map(|text| (INTENT.to_string(), text)));
        assert_eq!(finish(&mut disk, &commits()), Ok(()), "there is nothing left to finish");
        is_at(&disk, &other, "the merge was for a branch that stood elsewhere; the intent goes");
    }
}
