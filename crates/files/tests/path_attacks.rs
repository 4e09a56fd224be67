//! Paths that try to leave the root, against reading and writing.
use rungs_files::{PathError, PathErrorKind, Root, Stamp, Target};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

const DENIED: &[&str] = &[".git", ".rungs"];

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    /// A root with good files, denied folders and bad links, and beside it a secret.
    fn build() -> Fixture {
        let fixture = Fixture { dir: tempfile::tempdir().unwrap() };
        for folder in [
            "root/a/.git",
            "root/.git/hooks",
            "root/.rungs/x",
            "root/b",
            "root-sibling",
            "other/in",
        ] {
            fs::create_dir_all(fixture.at(folder)).unwrap();
        }
        for file in [
            "a/f",
            "a/.git/config",
            ".git/config",
            ".rungs/x/log",
            "b/-rf",
            "b/ spaced ",
            "b/\u{fc}\n",
            ".gitignore",
        ] {
            fs::write(fixture.at("root").join(file), "text").unwrap();
        }
        for file in ["secret", "root-sibling/f", "other/in/f"] {
            fs::write(fixture.at(file), "secret").unwrap();
        }
        let absolute = |path: &str| fixture.at(path).display().to_string();
        for (target, link) in [
            ("a/f", "good"),
            (&absolute("root/a/f"), "good-absolute"),
            ("a", "folder"),
            ("good", "twice"),
            ("../secret", "bad"),
            (&absolute("secret"), "bad-absolute"),
            ("..", "up"),
            ("../other", "other"),
            ("../root-sibling", "sibling"),
            ("a/.git", "git"),
            (".rungs/x/log", "log"),
            ("nothing", "dead"),
            ("../nothing", "dead-outside"),
            ("../other/new", "dead-new"),
            ("loop", "loop"),
            ("/proc/self", "self"),
            ("/proc/self/environ", "environ"),
            ("/dev/zero", "zero"),
            ("/dev/stdin", "stdin"),
            ("/etc", "etc"),
        ] {
            symlink(target, fixture.at("root").join(link)).unwrap();
        }
        let fifo = fixture.at("root/fifo");
        assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
        std::mem::forget(
            std::os::unix::net::UnixListener::bind(fixture.at("root/socket")).unwrap(),
        );
        fixture
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn root(&self) -> Root {
        Root::open(&self.at("root")).unwrap().deny(DENIED)
    }

    /// Every file outside the root and in the denied folders, with its content.
    fn protected_files(&self) -> Vec<(PathBuf, String)> {
        fn walk(at: &Path, found: &mut Vec<(PathBuf, String)>) {
            for entry in fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()) {
                match entry.symlink_metadata().unwrap() {
                    meta if meta.is_dir() => walk(&entry, found),
                    meta if meta.is_file() => {
                        found.push((entry.clone(), fs::read_to_string(entry).unwrap()))
                    }
                    _ => {}
                }
            }
        }
        let mut found = vec![];
        walk(self.dir.path(), &mut found);
        let root = self.at("root");
        let is_denied = |path: &Path| {
            path.components().any(|name| DENIED.iter().any(|denied| name.as_os_str() == *denied))
        };
        found.retain(|(path, _)| !path.starts_with(&root) || is_denied(path));
        found.sort();
        found
    }
}

fn read(root: &Root, path: &str) -> Result<String, PathErrorKind> {
    let mut text = String::new();
    root.open_file(path)
        .map_err(|error| error.kind)?
        .read_to_string(&mut text)
        .map_err(PathErrorKind::Io)?;
    Ok(text)
}

/// Replaces whatever is there, as a writer who has read it.
fn write(root: &Root, path: &str) -> Result<Stamp, PathErrorKind> {
    let old = root.open_file(path).ok().map(|file| Stamp::of(file).unwrap());
    root.write(path, b"text", old.as_ref()).map_err(|error| error.kind)
}

