//! What a path may try, against reading and writing.
use rungs_files::{PathErrorKind, Root, Stamp};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

const CLOSED: &[&str] = &[".git", ".rungs"];

struct House {
    dir: tempfile::TempDir,
}

impl House {
    /// A root with good files, closed folders and bad links, and beside it a secret.
    fn build() -> House {
        let house = House { dir: tempfile::tempdir().unwrap() };
        for folder in [
            "root/a/.git",
            "root/.git/hooks",
            "root/.rungs/x",
            "root/b",
            "root-sibling",
            "other/in",
        ] {
            fs::create_dir_all(house.at(folder)).unwrap();
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
            fs::write(house.at("root").join(file), "text").unwrap();
        }
        for file in ["secret", "root-sibling/f", "other/in/f"] {
            fs::write(house.at(file), "secret").unwrap();
        }
        let absolute = |path: &str| house.at(path).display().to_string();
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
            symlink(target, house.at("root").join(link)).unwrap();
        }
        let fifo = house.at("root/fifo");
        assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
        std::mem::forget(std::os::unix::net::UnixListener::bind(house.at("root/socket")).unwrap());
        house
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn root(&self) -> Root {
        Root::open(&self.at("root")).unwrap().closed(CLOSED)
    }

    /// Every file outside the root and below the closed folders, with its content.
    fn untouchable(&self) -> Vec<(PathBuf, String)> {
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
        let shut = |path: &Path| {
            path.components().any(|name| CLOSED.iter().any(|closed| name.as_os_str() == *closed))
        };
        found.retain(|(path, _)| !path.starts_with(&root) || shut(path));
        found.sort();
        found
    }
}

fn read(root: &Root, path: &str) -> Result<String, PathErrorKind> {
    let mut text = String::new();
    root.read(path)
        .map_err(|refused| refused.kind)?
        .read_to_string(&mut text)
        .map_err(PathErrorKind::System)?;
    Ok(text)
}

/// Writes whatever is there, as one who has seen it.
fn write(root: &Root, path: &str) -> Result<Stamp, PathErrorKind> {
    let old = root.read(path).ok().map(|file| Stamp::of(file).unwrap());
    root.write(path, b"text", old.as_ref()).map_err(|refused| refused.kind)
}

#[test]
fn no_path_leads_out() {
    let house = House::build();
    let root = house.root();
    let absolute = |path: &str| house.at(path).display().to_string();
    let before = house.untouchable();
    let long = "x".repeat(300);
    let deep = "d/".repeat(3000);
    let climb = format!("{}etc/passwd", "../".repeat(40));
    let (outside, link, closed, missing) = ("Outside", "Link", "Closed", "Missing");
    let (folder, no_file, no_path, system) = ("Folder", "NoFile", "NoPath", "System");
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
        ("nothing/../f", missing, missing),
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
        (".git/config", closed, closed),
        (".git/hooks/pre-commit", closed, closed),
        (".git", closed, closed),
        (".GIT/config", closed, closed),
        (".Git/hooks/new", closed, closed),
        ("a/.git/config", closed, closed),
        ("a/../.git/config", closed, closed),
        ("git/config", closed, closed),
        ("git/hooks/new", closed, closed),
        ("b/.git", closed, closed),
        ("new/.git/hooks/f", closed, closed),
        (".rungs/x/log", closed, closed),
        (".rungs/new", closed, closed),
        ("log", closed, closed),
        ("folder/.git/config", closed, closed),
        ("a", folder, folder),
        ("a/", folder, folder),
        (".", folder, folder),
        ("folder", folder, folder),
        (&absolute("root"), folder, folder),
        ("fifo", no_file, no_file),
        ("socket", no_file, no_file),
        ("", no_path, no_path),
        ("a\0b", no_path, no_path),
        ("a/f/g", system, system),
        ("a/f/../f", missing, missing),
        ("a/f/", system, system),
        ("loop", link, link),
        (&long, system, system),
        (&deep, system, system),
    ];
    assert!(rows.len() >= 60);
    let kind = |why: &PathErrorKind| format!("{why:?}").split('(').next().unwrap().to_owned();
    for (path, reads, writes) in rows {
        let shown: String = path.chars().take(80).collect();
        match read(&root, path) {
            Ok(text) => assert_eq!((text.as_str(), reads), ("text", "ok"), "read {shown}"),
            Err(why) => assert_eq!(kind(&why), reads, "read {shown}"),
        }
        match put(&root, path) {
            Ok(_) => assert_eq!("ok", writes, "write {shown}"),
            Err(why) => assert_eq!(kind(&why), writes, "write {shown}"),
        }
        if writes == "ok" {
            assert_eq!(read(&root, path).unwrap(), "text", "written {shown}");
        }
    }
    assert_eq!(house.untouchable(), before);
    assert!(house.at("root/good").is_symlink(), "what it points to was replaced, not the link");
    let drafts = fs::read_dir(house.at("root"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "tmp"));
    assert_eq!(drafts.count(), 0);
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Exchanges the folder `root/d` for a link out and back, as fast as it can, while `attempt` runs so many times.
fn raced(house: &House, times: usize, mut attempt: impl FnMut()) {
    let (folder, link) = (house.at("root/d"), house.at("root/link"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("f"), "text").unwrap();
    symlink("../other/in", &link).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut swaps = 0;
            while !stop.load(Relaxed) {
                renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            swaps
        });
        {
            // Also when an attempt panics: else the swapping would go on for ever.
            let _stopping = Stopping(&stop);
            (0..times).for_each(|_| attempt());
        }
        assert!(swapping.join().unwrap() > 0);
    });
}

