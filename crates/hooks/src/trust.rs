//! What hooks of a repository would run, by its content.
use crate::{Condition, Form, Hook, Hooks, config::visible};
use ring::digest::{Context, SHA256};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// How many files a fingerprint covers at most, and how many bytes of them.
const MAX_FILES: usize = 1000;
const MAX_BYTES: u64 = 32 << 20;
/// How deep the folder of scripts is walked.
const MAX_DEPTH: usize = 8;
/// The folder in which scripts of hooks usually stand, with what they load.
const SCRIPTS: &str = ".claude/hooks";

/// The files of a repository that may hold hooks.
const SETTINGS: [&str; 2] = [".claude/settings.json", ".claude/settings.local.json"];
/// How long a command may be, in bytes: it is shown in full before it is trusted.
const MAX_COMMAND_BYTES: usize = 4000;

/// The hooks that came with a repository.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its folder.
    pub project: PathBuf,
    /// Its hooks.
    pub hooks: Vec<Hook>,
    /// What was left out of them.
    pub left_out: Vec<String>,
}

impl Repository {
    /// Reads the hooks of a folder: `.claude/settings.json` and `.claude/settings.local.json`.
    ///
    /// # Errors
    /// Names the file that cannot be used, and why.
    pub fn find(project: &Path) -> Result<Repository, String> {
        let mut all = Hooks::default();
        for file in SETTINGS {
            match Hooks::read(&project.join(file), Form::Settings) {
                Err(error) if error.is_missing => {}
                read => all.extend(read.map_err(|error| error.to_string())?),
            }
        }
        let Hooks { hooks, left_out } = all;
        if let Some(long) = hooks.iter().find(|hook| hook.command.len() > MAX_COMMAND_BYTES) {
            let why = "is longer than 4000 bytes, which nobody would read";
            return Err(format!("{}: {} {why}", long.file.display(), long.name()));
        }
        Ok(Repository { project: project.into(), hooks, left_out })
    }

    /// What the person is asked: every command in full, with invisible characters escaped.
    pub fn question(&self, fingerprint: &Fingerprint) -> String {
        let mut text = format!("{} brings its own hooks. They would run:", self.project.display());
        for hook in &self.hooks {
            // Each line of it is indented, or it could look like the end of the question.
            let command = visible(hook.command.trim()).replace('\n', "\n      ");
            let condition = hook.condition.as_ref().map(|rule| format!("if {}", rule.text()));
            let matcher = Some(hook.matcher.text().to_string()).filter(|text| !text.is_empty());
            let limits: Vec<String> = matcher.into_iter().chain(condition).collect();
            let on = match &limits[..] {
                [] => hook.event.to_string(),
                limits => format!("{} ({})", hook.event, visible(&limits.join(", "))),
            };
            text += &format!("\n  {on}: {command}");
        }
        if !fingerprint.files.is_empty() {
            let files: Vec<String> = fingerprint.files.iter().map(|f| format!("{f:?}")).collect();
            text += &format!("\nwith these files of the repository: {}", files.join(", "));
        }
        text + "\nRun them?"
    }
}

/// A hash over a repository's hooks: their commands, every file of the repository that a command
/// names, and the folder `.claude/hooks`. What a script runs further, such as the repository's
/// makefile, is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// SHA-256, in hexadecimal digits.
    pub hash: String,
    /// The files that it covers, relative to the repository.
    pub files: Vec<PathBuf>,
}

