//! The guard: which paths a tool may touch.
//!
//! Checking a path's text and then opening it would leave a gap in which a link can be swapped. So the path is
//! resolved first, judged by where it really leads, and then opened component by component below a handle on the
//! root, following no link at all: whatever was swapped meanwhile is refused, not followed.
use crate::{Context, ToolError};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};
use std::{
    fs::File,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

/// Folders whose insides are nobody's business: git's, whose files can run programs, and this program's own state.
const PRIVATE: [&str; 2] = [".git", ".rungs"];

/// Opens a regular file below the agent's directory for reading.
///
/// # Errors
/// Names the path as the model wrote it, and why it is refused or what is wrong with it.
pub fn open(cx: &Context, path: &str) -> Result<File, ToolError> {
    let refused = |why: &str| ToolError(format!("{path}: {why}"));
    let root = cx.cwd().canonicalize().map_err(|e| ToolError(format!("{}: {e}", cx.cwd().display())))?;
    let inside = resolve(&root, path)?;
    let file = open_below(&root, &inside, OFlags::RDONLY | OFlags::NONBLOCK).map_err(|errno| match errno {
        Errno::LOOP | Errno::NOTDIR => refused("it changed while it was being opened"),
        errno => refused(&errno.to_string()),
    })?;
    let file = File::from(file);
    match file.metadata().map_err(|e| refused(&e.to_string()))? {
        m if m.is_dir() => Err(refused("this is a folder")),
        m if !m.is_file() => Err(refused("this is no regular file")),
        _ => Ok(file),
    }
}

/// Where a path really leads, relative to `root` and free of links; refused when that is outside or private.
fn resolve(root: &Path, path: &str) -> Result<PathBuf, ToolError> {
    let refused = |why: &str| ToolError(format!("{path}: {why}"));
    if path.is_empty() || path.contains('\0') {
        return Err(ToolError("the path is empty or holds a NUL character".into()));
    }
    let real = root.join(path).canonicalize().map_err(|e| match e.kind() {
        // Nothing may be learnt about what exists outside, not even that it does not.
        std::io::ErrorKind::NotFound if lexically_inside(root, path) => refused("no such file"),
        std::io::ErrorKind::NotFound => refused("it is outside the working directory"),
        _ => refused(&e.to_string()),
    })?;
    let inside = real
        .strip_prefix(root)
        .map_err(|_| refused(&format!("it is outside the working directory {}", root.display())))?;
    if real.starts_with("/proc") || real.starts_with("/sys") || real.starts_with("/dev") {
        return Err(refused("this is no file of the project"));
    }
    let private = |c: Component| PRIVATE.iter().any(|name| c.as_os_str().eq_ignore_ascii_case(name));
    if inside.components().any(private) {
        return Err(refused("this folder is closed to tools"));
    }
    Ok(inside.to_path_buf())
}

fn lexically_inside(root: &Path, path: &str) -> bool {
    let mut depth = 0i32;
    let path = Path::new(path);
    let relative = path.strip_prefix(root).unwrap_or(path);
    relative.components().all(|c| {
        match c {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::RootDir | Component::Prefix(_) => depth = i32::MIN / 2,
            Component::CurDir => {}
        }
        depth >= 0
    })
}

fn open_below(root: &Path, inside: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let folder = OFlags::DIRECTORY | OFlags::RDONLY;
    let common = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    let mut at = openat(CWD, root, folder | OFlags::CLOEXEC, Mode::empty())?;
    let mut names = inside.components().peekable();
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() { folder } else { flags };
        at = openat(&at, name.as_os_str(), flags | common, Mode::empty())?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Agent;
    use std::{io::Read, os::unix::fs::symlink};

    fn read(root: &Path, path: &str) -> Result<String, String> {
        let cx = Agent::new(crate::test::Mute, root).context();
        let mut text = String::new();
        open(&cx, path).map_err(|e| e.0)?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn inside_is_open_and_outside_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for folder in ["root/a/.git", "root/.rungs", "root-sibling"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["root/a/f", "secret", "root/a/.git/config", "root/.rungs/x", "root-sibling/f"] {
            std::fs::write(dir.path().join(file), "text").unwrap();
        }
        symlink("a/f", root.join("good")).unwrap();
        symlink(root.join("a/f"), root.join("good-absolute")).unwrap();
        symlink("../secret", root.join("bad")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("a/.git", root.join("git")).unwrap();
        let absolute = root.join("a/f");
        for good in ["a/f", "./a//f", "a/../a/f", "good", "good-absolute", absolute.to_str().unwrap()] {
            assert_eq!(read(&root, good).as_deref(), Ok("text"), "{good}");
        }
        let sibling = format!("{}-sibling/f", root.display());
        for (bad, why) in [
            ("../secret", "outside"),
            ("a/../../secret", "outside"),
            ("../nothing", "outside"),
            ("bad", "outside"),
            ("up/secret", "outside"),
            ("/etc/passwd", "outside"),
            ("/etc/nothing", "outside"),
            ("/proc/self/environ", "outside"),
            (&sibling, "outside"),
            ("a/.git/config", "closed"),
            ("a/.GIT/config", "no such file"),
            ("git/config", "closed"),
            (".rungs/x", "closed"),
            ("a", "folder"),
            ("nothing", "no such file"),
            ("a/f/g", "Not a directory"),
            ("", "empty"),
            ("a\0b", "NUL"),
        ] {
            let error = read(&root, bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn a_pipe_does_not_hang() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert_eq!(read(dir.path(), "fifo").unwrap_err(), "fifo: this is no regular file");
    }
}