#[test]
fn no_path_leads_out_of_the_root() {
    let fixture = Fixture::build();
    let root = fixture.root();
    let absolute = |path: &str| fixture.at(path).display().to_string();
    let before = fixture.protected_files();
    let long = "x".repeat(300);
    let deep = "d/".repeat(3000);
    let climb = format!("{}etc/passwd", "../".repeat(40));
    let (outside, link, denied, missing) = ("Outside", "LinkOutside", "Denied", "NotFound");
    let (folder, special, invalid, io) = ("IsFolder", "NotRegularFile", "InvalidPath", "Io");
    // The path, what reading it says, what writing it says.
    let rows = [
        ("a/f", "ok", "ok"),
        ("./a//f", "ok", "ok"),
        ("a/../a/f", "ok", "ok"),
        ("a/./f", "ok", "ok"),
        ("good", "ok", "ok"),
        ("good-absolute", "ok", "ok"),
        ("twice", "ok", "ok"),
        ("folder/f", "ok", "ok"),
        ("folder/../a/f", "ok", "ok"),
        (&absolute("root/a/f"), "ok", "ok"),
        (&absolute("root/../root/a/f"), "ok", "ok"),
        ("../root/a/f", "ok", "ok"),
        ("up/root/a/f", "ok", "ok"),
        // By the text, this is `a/f`; the system would go to where `up` leads, and above that.
        ("up/../a/f", "ok", "ok"),
        ("b/-rf", "ok", "ok"),
        ("b/ spaced ", "ok", "ok"),
        ("b/\u{fc}\n", "ok", "ok"),
        (".gitignore", "ok", "ok"),
        ("new", missing, "ok"),
        ("new-folder/deep/er/f", missing, "ok"),
        ("folder/new", missing, "ok"),
        (".github/new.yml", missing, "ok"),
        (".gitmodules", missing, "ok"),
        ("...", missing, "ok"),
        ("~", missing, "ok"),
        ("~root/f", missing, "ok"),
        ("$HOME", missing, "ok"),
        ("file:a", missing, "ok"),
        ("\\..\\..\\secret", missing, "ok"),
        ("..%2fsecret", missing, "ok"),
        ("\u{ff0e}\u{ff0e}/secret", missing, "ok"),
        ("../secret", outside, outside),
        ("a/../../secret", outside, outside),
        ("./../secret", outside, outside),
        (".././secret", outside, outside),
        ("..//secret", outside, outside),
        ("../nothing", outside, outside),
        ("..", outside, outside),
        ("../", outside, outside),
        ("../..", outside, outside),
        (&climb, outside, outside),
        ("nothing/../../secret", outside, outside),
        ("nothing/../../nothing", outside, outside),
        ("nothing/../f", missing, "ok"),
        ("bad", link, link),
        ("bad-absolute", link, link),
        ("up/secret", link, link),
        ("up/nothing", link, link),
        ("up", link, link),
        ("up/root-sibling/f", link, link),
        ("folder/../up/secret", link, link),
        ("other/in/f", link, link),
        ("other/in/new", link, link),
        ("other/new/f", link, link),
        ("sibling/f", link, link),
        ("dead", link, link),
        ("dead-outside", link, link),
        ("dead-new", link, link),
        ("dead/f", link, link),
        ("etc/passwd", link, link),
        ("self/environ", link, link),
        ("self/root/etc/passwd", link, link),
        ("environ", link, link),
        ("zero", link, link),
        ("/etc/passwd", outside, outside),
        ("//etc/passwd", outside, outside),
        ("/etc/nothing", outside, outside),
        ("/", outside, outside),
        ("/proc/self/environ", outside, outside),
        ("/proc/self/root/etc/passwd", outside, outside),
        ("/proc/self/fd/0", outside, outside),
        ("/dev/stdin", outside, outside),
        ("/dev/zero", outside, outside),
        ("/sys/kernel/uevent_seqnum", outside, outside),
        (&absolute("root-sibling/f"), outside, outside),
        (&absolute("secret"), outside, outside),
        (&absolute("root/../secret"), outside, outside),
        (".git/config", denied, denied),
        (".git/hooks/pre-commit", denied, denied),
        (".git", denied, denied),
        (".GIT/config", denied, denied),
        (".Git/hooks/new", denied, denied),
        ("a/.git/config", denied, denied),
        ("a/../.git/config", denied, denied),
        ("git/config", denied, denied),
        ("git/hooks/new", denied, denied),
        ("b/.git", denied, denied),
        ("new/.git/hooks/f", denied, denied),
        (".rungs/x/log", denied, denied),
        (".rungs/new", denied, denied),
        ("log", denied, denied),
        ("folder/.git/config", denied, denied),
        ("a", folder, folder),
        ("a/", folder, folder),
        (".", folder, folder),
        ("folder", folder, folder),
        (&absolute("root"), folder, folder),
        ("fifo", special, special),
        ("socket", special, special),
        ("", invalid, invalid),
        ("a\0b", invalid, invalid),
        ("a/f/g", io, io),
        ("a/f/../f", "ok", "ok"),
        ("a/f/", "ok", "ok"),
        ("loop", link, link),
        (&long, io, io),
        (&deep, io, io),
    ];
    assert!(rows.len() >= 60);
    let name_of = |kind: &PathErrorKind| format!("{kind:?}").split('(').next().unwrap().to_owned();
    for (path, reads, writes) in rows {
        let shown: String = path.chars().take(80).collect();
        match read(&root, path) {
            Ok(text) => assert_eq!((text.as_str(), reads), ("text", "ok"), "read {shown}"),
            Err(kind) => assert_eq!(name_of(&kind), reads, "read {shown}"),
        }
        match write(&root, path) {
            Ok(_) => assert_eq!("ok", writes, "write {shown}"),
            Err(kind) => assert_eq!(name_of(&kind), writes, "write {shown}"),
        }
        if writes == "ok" {
            assert_eq!(read(&root, path).unwrap(), "text", "written {shown}");
        }
    }
    assert_eq!(fixture.protected_files(), before);
    assert!(fixture.at("root/good").is_symlink(), "what it points to was replaced, not the link");
    let temporary = fs::read_dir(fixture.at("root"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "tmp"));
    assert_eq!(temporary.count(), 0);
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// How long it may last until each thread has had its turn.
const RACE_TIME: Duration = Duration::from_secs(60);

/// Exchanges the folder `root/d` for a link that leads out, and back, as fast as possible, while
/// `attempt` runs: `times` times, and on until the two were exchanged meanwhile and one attempt has
/// found the folder, which it says. The system may let one thread wait all the time of the others.
fn race(fixture: &Fixture, times: usize, mut attempt: impl FnMut() -> bool) {
    let (folder, link) = (fixture.at("root/d"), fixture.at("root/link"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("f"), "text").unwrap();
    symlink("../other/in", &link).unwrap();
    let (stop, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut tried, mut completed, start) = (0, 0, Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Relaxed);
            }
        });
        // Also when an attempt panics: else the swapping would go on for ever.
        let _stop = StopOnDrop(&stop);
        while tried < times || completed == 0 || swaps.load(Relaxed) == 0 {
            tried += 1;
            completed += usize::from(attempt());
            assert!(start.elapsed() < RACE_TIME, "{tried} tried, {completed} completed, {swaps:?}");
        }
    });
}