#[test]
fn a_swapped_link_is_never_read_through() {
    let house = House::build();
    let root = house.root();
    let mut read_well = 0;
    raced(&house, 2000, || match read(&root, "d/f") {
        Ok(text) => {
            assert_eq!(text, "text");
            read_well += 1;
        }
        Err(
            PathErrorKind::Missing
            | PathErrorKind::Link
            | PathErrorKind::Outside
            | PathErrorKind::Swapped,
        ) => {}
        Err(why) => panic!("{why:?}"),
    });
    assert!(read_well > 0);
    // What was found by walking is opened by the same name later.
    symlink("../other/in", house.at("root/later")).unwrap();
    assert!(root.open_found(Path::new("later/f")).is_err());
}

#[test]
fn a_swapped_link_is_never_written_through() {
    let house = House::build();
    let root = house.root();
    let before = house.untouchable();
    let mut number = 0;
    raced(&house, 2000, || {
        number += 1;
        let path = format!("d/{}", number % 50);
        match put(&root, &path) {
            Ok(_)
            | Err(
                PathErrorKind::Missing
                | PathErrorKind::Link
                | PathErrorKind::Outside
                | PathErrorKind::Swapped
                | PathErrorKind::Changed,
            ) => {}
            Err(why) => panic!("{why:?}"),
        }
    });
    assert_eq!(house.untouchable(), before);
}

#[test]
fn what_is_put_is_whole_and_keeps_its_mode() {
    let house = House::build();
    let root = house.root();
    let path = house.at("root/script");
    let made = root.write("script", b"one", None).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).unwrap();
    fs::hard_link(&path, house.at("other-name")).unwrap();
    let put = root.write("script", b"two", Some(&made)).unwrap();
    assert_eq!(put, Stamp::of(fs::File::open(&path).unwrap()).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o751);
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_eq!(fs::read_to_string(house.at("other-name")).unwrap(), "one");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(matches!(
        root.write("script", b"three", Some(&put)).unwrap_err().kind,
        PathErrorKind::ReadOnly
    ));
}

#[test]
fn only_the_expected_state_is_replaced() {
    let house = House::build();
    let root = house.root();
    let why = |refused: rungs_files::PathError| refused.to_string();
    let changed = "f: it was made, changed or removed meanwhile";
    let first = root.write("f", b"first", None).unwrap();
    assert_eq!(root.write("f", b"again", None).map_err(why), Err(changed.into()));
    let second = root.write("f", b"second", Some(&first)).unwrap();
    assert_eq!(root.write("f", b"late", Some(&first)).map_err(why), Err(changed.into()));
    fs::remove_file(house.at("root/f")).unwrap();
    assert_eq!(root.write("f", b"gone", Some(&second)).map_err(why), Err(changed.into()));
    assert!(!house.at("root/f").exists());
}

#[test]
fn of_many_writers_from_one_state_one_wins() {
    let house = House::build();
    for round in 0..20 {
        let name = format!("round-{round}");
        let base = if round % 2 == 0 {
            None
        } else {
            Some(house.root().write(&name, b"base", None).unwrap())
        };
        let wins = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let (house, name, base) = (&house, &name, &base);
                    scope.spawn(move || {
                        house
                            .root()
                            .write(name, format!("{writer}").as_bytes(), base.as_ref())
                            .is_ok()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(wins, 1, "{name}");
    }
}
