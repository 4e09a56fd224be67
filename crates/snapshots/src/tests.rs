use super::*;
use durable::Folder;
use rungs_files::{Root, Stamp, Target};
use std::{
    env,
    fs::{self, Permissions},
    io::Write,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// The rounds of the short form, and of the long one (`LONG=1`).
const ROUNDS: (u32, u32) = (6, 500);
/// The longest delay of a kill, in microseconds: a few steps.
const MAX_KILL_DELAY_MICROS: u64 = 250_000;
/// Names the folder for the process that is to be killed.
const FOLDER: &str = "RUNGS_SNAPSHOTS_WRITE_IN";

struct Place {
    dir: TempDir,
    root: Root,
    store: Store,
}

impl Place {
    fn build(limits: Limits) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let (root, store) = open(dir.path(), limits);
        Place { dir, root, store }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    fn content(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    fn begin(&self, turn: Option<u64>, paths: &[&str]) -> Result<Begun, String> {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        let begun = self.store.begin(&self.root, turn, &Author::default(), &paths);
        begun.map_err(|error| error.to_string())
    }

    /// Writes these files in one step of this turn; its number.
    fn write(&self, turn: u64, files: &[(&str, &str)]) -> u64 {
        let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        let begun = self.begin(Some(turn), &paths).unwrap();
        let id = begun.id;
        for (path, content) in files {
            self.put(path, content);
        }
        self.store.end(&self.root, begun).unwrap();
        id
    }

    /// Reverts as a tool does: as a step of its own.
    fn revert(&self, range: Range, file: Option<&str>) -> Result<Vec<(Outcome, bool)>, String> {
        let file = file.map(|file| self.at(file));
        let said = |error: Error| {
            error.to_string().replace(&self.root.path().display().to_string(), "ROOT")
        };
        let plan = self.store.plan(range, file.as_deref(), None).map_err(said)?;
        let begun = self.store.begin(&self.root, None, &Author::default(), &plan.paths());
        let begun = begun.map_err(said)?;
        let plan = self.store.plan(range, file.as_deref(), Some(begun.id)).map_err(said)?;
        let reverted = self.store.revert(&self.root, &plan).map_err(said)?;
        self.store.end(&self.root, begun).map_err(said)?;
        Ok(reverted.iter().map(|file| (file.end, file.is_changed_since)).collect())
    }

    fn objects(&self) -> usize {
        let folders = fs::read_dir(self.at(".rungs/objects")).unwrap();
        folders.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
    }
}

fn open(dir: &Path, limits: Limits) -> (Root, Store) {
    let folder = Folder::open(dir, ".rungs").unwrap();
    let root = Root::open(dir).unwrap().deny(&[".git", ".rungs"]);
    (root, Store::open(&folder, limits).unwrap())
}

const RESTORED: (Outcome, bool) = (Outcome::Restored, false);

#[test]
fn a_step_is_undone_and_the_undoing_too() {
    let place = Place::build(Limits::default());
    place.put("a", "one");
    place.write(1, &[("a", "two"), ("new/folder/b", "b")]);
    let gone = (Outcome::Removed, false);
    assert_eq!(place.revert(Range::Newest, None).unwrap(), [RESTORED, gone]);
    assert_eq!((place.content("a").as_deref(), place.at("new").exists()), (Some("one"), false));
    assert_eq!(place.revert(Range::Newest, None).unwrap(), [RESTORED, RESTORED]);
    assert_eq!(place.content("a").as_deref(), Some("two"));
    assert_eq!(place.content("new/folder/b").as_deref(), Some("b"));
}

#[test]
fn one_file_one_step_or_all_since_a_turn() {
    let place = Place::build(Limits::default());
    place.put("a", "0");
    place.put("b", "0");
    assert_eq!(place.write(1, &[("a", "1"), ("b", "1")]), 1);
    assert_eq!(place.write(2, &[("a", "2")]), 2);
    assert_eq!(place.write(2, &[("a", "3"), ("c", "3")]), 3);
    let both = || (place.content("a").unwrap(), place.content("b").unwrap());
    place.revert(Range::Newest, Some("a")).unwrap();
    assert_eq!(both(), ("2".into(), "1".into()));
    place.revert(Range::Turn(2), None).unwrap();
    assert_eq!((both(), place.content("c")), (("1".into(), "1".into()), None));
    place.revert(Range::Step(1), Some("b")).unwrap();
    assert_eq!(both(), ("1".into(), "0".into()));
    let plan = place.store.plan(Range::Step(1), None, None).unwrap();
    let later: Vec<_> = plan.undos.iter().map(|undo| (undo.step, undo.later.clone())).collect();
    assert_eq!(later, [(1, vec![2, 3, 4, 5]), (1, vec![6])]);
    place.revert(Range::Step(1), None).unwrap();
    assert_eq!(both(), ("0".into(), "0".into()));
    for (range, file, error) in [
        (Range::Step(99), None, "there is no step 99, or its"),
        (Range::Step(2), Some("b"), "step 2 changed nothing of ROOT/b"),
        (Range::Newest, Some("d"), "there are no snapshots of ROOT/d"),
        (Range::Turn(99), None, "there is no turn 99; the newest that changed something is turn 6"),
    ] {
        let said = place.revert(range, file).unwrap_err();
        assert!(said.contains(error), "{said}");
    }
}

#[test]
fn what_somebody_did_by_hand_is_kept_before_it_is_replaced() {
    let place = Place::build(Limits::default());
    place.put("a", "one");
    place.write(1, &[("a", "two")]);
    place.put("a", "by hand");
    assert_eq!(place.store.changed_since(&place.root).unwrap(), [place.at("a")]);
    assert_eq!(place.revert(Range::Newest, None).unwrap(), [(Outcome::Restored, true)]);
    assert_eq!(place.content("a").as_deref(), Some("one"));
    place.revert(Range::Newest, None).unwrap();
    assert_eq!(place.content("a").as_deref(), Some("by hand"));
    // Without a step of its own, nothing is replaced that nobody has kept.
    place.put("a", "again by hand");
    let plan = place.store.plan(Range::Step(1), None, None).unwrap();
    let error = place.store.revert(&place.root, &plan).unwrap_err();
    assert!(matches!(error, Error::NotKept { .. }), "{error}");
    assert_eq!(place.content("a").as_deref(), Some("again by hand"));
}

#[test]
fn bytes_modes_links_and_odd_names_come_back() {
    let place = Place::build(Limits::default());
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let bytes: Vec<u8> = (0..=255).collect();
    place.put("run.sh", &bytes);
    fs::set_permissions(place.at("run.sh"), Permissions::from_mode(0o750)).unwrap();
    std::os::unix::fs::symlink("run.sh", place.at("link")).unwrap();
    fs::write(place.root.path().join(odd), "odd").unwrap();
    let odd = place.root.path().join(odd);
    let paths = ["link".into(), odd.clone()];
    let begun = place.store.begin(&place.root, None, &Author::default(), &paths).unwrap();
    fs::remove_file(place.at("run.sh")).unwrap();
    fs::write(&odd, "other").unwrap();
    assert_eq!(place.store.end(&place.root, begun).unwrap().len(), 2);
    // It survives a restart, under its own name.
    let (root, store) = open(place.dir.path(), Limits::default());
    let place = Place { root, store, ..place };
    place.revert(Range::Newest, None).unwrap();
    assert_eq!(fs::read(place.at("run.sh")).unwrap(), bytes);
    assert_eq!(fs::metadata(place.at("run.sh")).unwrap().permissions().mode() & 0o777, 0o750);
    assert!(place.at("link").is_symlink());
    assert_eq!(fs::read(&odd).unwrap(), b"odd");
    // A mode alone is a change, too.
    let begun = place.begin(None, &["run.sh"]).unwrap();
    fs::set_permissions(place.at("run.sh"), Permissions::from_mode(0o600)).unwrap();
    place.store.end(&place.root, begun).unwrap();
    place.revert(Range::Newest, None).unwrap();
    assert_eq!(fs::metadata(place.at("run.sh")).unwrap().permissions().mode() & 0o777, 0o750);
}

#[test]
fn what_cannot_be_kept_must_not_be_changed() {
    let place = Place::build(Limits::default());
    place.put("folder/x", "x");
    place.put("large", "");
    fs::File::options()
        .write(true)
        .open(place.at("large"))
        .unwrap()
        .set_len(MAX_FILE_BYTES + 1)
        .unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.at("out")).unwrap();
    for (path, error) in [
        ("folder", "this is a folder"),
        ("out", "a link leads it outside the working directory, or nowhere"),
        ("../x", "it is outside the working directory"),
        (".git/config", "this folder is closed to tools"),
        ("large", "it has 50000001 bytes, and snapshots are kept of files of at most 50000000"),
    ] {
        let said = place.begin(None, &["folder/x", path]).unwrap_err();
        assert!(said.contains(error), "{said}");
    }
    assert!(place.store.steps().unwrap().is_empty());
    // Of a path in which a link is left again, the file that the text names is meant.
    std::os::unix::fs::symlink("folder", place.at("link")).unwrap();
    let begun = place.begin(None, &["link/../large-not", "a", "./a", "b/../a"]).unwrap();
    let paths: Vec<PathBuf> =
        place.store.steps().unwrap()[0].files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(paths, [place.at("large-not"), place.at("a")]);
    assert_eq!(begun.turn, 1);
}

#[test]
fn a_content_is_kept_once_and_a_damaged_one_is_not_put_back() {
    let place = Place::build(Limits::default());
    for path in ["a", "b", "c"] {
        place.put(path, "same");
    }
    place.write(1, &[("a", "1"), ("b", "1"), ("c", "1")]);
    assert_eq!(place.objects(), 1);
    let folder = fs::read_dir(place.at(".rungs/objects")).unwrap().next().unwrap().unwrap().path();
    let object = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::metadata(&object).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&object, "other").unwrap();
    let error = place.revert(Range::Newest, None).unwrap_err();
    assert!(error.ends_with("the content that was kept here is damaged or gone"), "{error}");
    assert_eq!(place.content("a").as_deref(), Some("1"));
}