#[test]
fn a_swapped_link_is_never_read_through() {
    let fixture = Fixture::build();
    let root = fixture.root();
    race(&fixture, 2000, || match read(&root, "d/f") {
        Ok(text) => {
            assert_eq!(text, "text");
            true
        }
        Err(
            PathErrorKind::NotFound
            | PathErrorKind::LinkOutside
            | PathErrorKind::Outside
            | PathErrorKind::Race,
        ) => false,
        Err(kind) => panic!("{kind:?}"),
    });
    // What was found by walking is opened by the same name later.
    symlink("../other/in", fixture.at("root/later")).unwrap();
    assert!(root.open_resolved(Path::new("later/f")).is_err());
}

#[test]
fn a_swapped_link_is_never_written_through() {
    let fixture = Fixture::build();
    let root = fixture.root();
    let before = fixture.protected_files();
    let mut number = 0;
    race(&fixture, 2000, || {
        number += 1;
        let path = format!("d/{}", number % 50);
        match write(&root, &path) {
            Ok(_) => true,
            Err(
                PathErrorKind::NotFound
                | PathErrorKind::LinkOutside
                | PathErrorKind::Outside
                | PathErrorKind::Race
                | PathErrorKind::Conflict,
            ) => false,
            Err(kind) => panic!("{kind:?}"),
        }
    });
    assert_eq!(fixture.protected_files(), before);
}

#[test]
fn a_write_replaces_the_whole_file_and_keeps_its_mode() {
    let fixture = Fixture::build();
    let root = fixture.root();
    let path = fixture.at("root/script");
    let first = root.write("script", b"one", None).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).unwrap();
    fs::hard_link(&path, fixture.at("other-name")).unwrap();
    // Who may run it, and its second name, are changes too.
    assert!(root.write("script", b"two", Some(&first)).is_err());
    let first = Stamp::of(fs::File::open(&path).unwrap()).unwrap();
    let second = root.write("script", b"two", Some(&first)).unwrap();
    assert_eq!(second, Stamp::of(fs::File::open(&path).unwrap()).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o751);
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(fs::read_to_string(fixture.at("other-name")).unwrap(), "one");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(matches!(
        root.write("script", b"three", Some(&second)).unwrap_err().kind,
        PathErrorKind::ReadOnly
    ));
}

#[test]
fn only_the_expected_state_is_replaced() {
    let fixture = Fixture::build();
    let root = fixture.root();
    let message = |error: PathError| error.to_string();
    let changed = "f: it was made, changed or removed meanwhile";
    let first = root.write("f", b"first", None).unwrap();
    assert_eq!(root.write("f", b"again", None).map_err(message), Err(changed.into()));
    let second = root.write("f", b"second", Some(&first)).unwrap();
    assert_eq!(root.write("f", b"late", Some(&first)).map_err(message), Err(changed.into()));
    fs::remove_file(fixture.at("root/f")).unwrap();
    assert_eq!(root.write("f", b"gone", Some(&second)).map_err(message), Err(changed.into()));
    assert!(!fixture.at("root/f").exists());
}

