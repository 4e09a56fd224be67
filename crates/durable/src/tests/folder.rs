//! What a repository may have planted where state is kept, and what a folder does about it.

use super::{folder, names};
use crate::{Error, Folder, Foreign};
use rustix::{
    fs::{CWD, Mode, mkfifoat},
    process::umask,
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn found<T: std::fmt::Debug>(result: Result<T, Error>) -> Foreign {
    match result {
        Err(Error::NotOurs { found, .. }) => found,
        other => panic!("{other:?}"),
    }
}

/// Every call that opens a file, as what it found there.
fn all_calls(state: &Folder, file: &str) -> Vec<Foreign> {
    let mut all = vec![
        found(state.open_file(file, 1000)),
        found(state.read(file, 1000)),
        found(state.write(file, b"ours")),
    ];
    assert!(state.create_new(file).unwrap().is_none());
    all.dedup();
    all
}

#[test]
fn whatever_is_no_file_of_ours_is_named_and_not_touched() {
    let here = folder();
    let state = Folder::open(here.path(), ".rungs/state").unwrap();
    let at = |name: &str| state.path().join(name);
    let secret = here.path().join("secret");
    fs::write(&secret, "theirs").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&secret, at("link")).unwrap();
    symlink(here.path().join("new"), at("dangling")).unwrap();
    mkfifoat(CWD, at("fifo"), Mode::RWXU).unwrap();
    fs::create_dir(at("folder")).unwrap();
    fs::hard_link(&secret, at("hard")).unwrap();
    fs::write(at("large"), [b'x'; 1001]).unwrap();
    for (name, expected) in [
        ("link", Foreign::Link),
        ("dangling", Foreign::Link),
        ("fifo", Foreign::Fifo),
        ("folder", Foreign::Folder),
        ("hard", Foreign::HardLink),
    ] {
        assert_eq!(all_calls(&state, name), [expected], "{name}");
    }
    let too_large = Foreign::TooLarge { bytes: 1001, max_bytes: 1000 };
    assert_eq!(found(state.read("large", 1000)), too_large);
    assert_eq!(found(state.open_file("large", 1000)), too_large);
    assert_eq!((fs::read_to_string(&secret).unwrap(), mode(&secret)), ("theirs".into(), 0o644));
    let left = ["dangling", "fifo", "folder", "hard", "large", "link"];
    assert_eq!(names(state.path()), left);
    let error = state.read("link", 1000).unwrap_err().to_string();
    let expected = "is a symbolic link, which is not followed; nothing was read or written there";
    assert_eq!(error, format!("{} {expected}", at("link").display()));
}

#[test]
fn a_link_in_place_of_a_folder_leads_nowhere() {
    let (here, theirs) = (folder(), folder());
    symlink(theirs.path(), here.path().join(".rungs")).unwrap();
    assert_eq!(found(Folder::open(here.path(), ".rungs/state")), Foreign::Link);
    assert_eq!(found(Folder::open(here.path(), ".rungs")), Foreign::Link);
    fs::write(here.path().join("file"), "").unwrap();
    assert_eq!(found(Folder::open(here.path(), "file/state")), Foreign::File);
    assert!(names(theirs.path()).is_empty());
    // The base was given by a person.
    let base = Folder::open(here.path().join(".rungs"), "").unwrap();
    base.write("results/file", b"ours").unwrap();
    assert_eq!(fs::read(theirs.path().join("results/file")).unwrap(), b"ours");
}

#[test]
fn a_path_leads_only_below_the_folder() {
    let here = folder();
    let state = Folder::open(here.path(), "state").unwrap();
    for path in ["..", "../file", "/etc/passwd", "a/../../file", "", "."] {
        let error = state.write(path, b"ours").unwrap_err();
        let why = "it is not a name below this folder";
        assert!(error.to_string().ends_with(why), "{path}: {error}");
    }
    assert!(names(state.path()).is_empty());
    assert_eq!(names(here.path()), ["state"]);
}

#[test]
fn modes_that_are_too_wide_are_tightened() {
    let here = folder();
    let state = here.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("file"), "old").unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(state.join("file"), fs::Permissions::from_mode(0o666)).unwrap();
    let folder = Folder::open(here.path(), "state").unwrap();
    assert_eq!((mode(&state), mode(state.join("file"))), (0o700, 0o666));
    assert_eq!(folder.read("file", 10).unwrap().unwrap(), b"old");
    assert_eq!(mode(state.join("file")), 0o600);
    fs::set_permissions(state.join("file"), fs::Permissions::from_mode(0o644)).unwrap();
    folder.write("file", b"new").unwrap();
    assert_eq!(mode(state.join("file")), 0o600);
}

/// The umask is the whole process's, so this test runs itself again in a process of its own.
#[test]
fn new_files_and_folders_have_their_modes_whatever_the_umask() {
    if std::env::var_os("DURABLE_UMASK").is_none() {
        let name = "tests::folder::new_files_and_folders_have_their_modes_whatever_the_umask";
        let mut again = Command::new(std::env::current_exe().unwrap());
        let ended = again.args(["--exact", name]).env("DURABLE_UMASK", "").status().unwrap();
        assert!(ended.success());
        return;
    }
    for mask in [0, 0o022, 0o077, 0o277, 0o777] {
        let here = folder();
        umask(Mode::from_raw_mode(mask));
        let state = Folder::open(here.path(), "a/b").unwrap();
        state.write("written", b"").unwrap();
        drop(state.open_file("opened", 10).unwrap());
        drop(state.create_new("created").unwrap().unwrap());
        umask(Mode::from_raw_mode(0o022));
        let modes = ["written", "opened", "created"].map(|name| mode(state.path().join(name)));
        assert_eq!(modes, [0o600; 3], "umask {mask:o}");
        assert_eq!((mode(state.path()), mode(here.path().join("a"))), (0o700, 0o700), "{mask:o}");
    }
}

