//! Configuration: files that a person wrote for a program, read whole.
//!
//! In place of such a file may stand anything: a pipe that nobody writes to, a device without an
//! end, a picture. The answer is an error that names the file, in bounded time and memory.
use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// How large a file of configuration may be, in bytes.
const MAX_CONFIG_BYTES: u64 = 1_000_000;
/// How deep YAML may be nested. The parser stops at 128 levels of values, but only once it has read
/// them, and the time for `{{{{` grows with the square of their number.
const MAX_YAML_NESTING: usize = 200;
/// How much of a parser's message is shown, in characters: it may quote what it did not expect.
const MAX_MESSAGE_CHARS: usize = 300;

/// A file of configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {why}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ConfigError {
    /// Which file.
    pub file: PathBuf,
    /// Where in it, counted from one, when that is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub why: String,
    /// Whether there is no such file.
    pub is_missing: bool,
}

impl ConfigError {
    /// An error about a file that is there.
    pub fn new(file: &Path, line: Option<usize>, why: impl Into<String>) -> Self {
        ConfigError { file: file.into(), line, why: why.into(), is_missing: false }
    }
}

/// Reads a file of configuration: a regular file of at most a million bytes of UTF-8. Links are
/// followed, since the path is the person's own. A byte-order mark at its beginning is dropped. The
/// null device counts as an empty file: mounted or linked over a file, it masks it.
///
/// # Errors
/// Names the file, and the line and byte where the text is not UTF-8. Never waits for a pipe or a
/// device.
pub fn read_config(path: &Path) -> Result<String, ConfigError> {
    let io_error = |error: io::Error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        ConfigError { is_missing, ..ConfigError::new(path, None, error.to_string()) }
    };
    let error = |why: &str| ConfigError::new(path, None, why);
    // Looked at before it is opened: to open a device may do something.
    let metadata = fs::metadata(path).map_err(io_error)?;
    if metadata.is_dir() {
        return Err(error("this is a folder, and a file is needed"));
    }
    if is_null_device(&metadata) {
        return Ok(String::new());
    }
    let mut file = None;
    if metadata.is_file() {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        file = Some(File::from(opened.map_err(|errno| io_error(errno.into()))?));
    }
    let Some(file) = file.filter(|file| file.metadata().is_ok_and(|now| now.is_file())) else {
        return Err(error("this is a pipe, a socket or a device, and a file is needed"));
    };
    let mut bytes = vec![];
    file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        let why = format!("it is larger than {MAX_CONFIG_BYTES} bytes, the most that is read");
        return Err(error(&why));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text)),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line_begin = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            let byte = 1 + valid.len() - line_begin;
            let why = format!("it is not UTF-8 from byte {byte} of this line on; save it as UTF-8");
            Err(ConfigError::new(path, Some(line), why))
        }
    }
}

fn is_null_device(metadata: &fs::Metadata) -> bool {
    metadata.file_type().is_char_device()
        && fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == metadata.rdev())
}