#[test]
fn a_content_that_somebody_has_removed_is_kept_again() {
    let place = Place::build(Limits::default());
    place.put("a", "one");
    place.write(1, &[("a", "two")]);
    place.write(1, &[("a", "one")]);
    // As `git clean -fdx` does.
    fs::remove_dir_all(place.at(".rungs")).unwrap();
    place.write(2, &[("a", "three")]);
    let notice = "the list of snapshots was removed or replaced, and was put back";
    assert!(place.store.take_notices().iter().any(|line| line == notice));
    place.revert(Range::Turn(2), None).unwrap();
    assert_eq!(place.content("a").as_deref(), Some("one"));
    let gone = place.revert(Range::Step(2), None).unwrap_err();
    assert!(gone.ends_with("the content that was kept here is damaged or gone"), "{gone}");
}

#[test]
fn files_of_another_directory_are_left_alone() {
    let place = Place::build(Limits::default());
    place.write(1, &[("a", "1")]);
    // A worktree lies in a folder that is closed to the tools of the directory around it.
    fs::create_dir_all(place.at(".rungs/trees/1")).unwrap();
    let tree = Root::open(&place.at(".rungs/trees/1")).unwrap();
    let begun = place.store.begin(&tree, Some(1), &Author::default(), &["b".into()]).unwrap();
    place.put(".rungs/trees/1/b", "1");
    place.store.end(&tree, begun).unwrap();
    let (gone, elsewhere) = ((Outcome::Removed, false), (Outcome::Elsewhere, false));
    assert_eq!(place.revert(Range::Turn(1), None).unwrap(), [elsewhere, gone]);
    assert!(place.at(".rungs/trees/1/b").exists() && !place.at("a").exists());
    // A link that has taken the place of a file is not written through.
    place.put("x", "x");
    place.write(2, &[("c", "1")]);
    fs::remove_file(place.at("c")).unwrap();
    std::os::unix::fs::symlink("x", place.at("c")).unwrap();
    assert_eq!(
        place.revert(Range::Step(place.store.steps().unwrap().last().unwrap().id), None).unwrap(),
        [elsewhere]
    );
    assert_eq!((place.content("x").as_deref(), place.at("c").is_symlink()), (Some("x"), true));
    // No step of its own opens what is closed.
    let said = place.begin(None, &[".rungs/trees/1/c"]).unwrap_err();
    assert!(said.ends_with("this folder is closed to tools"), "{said}");
}

