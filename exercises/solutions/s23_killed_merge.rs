use std::collections::BTreeMap;

/// The file that says from which commit to which one a merge moves: two ids, a line each.
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
    check(disk, from, to)?;
    disk.write(INTENT, &format!("{}\n{}\n", from.id, to.id))?;
    make(disk, from, to)
}

/// Finishes a merge that was interrupted; `commits` are all there are.
fn finish(disk: &mut impl Disk, commits: &[Commit]) -> Result<(), Stop> {
    let Some(intent) = disk.read(INTENT) else { return Ok(()) };
    let find = |id: Option<&str>| commits.iter().find(|commit| Some(commit.id.as_str()) == id);
    let mut ids = intent.lines();
    let (Some(from), Some(to)) = (find(ids.next()), find(ids.next())) else {
        return disk.remove(INTENT);
    };
    if disk.branch() != from.id {
        // It is done, or somebody went on from there.
        return disk.remove(INTENT);
    }
    check(disk, from, to)?;
    make(disk, from, to)
}

/// Each file that is to be written must be as it is before the move, or as it is after it: an
/// interrupted move has done a part.
fn check(disk: &impl Disk, from: &Commit, to: &Commit) -> Result<(), Stop> {
    for (file, text) in &to.files {
        let now = disk.read(file);
        let is_ours = now.as_ref() == Some(text) || now.as_ref() == from.files.get(file);
        if from.files.get(file) != Some(text) && !is_ours {
            return Err(Stop::InTheWay(file.clone()));
        }
    }
    Ok(())
}

/// The files first, the branch last: until then the intent is true.
fn make(disk: &mut impl Disk, from: &Commit, to: &Commit) -> Result<(), Stop> {
    for (file, text) in &to.files {
        if from.files.get(file) != Some(text) {
            disk.write(file, text)?;
        }
    }
    disk.move_branch(&to.id)?;
    disk.remove(INTENT)
}