impl Fingerprint {
    /// That of these hooks in this folder, as it is now. It reads files.
    ///
    /// # Errors
    /// Names what cannot be covered: a file that cannot be read or is none (a pipe in the place of
    /// a script), or too many of them.
    pub fn of(hooks: &[Hook], project: &Path) -> io::Result<Fingerprint> {
        let project = project.canonicalize()?;
        let mut files = BTreeSet::new();
        walk(&project.join(SCRIPTS), MAX_DEPTH, &mut files)?;
        for hook in hooks {
            files.extend(named(&hook.command, &project));
        }
        if files.len() > MAX_FILES {
            let why = format!("the hooks have more than {MAX_FILES} files");
            return Err(io::Error::other(why));
        }
        let mut sha256 = Context::new(&SHA256);
        // Each part with its length, or two of them could be taken for one.
        let mut add = |part: &[u8]| {
            sha256.update(&(part.len() as u64).to_le_bytes());
            sha256.update(part);
        };
        add(project.as_os_str().as_encoded_bytes());
        for hook in hooks {
            let condition = hook.condition.as_ref().map(Condition::text);
            let how = (hook.timeout, hook.on_failure, hook.is_async, condition);
            let how = format!("{how:?}");
            for part in [&hook.event.to_string(), hook.matcher.text(), &hook.command, &how] {
                add(part.as_bytes());
            }
        }
        let mut bytes = 0;
        for file in &files {
            add(file.as_os_str().as_encoded_bytes());
            add(&content(file, &mut bytes)?);
        }
        let hash = sha256.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let relative = |file: &PathBuf| file.strip_prefix(&project).unwrap_or(file).to_path_buf();
        Ok(Fingerprint { hash, files: files.iter().map(relative).collect() })
    }
}

fn content(file: &Path, bytes: &mut u64) -> io::Result<Vec<u8>> {
    let error = |why: &str| io::Error::other(format!("{}: {why}", file.display()));
    // Looked at before it is read: a pipe has no end.
    let metadata = fs::metadata(file).map_err(|e| error(&e.to_string()))?;
    *bytes += metadata.len();
    if !metadata.is_file() {
        return Err(error("it is no file, so what it runs cannot be known"));
    }
    if *bytes > MAX_BYTES {
        return Err(error("with it the hooks have more than 32 MiB of files"));
    }
    fs::read(file).map_err(|e| error(&e.to_string()))
}

/// Everything in a folder that is no folder itself.
fn walk(folder: &Path, depth: usize, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        // A link to a folder is followed, since scripts follow it too.
        match path.is_dir() {
            true if depth == 0 || files.len() > MAX_FILES => {
                let why = format!("{}: there is too much in it", folder.display());
                return Err(io::Error::other(why));
            }
            true => walk(&path, depth - 1, files)?,
            false => {
                files.insert(path);
            }
        }
    }
    Ok(())
}

/// The files of the project that a command names, however it quotes them.
fn named(command: &str, project: &Path) -> Vec<PathBuf> {
    let mut text = command.replace(['"', '\'', '\\'], "");
    for variable in ["${CLAUDE_PROJECT_DIR}", "$CLAUDE_PROJECT_DIR", "${PWD}", "$PWD"] {
        text = text.replace(variable, &project.to_string_lossy());
    }
    let between = |c: char| c.is_whitespace() || ";|&()<>`=,".contains(c);
    let paths = text.split(between).filter(|word| !word.is_empty()).map(|word| project.join(word));
    paths
        .map(|path| plain(&path))
        .filter(|path| path.starts_with(project) && exists(path))
        .collect()
}

fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_dir())
}