#[test]
fn a_folder_that_was_replaced_is_noticed() {
    let here = folder();
    let state = Folder::open(here.path(), "above/state").unwrap();
    state.write("file", b"ours").unwrap();
    let (above, aside) = (here.path().join("above"), here.path().join("aside"));
    let is_replaced = |folder: &str| {
        let expected = here.path().join(folder);
        let is = |error: &Error| matches!(error, Error::Replaced { folder } if *folder == expected);
        let errors = [
            state.read("file", 10).unwrap_err(),
            state.write("file", b"").unwrap_err(),
            state.open_file("file", 10).unwrap_err(),
            state.create_new("new").unwrap_err(),
            state.remove("file").unwrap_err(),
            state.list().unwrap_err(),
        ];
        assert!(errors.iter().all(is), "{errors:?}");
    };
    fs::rename(&above, &aside).unwrap();
    is_replaced("above");
    // Through a link to where it is now, the path leads to the same folder.
    symlink(&aside, &above).unwrap();
    assert_eq!(state.read("file", 10).unwrap().unwrap(), b"ours");
    fs::remove_file(&above).unwrap();
    symlink(here.path(), &above).unwrap();
    assert_eq!(found(state.read("file", 10)), Foreign::Link);
    fs::remove_file(&above).unwrap();
    fs::create_dir_all(above.join("state")).unwrap();
    is_replaced("above");
    fs::remove_dir_all(&above).unwrap();
    is_replaced("above");
    fs::rename(&aside, &above).unwrap();
    assert_eq!(state.read("file", 10).unwrap().unwrap(), b"ours");
    fs::rename(above.join("state"), above.join("other")).unwrap();
    is_replaced("above/state");
}

#[test]
fn a_folder_that_was_removed_is_created_again_once_for_all() {
    let here = folder();
    let state = Folder::open(here.path(), "above/state").unwrap();
    let other = Folder::open(here.path(), "above/state").unwrap();
    for folder in ["above/state", "above"] {
        state.write("file", b"ours").unwrap();
        fs::remove_dir_all(here.path().join(folder)).unwrap();
        assert_eq!(state.read("file", 10).unwrap(), None);
        other.write("file", b"theirs").unwrap();
        assert_eq!(state.read("file", 10).unwrap().unwrap(), b"theirs");
        assert_eq!(fs::read(here.path().join("above/state/file")).unwrap(), b"theirs");
    }
    fs::remove_dir_all(here.path().join("above")).unwrap();
    symlink("/etc", here.path().join("above")).unwrap();
    assert_eq!(found(state.write("file", b"ours")), Foreign::Link);
}

#[test]
fn a_hidden_folder_is_hidden_again_when_it_was_removed() {
    let here = tempfile::tempdir().unwrap();
    let hidden = Folder::open(here.path(), "hidden").unwrap();
    let state = hidden.folder("state").unwrap();
    hidden.hide_from_git();
    let ignored = || fs::read_to_string(here.path().join("hidden/.gitignore")).unwrap();
    assert_eq!(ignored(), "*\n");
    fs::remove_dir_all(here.path().join("hidden")).unwrap();
    state.write("file", b"x").unwrap();
    assert_eq!(ignored(), "*\n");
    // One that somebody has written stays.
    fs::write(here.path().join("hidden/.gitignore"), "mine\n").unwrap();
    hidden.hide_from_git();
    assert_eq!(ignored(), "mine\n");
}

#[test]
fn temporary_files_of_killed_processes_are_removed_and_those_in_use_are_not() {
    let (here, secret) = (folder(), folder());
    let state = here.path().join("state");
    fs::create_dir(&state).unwrap();
    for name in [".file.0123456789abcdef.tmp", ".a.tmp", "a.tmp", ".tmp", ".a.tmp2"] {
        fs::write(state.join(name), "half").unwrap();
    }
    symlink(secret.path(), state.join(".link.tmp")).unwrap();
    let used = fs::File::create(state.join(".used.tmp")).unwrap();
    used.lock().unwrap();
    Folder::open(here.path(), "state").unwrap().write("file", b"whole").unwrap();
    assert_eq!(names(&state), [".a.tmp2", ".link.tmp", ".used.tmp", "a.tmp", "file"]);
}

#[test]
fn a_file_is_created_once_listed_and_removed() {
    let here = folder();
    let state = Folder::open(here.path(), "state").unwrap();
    assert!(state.create_new("b").unwrap().is_some());
    assert!(state.create_new("b").unwrap().is_none());
    state.write("a", b"").unwrap();
    assert_eq!(state.list().unwrap(), ["a", "b"]);
    assert_eq!((state.remove("a").unwrap(), state.remove("a").unwrap()), (true, false));
    assert_eq!(state.list().unwrap(), ["b"]);
    assert_eq!(state.read("none/such", 10).unwrap(), None);
    assert_eq!(state.list().unwrap(), ["b"]);
}