#[test]
fn of_many_writers_that_start_from_one_state_one_succeeds() {
    let fixture = Fixture::build();
    for round in 0..20 {
        let name = format!("round-{round}");
        let base = if round % 2 == 0 {
            None
        } else {
            Some(fixture.root().write(&name, b"base", None).unwrap())
        };
        let successes = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let (fixture, name, base) = (&fixture, &name, &base);
                    scope.spawn(move || {
                        fixture
                            .root()
                            .write(name, format!("{writer}").as_bytes(), base.as_ref())
                            .is_ok()
                    })
                })
                .collect();
            writers
                .into_iter()
                .map(|writer| writer.join().unwrap())
                .filter(|written| *written)
                .count()
        });
        assert_eq!(successes, 1, "{name}");
    }
}

#[test]
fn a_swapped_content_is_noticed_though_its_time_was_put_back() {
    let fixture = Fixture::build();
    let root = fixture.root();
    let path = fixture.at("root/f");
    let put_back = |path: &Path, time| {
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    let swaps: [fn(&Path, &Path); 3] = [
        |path, _| fs::write(path, "other").unwrap(),
        |path, beside| {
            fs::write(beside, "other").unwrap();
            fs::rename(beside, path).unwrap();
        },
        |path, beside| {
            fs::copy(path, beside).unwrap();
            fs::remove_file(path).unwrap();
            fs::write(path, "other").unwrap();
        },
    ];
    for swap in swaps {
        fs::write(&path, "first").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let read = Stamp::settled(fs::File::open(&path).unwrap()).unwrap();
        swap(&path, &fixture.at("root/beside"));
        put_back(&path, time);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), time);
        let error = root.write("f", b"mine", Some(&read)).unwrap_err();
        assert!(matches!(error.kind, PathErrorKind::Conflict), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
    }
}

#[test]
fn what_a_killed_write_left_is_removed_by_the_next_one() {
    let fixture = Fixture::build();
    let root = fixture.root();
    let at = |name: &str| fixture.at("root/b").join(name);
    let (left, in_use) = (".rungs-0123456789abcdef.tmp", ".rungs-fedcba9876543210.tmp");
    // What others may have called almost like that.
    let others = [
        ".rungs-0123456789abcde.tmp",
        ".rungs-0123456789abcdeg.tmp",
        "x.rungs-0123456789abcdef.tmp",
        ".0123456789abcdef.tmp",
        in_use,
    ];
    for name in others.iter().chain([&left]) {
        fs::write(at(name), "half").unwrap();
    }
    let (folder, link) = (".rungs-0000000000000000.tmp", ".rungs-0000000000000001.tmp");
    fs::create_dir(at(folder)).unwrap();
    symlink(left, at(link)).unwrap();
    let writer = fs::File::open(at(in_use)).unwrap();
    writer.lock().unwrap();
    root.write("b/new", b"text", None).unwrap();
    assert!(!at(left).exists());
    assert!(others.iter().chain([&folder]).all(|name| at(name).exists()));
    assert!(at(link).is_symlink());
    // Closing is not enough: a program that another test starts has the file until it runs.
    writer.unlock().unwrap();
    root.write("b/newer", b"text", None).unwrap();
    assert!(!at(in_use).exists());
}

/// A writer of several files gives an old one a second name before the new one takes its place.
#[test]
fn a_file_that_a_killed_write_gave_a_second_name_can_be_replaced() {
    let fixture = Fixture::build();
    let root = fixture.root();
    let left = |n: u64| fixture.at(&format!("root/.rungs-{n:016x}.tmp"));
    let file = |name: &str, n: u64| {
        fs::write(fixture.at("root").join(name), "old").unwrap();
        fs::hard_link(fixture.at("root").join(name), left(n)).unwrap();
        Stamp::of(root.open_file(name).unwrap()).unwrap()
    };
    let old = file("f", 0);
    root.write("f", b"new", Some(&old)).unwrap();
    // Not `f` again: a program that another test starts may have it open until it runs, and locked.
    let targets = [("g", 1), ("h", 2)].map(|(name, n)| Target {
        path: name.into(),
        content: Some("new".into()),
        mode: None,
        old: Some(file(name, n)),
    });
    root.replace_all(&targets).unwrap();
    for name in ["f", "g", "h"] {
        assert_eq!(fs::read_to_string(fixture.at("root").join(name)).unwrap(), "new");
    }
    assert!((0..3).all(|n| !left(n).exists()));
}