/// Reads a value from YAML, the text of this file or a part of it, in bounded time and memory
/// whatever the text is.
///
/// # Errors
/// Names the line, counted within `yaml`, where that is known.
pub fn parse_yaml<T: DeserializeOwned>(file: &Path, yaml: &str) -> Result<T, ConfigError> {
    let mut depth = 0_usize;
    for (index, line) in yaml.lines().enumerate() {
        for byte in line.bytes() {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if depth > MAX_YAML_NESTING {
            let why = format!("more than {MAX_YAML_NESTING} brackets are open here");
            return Err(ConfigError::new(file, Some(index + 1), why));
        }
    }
    serde_yaml::from_str(yaml).map_err(|error: serde_yaml::Error| {
        let line = error.location().map(|location| location.line());
        let mut why = error.to_string();
        // The place is named before it.
        if line.is_some()
            && let Some((reason, _)) = why.rsplit_once(" at line ")
        {
            why.truncate(reason.len());
        }
        if let Some((cut, _)) = why.char_indices().nth(MAX_MESSAGE_CHARS) {
            why.truncate(cut);
            why.push_str(" [cut]");
        }
        ConfigError::new(file, line, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkfifoat;
    use serde_json::Value;
    use std::{os::unix::net::UnixListener, time::Instant};

    fn refused(path: &Path) -> String {
        let error = read_config(path).unwrap_err().to_string();
        error.strip_prefix(&path.display().to_string()).unwrap().to_string()
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        mkfifoat(rustix::fs::CWD, at("fifo"), Mode::RWXU).unwrap();
        let _listening = UnixListener::bind(at("socket")).unwrap();
        let begun = Instant::now();
        let no_file = ": this is a pipe, a socket or a device, and a file is needed";
        for path in [at("fifo"), at("socket"), "/dev/zero".into(), "/dev/full".into()] {
            assert_eq!(refused(&path), no_file);
            std::os::unix::fs::symlink(&path, at("link")).unwrap();
            assert_eq!(refused(&at("link")), no_file);
            fs::remove_file(at("link")).unwrap();
        }
        assert_eq!(refused(folder.path()), ": this is a folder, and a file is needed");
        File::create(at("sparse")).unwrap().set_len(3 << 30).unwrap();
        let too_large = ": it is larger than 1000000 bytes, the most that is read";
        assert_eq!(refused(&at("sparse")), too_large);
        assert!(begun.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_missing_file_is_told_apart() {
        let missing = read_config(Path::new("/missing/file")).unwrap_err();
        assert!(missing.is_missing);
        assert_eq!(missing.to_string(), "/missing/file: No such file or directory (os error 2)");
        assert!(!read_config(Path::new("/dev/zero")).unwrap_err().is_missing);
        assert!(!read_config(Path::new("/dev/null/file")).unwrap_err().is_missing);
    }

    #[test]
    fn text_is_read_through_links_and_without_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for (bytes, text) in
            [(&b""[..], ""), (b"\xef\xbb\xbfa\r\n", "a\r\n"), (b"\xef\xbb\xbf", "")]
        {
            fs::write(&file, bytes).unwrap();
            assert_eq!(read_config(&link).unwrap(), text);
        }
        assert_eq!(read_config(Path::new("/dev/null")).unwrap(), "");
        fs::write(&file, vec![b'x'; MAX_CONFIG_BYTES as usize]).unwrap();
        assert_eq!(read_config(&file).unwrap().len() as u64, MAX_CONFIG_BYTES);
    }

    #[test]
    fn the_place_is_named_where_the_text_is_not_utf8() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        for (bytes, line, byte) in
            [(&b"\xff\xfea\0"[..], 1, 1), (b"a\nb\ncaf\xe9\n", 3, 4), (b"a\n\xe2\x82", 2, 1)]
        {
            fs::write(&file, bytes).unwrap();
            let why = format!("it is not UTF-8 from byte {byte} of this line on; save it as UTF-8");
            assert_eq!(refused(&file), format!(":{line}: {why}"));
        }
    }

    #[test]
    fn yaml_of_any_form_ends_in_bounded_time() {
        let most = MAX_CONFIG_BYTES as usize;
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_string();
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let stairs: String = (0..1400).map(|depth| " ".repeat(depth) + "a:\n").collect();
        let begun = Instant::now();
        for (yaml, why) in [
            ("[".repeat(50_000), "1: more than 200 brackets are open here"),
            ("{a: ".repeat(most / 4), "1: more than 200 brackets are open here"),
            ("a:\n".to_string() + &"[\n".repeat(300), "202: more than 200 brackets are open here"),
            ("[".repeat(150), "1: recursion limit exceeded"),
            (
                format!("{}1{}\n", "{a: ".repeat(150), "}".repeat(150)),
                "1: recursion limit exceeded",
            ),
            ("- ".repeat(most / 2), "1: recursion limit exceeded"),
            ("? ".repeat(most / 2), "1: invalid type: map, expected a string key"),
            (stairs, "129: recursion limit exceeded"),
            ("a: &a [*a]\n".into(), "1: recursion limit exceeded"),
            (bomb, " repetition limit exceeded"),
        ] {
            let error = parse_yaml::<Value>(Path::new("f"), &yaml).unwrap_err().to_string();
            assert!(error.starts_with(&format!("f:{why}")), "{error}");
        }
        assert!(begun.elapsed().as_secs() < 60);
        let wrong = parse_yaml::<Vec<u8>>(Path::new("f"), &"x".repeat(most)).unwrap_err();
        assert!(wrong.why.ends_with("xxx [cut]") && wrong.why.len() < 400, "{wrong}");
    }
}