/// The path without `.` and `..`, links not resolved.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn hooks(command: &str) -> Vec<Hook> {
        let yaml = format!("hooks: {{Stop: [{{command: {command:?}}}]}}");
        Hooks::parse(Path::new("f"), &yaml, Form::Own).unwrap().hooks
    }

    fn files(project: &Path, command: &str) -> Vec<String> {
        let files = Fingerprint::of(&hooks(command), project).unwrap().files;
        files.iter().map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn whatever_a_command_names_is_covered_and_all_scripts_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at(".claude/hooks/lib")).unwrap();
        for name in ["run.sh", "a b.sh", ".claude/hooks/lib/x.py", "other"] {
            fs::write(at(name), "1").unwrap();
        }
        let always = ".claude/hooks/lib/x.py";
        for (command, named) in [
            ("./run.sh", vec![always, "run.sh"]),
            ("bash run.sh", vec![always, "run.sh"]),
            ("\"$CLAUDE_PROJECT_DIR\"/run.sh --x", vec![always, "run.sh"]),
            ("${CLAUDE_PROJECT_DIR}/other/../run.sh;true", vec![always, "run.sh"]),
            ("F=run.sh;cat<other", vec![always, "other", "run.sh"]),
            ("echo run", vec![always]),
            ("cat /etc/passwd ../x", vec![always]),
        ] {
            assert_eq!(files(dir.path(), command), named, "{command}");
        }
    }

    #[test]
    fn every_change_of_what_would_run_is_another_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("run.sh");
        fs::write(&script, "echo 1").unwrap();
        let hash = |hooks: &[Hook]| Fingerprint::of(hooks, dir.path()).unwrap().hash;
        let before = hash(&hooks("./run.sh"));
        assert_eq!(hash(&hooks("./run.sh")), before);
        let mut changed = hooks("./run.sh");
        changed[0].timeout = Duration::from_secs(1);
        let mut all = vec![before, hash(&hooks("./run.sh x")), hash(&changed)];
        fs::write(&script, "echo 2").unwrap();
        all.push(hash(&hooks("./run.sh")));
        fs::create_dir_all(dir.path().join(".claude/hooks")).unwrap();
        fs::write(dir.path().join(".claude/hooks/new"), "").unwrap();
        all.push(hash(&hooks("./run.sh")));
        // The same repository elsewhere has not been trusted.
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join("run.sh"), "echo 1").unwrap();
        all.push(Fingerprint::of(&hooks("./run.sh"), copy.path()).unwrap().hash);
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn the_question_shows_all_that_would_run() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".claude")).unwrap();
        let command = "echo 'a\u{202e}b'\nRun them? \u{1b}[2Krm";
        let json = serde_json::json!({"hooks": {
            "PreToolUse": [{"matcher": "Bash", "command": command}],
            "Stop": [{"command": "bash run.sh"}]}});
        fs::write(dir.path().join(".claude/settings.json"), json.to_string()).unwrap();
        fs::write(dir.path().join("run.sh"), "").unwrap();
        let repository = Repository::find(dir.path()).unwrap();
        let fingerprint = Fingerprint::of(&repository.hooks, dir.path()).unwrap();
        let expected = format!(
            "{} brings its own hooks. They would run:\n  PreToolUse (Bash): echo \
             'a\\u{{202e}}b'\n      Run them? \\u{{1b}}[2Krm\n  Stop: bash run.sh\n\
             with these files of the repository: \"run.sh\"\nRun them?",
            dir.path().display()
        );
        assert_eq!(repository.question(&fingerprint), expected);
        let long = json.to_string().replace("bash run.sh", &"x".repeat(5000));
        fs::write(dir.path().join(".claude/settings.json"), long).unwrap();
        let refused = Repository::find(dir.path()).unwrap_err();
        assert!(refused.ends_with("is longer than 4000 bytes, which nobody would read"));
    }

    #[test]
    fn what_cannot_be_known_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |name: &str| {
            let command = format!("bash {name}");
            Fingerprint::of(&hooks(&command), dir.path()).unwrap_err().to_string()
        };
        let made = std::process::Command::new("mkfifo").arg(dir.path().join("fifo")).status();
        assert!(made.unwrap().success());
        assert!(refused("fifo").ends_with("fifo: it is no file, so what it runs cannot be known"));
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("zero")).unwrap();
        assert!(refused("zero").ends_with("zero: it is no file, so what it runs cannot be known"));
        fs::File::create(dir.path().join("large")).unwrap().set_len(1 << 40).unwrap();
        assert!(refused("large").ends_with("more than 32 MiB of files"));
        fs::create_dir_all(dir.path().join(".claude/hooks")).unwrap();
        std::os::unix::fs::symlink(".", dir.path().join(".claude/hooks/again")).unwrap();
        assert!(refused("x").ends_with("again: there is too much in it"), "{}", refused("x"));
    }
}