#[test]
fn old_snapshots_are_removed_but_never_the_newest_of_a_file() {
    let limits = Limits { max_age: Duration::from_secs(1000), max_bytes: 1_000_000 };
    let place = Place::build(limits.clone());
    for (turn, content) in [(1, "1"), (2, "2"), (3, "3")] {
        place.write(turn, &[("a", content)]);
    }
    place.write(3, &[("b", "1")]);
    let now = place.store.steps().unwrap()[0].at;
    place.store.prune(now + 999).unwrap();
    assert_eq!((place.store.steps().unwrap().len(), place.store.take_notices().len()), (4, 0));
    place.store.prune(now + 1002).unwrap();
    let left: Vec<u64> = place.store.steps().unwrap().iter().map(|step| step.id).collect();
    assert_eq!((left, place.objects()), (vec![3, 4], 1));
    assert_eq!(
        place.store.take_notices(),
        ["removed 2 snapshots that were older than 0 days or beyond 1 MB"]
    );
    // What can only be undone in part is not undone.
    let error = place.revert(Range::Turn(2), None).unwrap_err();
    assert!(error.contains("ROOT/a: its snapshots from turn 2 were removed"), "{error}");
    place.revert(Range::Turn(3), None).unwrap();
    assert_eq!((place.content("a").as_deref(), place.content("b")), (Some("2"), None));

    // By size, while it works.
    let place = Place::build(Limits { max_bytes: 2500, ..limits });
    for turn in 1..=6 {
        place.write(turn, &[("a", &turn.to_string().repeat(1000))]);
    }
    let left: Vec<u64> = place.store.steps().unwrap().iter().map(|step| step.id).collect();
    assert_eq!((left, place.objects()), (vec![5, 6], 2));
    place.revert(Range::Newest, None).unwrap();
    assert_eq!(place.content("a").unwrap(), "5".repeat(1000));
}

