//! Paths as they are written, without the disk.
use std::path::{Component, Path, PathBuf};

/// A path below `cwd`, without `.` and `..`, and without asking the disk: the file need not exist.
pub fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for part in cwd.join(path).components() {
        match part {
            Component::ParentDir => _ = absolute.pop(),
            Component::CurDir => {}
            other => absolute.push(other),
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_absolute_by_its_text_alone() {
        for (path, whole) in [
            ("b/./c", "/a/b/c"),
            ("../x/../y", "/y"),
            ("../../..", "/"),
            ("/etc//passwd", "/etc/passwd"),
            ("", "/a"),
        ] {
            assert_eq!(absolute(Path::new("/a"), Path::new(path)), Path::new(whole), "{path}");
        }
    }
}