#[test]
fn two_processes_share_the_steps() {
    let place = Place::build(Limits::default());
    let (_, other) = open(place.dir.path(), Limits::default());
    place.write(1, &[("a", "1")]);
    let begun = other.begin(&place.root, None, &Author::default(), &["a".into()]).unwrap();
    assert_eq!((begun.id, begun.turn), (2, 2));
    place.put("a", "2");
    other.end(&place.root, begun).unwrap();
    assert_eq!(place.write(3, &[("a", "3")]), 3);
    assert_eq!(other.steps().unwrap(), place.store.steps().unwrap());
    // A step that the other has open is not one that was cut off for good.
    let begun = other.begin(&place.root, None, &Author::default(), &["a".into()]).unwrap();
    place.put("a", "4");
    let (_, third) = open(place.dir.path(), Limits::default());
    assert_eq!(third.steps().unwrap()[3].end, End::Interrupted);
    other.end(&place.root, begun).unwrap();
    assert_eq!(third.steps().unwrap()[3].end, End::Recorded);
}

/// Writes two files for ever, each step one version further.
fn write_for_ever(folder: &Path) {
    let (root, store) = open(folder, Limits::default());
    let version = |path: &str| fs::read_to_string(root.path().join(path)).unwrap();
    let mut n: u64 = version("a").trim().parse().unwrap();
    loop {
        n += 1;
        let paths = ["a".into(), "b".into()];
        let begun = store.begin(&root, Some(1), &Author::default(), &paths).unwrap();
        let target = |path: &str| Target {
            path: path.into(),
            content: Some(format!("{n:<1000}").into()),
            mode: None,
            old: Some(Stamp::of(root.open_file(path).unwrap()).unwrap()),
        };
        root.replace_all(&[target("a"), target("b")]).unwrap();
        store.end(&root, begun).unwrap();
    }
}

#[test]
fn after_a_kill_at_any_moment_all_that_was_written_can_be_undone() {
    if let Ok(folder) = env::var(FOLDER) {
        return write_for_ever(folder.as_ref());
    }
    let rounds = if env::var("LONG").is_ok_and(|long| long == "1") { ROUNDS.1 } else { ROUNDS.0 };
    let dir = tempfile::tempdir().unwrap();
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut steps, mut interrupted, mut halves) = (0, 0, 0);
    for round in 0..rounds {
        fs::write(dir.path().join("a"), format!("{:<1000}", 0)).unwrap();
        fs::write(dir.path().join("b"), format!("{:<1000}", 0)).unwrap();
        let test = "tests::after_a_kill_at_any_moment_all_that_was_written_can_be_undone";
        let mut writer = Command::new(env::current_exe().unwrap())
            .args(["--exact", test])
            .env(FOLDER, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let version = |path: &str| -> u64 {
            fs::read_to_string(dir.path().join(path)).unwrap().trim().parse().unwrap()
        };
        while !dir.path().join(".rungs/objects").exists() {
            std::thread::sleep(Duration::from_micros(100));
        }
        // In the midst of the first steps, whose length depends on the disk.
        std::thread::sleep(Duration::from_micros(random.u64(0..MAX_KILL_DELAY_MICROS)));
        writer.kill().unwrap();
        writer.wait().unwrap();

        let at_kill = (version("a"), version("b"));
        let (root, store) = open(dir.path(), Limits::default());
        let all = store.steps().unwrap();
        let cut_off = all.iter().filter(|step| step.end == End::Interrupted).count();
        // Write-ahead: whatever version is there, the one before it was kept.
        let (a, b) = at_kill;
        assert!(a == b || a == b + 1, "seed {seed}, round {round}: {at_kill:?}");
        assert!(a <= all.len() as u64, "seed {seed}, round {round}: {at_kill:?}, {}", all.len());
        halves += usize::from(a != b);
        // One is said to be cut off if it has changed something.
        let said = usize::from(
            all.iter().any(|step| step.end == End::Interrupted && step.changed().next().is_some()),
        );
        assert_eq!(store.take_notices().len(), said, "seed {seed}, round {round}");
        if let Ok(plan) = store.plan(Range::Turn(1), None, None) {
            let begun = store.begin(&root, None, &Author::default(), &plan.paths()).unwrap();
            store.revert(&root, &plan).unwrap();
            store.end(&root, begun).unwrap();
        }
        assert_eq!((version("a"), version("b")), (0, 0), "seed {seed}, round {round}");
        (steps, interrupted) = (steps + all.len(), interrupted + cut_off);
        fs::remove_dir_all(dir.path().join(".rungs")).unwrap();
    }
    let _ = writeln!(
        std::io::stderr(),
        "{rounds} kills: {steps} steps, {interrupted} cut off, {halves} between two files"
    );
}

#[test]
fn a_step_that_changes_nothing_uses_up_no_number() {
    let place = Place::build(Limits::default());
    place.put("a", "one");
    place.write(1, &[("a", "two")]);
    assert_eq!(place.revert(Range::Step(1), None).unwrap(), [RESTORED]);
    let already = (Outcome::Unchanged, false);
    assert_eq!(place.revert(Range::Turn(1), None).unwrap(), [already]);
    let begun = place.begin(None, &["a"]).unwrap();
    assert_eq!((begun.id, begun.turn), (3, 3));
    let error = place.revert(Range::Turn(99), None).unwrap_err();
    assert!(error.contains("there is no turn 99; the newest that changed something"), "{error}");
}

#[test]
fn what_a_person_types_is_read() {
    let selection = |step, turn, file: &str| {
        let file_path = Some(file.to_owned()).filter(|file| !file.is_empty());
        Selection { step, turn, file_path }
    };
    for (words, read) in [
        ("", selection(None, None, "")),
        (" 3 ", selection(Some(3), None, "")),
        ("step  3", selection(Some(3), None, "")),
        ("turn 2 a b.txt", selection(None, Some(2), "a b.txt")),
        ("3 src/x", selection(Some(3), None, "src/x")),
        ("my notes.txt", selection(None, None, "my notes.txt")),
        ("./3", selection(None, None, "./3")),
    ] {
        assert_eq!(Selection::parse(words).unwrap(), read, "{words}");
    }
    for words in ["turn", "step x", "turn -3", "-1", "0"] {
        let error = Selection::parse(words).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{words}` names no step and no turn")), "{error}");
    }
    assert!(selection(Some(1), Some(1), "").range().is_err());
}

#[test]
fn git_says_what_differs_from_the_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(uncommitted(dir.path()), None);
    let repository = git2::Repository::init(dir.path()).unwrap();
    assert_eq!(uncommitted(dir.path()), None, "there is no commit yet");
    let put = |path: &str, text: &str| fs::write(dir.path().join(path), text).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    for path in ["a", "b", "sub/c"] {
        put(path, "old");
    }
    let mut index = repository.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    index.write().unwrap();
    let who = git2::Signature::now("n", "e").unwrap();
    repository.commit(Some("HEAD"), &who, &who, "all", &tree, &[]).unwrap();
    let clean = Some("git: nothing differs from the last commit".into());
    assert_eq!(uncommitted(dir.path()), clean);
    put("a", "new");
    put("d", "new");
    fs::remove_file(dir.path().join("b")).unwrap();
    let said = uncommitted(dir.path()).unwrap();
    let begin = "git: a (modified), b (deleted), d (not in git). `git diff HEAD` shows";
    assert!(said.starts_with(begin), "{said}");
    assert_eq!(uncommitted(&dir.path().join("sub")), clean);
}
