//! Searches of a small tree with files, links and folders of every kind.
use rungs_files::{OutputMode, Query, Root, SearchError, glob, grep};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn build() -> Fixture {
        let fixture = Fixture { dir: tempfile::tempdir().unwrap() };
        let files: [(&str, &[u8]); 16] = [
            ("main.rs", b"fn main() {\n    greet();\n}\n"),
            ("src/lib.rs", b"pub fn greet() {\r\n    println!(\"hi\");\r\n}\r\n"),
            ("src/deep/er/x.rs", b"// greet\n"),
            ("src/notes.md", b"Greet everybody.\nTwice: greet, greet.\n"),
            ("src/[odd] name.txt", b"greet\n"),
            (".github/ci.yml", b"run: greet\n"),
            (".gitignore", b"/target\n*.log\n"),
            ("target/x.rs", b"greet\n"),
            ("a.log", b"greet\n"),
            (".git/config", b"greet\n"),
            (".rungs/s/state.txt", b"greet\n"),
            ("src/.git/hooks", b"greet\n"),
            ("binary.bin", b"greet\n\0\x01\x02greet\n"),
            ("latin.txt", b"caf\xe9 greet\n"),
            ("utf16.txt", b"\xff\xfeg\0r\0e\0e\0t\0\n\0"),
            ("empty", b""),
        ];
        for (age, (path, content)) in files.iter().enumerate() {
            let path = fixture.root().path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let modified = SystemTime::now() - Duration::from_secs(1000 * (1 + age as u64));
            fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        fs::create_dir(fixture.dir.path().join("outside")).unwrap();
        fs::write(fixture.dir.path().join("outside/secret.rs"), "greet secretly\n").unwrap();
        let root = fixture.root();
        symlink("../outside", root.path().join("out")).unwrap();
        symlink("../outside/secret.rs", root.path().join("out.rs")).unwrap();
        symlink("main.rs", root.path().join("in.rs")).unwrap();
        symlink(".", root.path().join("loop")).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(root.path().join("fifo.rs"))
                .status()
                .unwrap()
                .success()
        );
        fixture
    }

    fn root(&self) -> Root {
        fs::create_dir_all(self.dir.path().join("root")).unwrap();
        Root::open(&self.dir.path().join("root")).unwrap().deny(&[".git", ".rungs"])
    }

    fn glob(&self, pattern: &str, path: Option<&str>) -> Result<String, String> {
        glob(&self.root(), path, pattern, &|| false).map_err(|error| error.to_string())
    }

    fn grep(&self, query: Value) -> Result<String, String> {
        let query: Query = serde_json::from_value(query).unwrap();
        grep(&self.root(), &query, &|| false).map_err(|error| error.to_string())
    }
}

/// What a search of the whole fixture says of the folders that it may not open.
const CLOSED: &str = ".git (closed to tools), .rungs (closed to tools)";

/// What it says of the links that lead outside, and of the pipe.
const OUTSIDE: &str = "2 links that lead outside or nowhere (out, out.rs)";
const PIPE: &str = "1 special file (fifo.rs)";

/// An answer with its last line, which says what was left out.
fn with_note(found: &str, left_out: &str) -> String {
    match left_out {
        "" => found.to_owned(),
        left_out => format!("{found}[left out: {left_out}]\n"),
    }
}

#[test]
fn files_are_found_by_name_the_newest_first() {
    let fixture = Fixture::build();
    let rooted = format!("{}/src/*.rs", fixture.root().path().display());
    let all = "in.rs\nmain.rs\nsrc/lib.rs\nsrc/deep/er/x.rs\n";
    let below_src = "src/lib.rs\nsrc/deep/er/x.rs\nsrc/notes.md\nsrc/[odd] name.txt\n";
    let git = ".git (closed to tools)";
    let links = &format!("{OUTSIDE}, {CLOSED}");
    let links_and_pipe = &format!("{OUTSIDE}, {PIPE}, {CLOSED}");
    let nothing = "(no files match)\n";
    let ignored = &format!("1 file that git ignores, {links}");
    for (pattern, path, found, left_out) in [
        ("*.rs", None, all, links_and_pipe.as_str()),
        ("**/*.rs", None, all, links_and_pipe),
        ("/*.rs", None, "in.rs\nmain.rs\n", links_and_pipe),
        ("./*.rs", None, "in.rs\nmain.rs\n", links_and_pipe),
        ("src/*.rs", None, "src/lib.rs\n", links),
        ("src/**", None, below_src, links),
        ("src/**/x.{rs,py}", None, "src/deep/er/x.rs\n", links),
        ("[ml]*.[rm]?", None, "main.rs\nsrc/lib.rs\n", links),
        ("\\[odd\\]*", None, "src/[odd] name.txt\n", links),
        ("ci.yml", None, ".github/ci.yml\n", links),
        ("*.rs", Some("src"), "src/lib.rs\nsrc/deep/er/x.rs\n", git),
        ("deep/**", Some("src"), "src/deep/er/x.rs\n", git),
        ("*.rs", Some("src/../src/deep"), "src/deep/er/x.rs\n", ""),
        ("*.py", Some("src/deep"), "(no files match)", ""),
        (&rooted, None, "src/lib.rs\n", links),
        ("!*.{rs,txt,md,bin}", None, ".github/ci.yml\n.gitignore\nempty\n", links),
        ("*.log", None, nothing, ignored),
        ("target/**", None, nothing, ignored),
        ("secret*", None, nothing, links),
        ("config", None, nothing, links),
        ("out/*", None, nothing, links),
        (".git/*", None, nothing, links),
    ] {
        let found = with_note(found, left_out);
        assert_eq!(fixture.glob(pattern, path), Ok(found), "{pattern} in {path:?}");
    }
    for (pattern, path, message) in [
        ("../*", None, "../*: it may not hold `..`; `path` says where to search"),
        ("a[", None, "error parsing glob '**/a[': unclosed character class; missing ']'"),
        ("*", Some(".."), "..: it is outside the working directory"),
        ("*", Some("out"), "out: a link leads it outside the working directory, or nowhere"),
        ("*", Some(".git"), ".git: this folder is closed to tools"),
        ("*", Some("src/.git"), "src/.git: this folder is closed to tools"),
        ("*", Some("nothing"), "nothing: no such file"),
    ] {
        assert_eq!(fixture.glob(pattern, path).unwrap_err(), message, "{pattern} in {path:?}");
    }
}

#[test]
fn a_repository_is_not_bound_by_what_lies_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| fs::write(dir.path().join(path), text).unwrap();
    fs::create_dir_all(dir.path().join("tree/sub")).unwrap();
    write(".gitignore", "*");
    write("tree/.gitignore", "a.log\n");
    write("tree/a.log", "");
    write("tree/sub/a.log", "");
    write("tree/sub/a.txt", "");
    let found = |folder: &str| {
        let root = Root::open(&dir.path().join(folder)).unwrap();
        glob(&root, None, "a.*", &|| false).unwrap()
    };
    // Where there is no repository, a `.gitignore` counts all the same.
    let ignored = "(no files match)\n[left out: 3 files that git ignores]\n";
    assert_eq!(found("tree"), ignored);
    // As in a worktree, whose `.git` is a file.
    write("tree/.git", "gitdir: ../elsewhere\n");
    assert_eq!((found("tree").as_str(), found("tree/sub").as_str()), ("sub/a.txt\n", "a.txt\n"));
}

#[test]
fn no_more_than_a_hundred_files_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..1500u64 {
        let file = fs::File::create(dir.path().join(format!("{number:04}"))).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number)).unwrap();
    }
    let found = glob(&Root::open(dir.path()).unwrap(), None, "*", &|| false).unwrap();
    let newest: String = (1400..1500).rev().map(|number| format!("{number}\n")).collect();
    assert_eq!(found, newest + "[the newest 100 of 1500; narrow the pattern to see others]\n");
}

#[test]
fn text_is_found() {
    let fixture = Fixture::build();
    let whole = &format!("1 binary file (binary.bin), {OUTSIDE}, {PIPE}, {CLOSED}");
    let ignored = &format!("2 files that git ignores, {whole}");
    let links = &format!("{OUTSIDE}, {CLOSED}");
    let links_and_pipe = &format!("{OUTSIDE}, {PIPE}, {CLOSED}");
    let git = ".git (closed to tools)";
    for (query, found, left_out) in [
        (
            json!({"pattern": "greet"}),
            "main.rs\nsrc/lib.rs\nsrc/deep/er/x.rs\nsrc/notes.md\nsrc/[odd] name.txt\n\
             .github/ci.yml\nlatin.txt\nutf16.txt\n",
            whole.as_str(),
        ),
        (
            json!({"pattern": "greet", "glob": "*.rs"}),
            "main.rs\nsrc/lib.rs\nsrc/deep/er/x.rs\n",
            links_and_pipe,
        ),
        (
            json!({"pattern": "greet", "glob": "src/*"}),
            "src/lib.rs\nsrc/notes.md\nsrc/[odd] name.txt\n",
            links,
        ),
        (
            json!({"pattern": "greet", "type": "rust", "path": "src"}),
            "src/lib.rs\nsrc/deep/er/x.rs\n",
            git,
        ),
        (json!({"pattern": "greet", "type": "markdown"}), "src/notes.md\n", links),
        (json!({"pattern": "greet", "path": "src/lib.rs"}), "src/lib.rs\n", ""),
        (json!({"pattern": "greet", "path": "a.log"}), "a.log\n", ""),
        (
            json!({"pattern": "greet", "path": "binary.bin"}),
            "(nothing found)\n",
            "1 binary file (binary.bin)",
        ),
        (json!({"pattern": "nobody", "path": "main.rs"}), "(nothing found)", ""),
        (json!({"pattern": "nobody", "path": "src/deep"}), "(nothing found)", ""),
        (
            json!({"pattern": "greet", "head_limit": 2}),
            "main.rs\nsrc/lib.rs\n[there is more; narrow the search, or go on with offset 2]\n",
            whole,
        ),
        (json!({"pattern": "greet", "head_limit": 1, "offset": 7}), "utf16.txt\n", whole),
        (json!({"pattern": "greet", "offset": 8}), "(nothing more from offset 8 on)\n", whole),
        (json!({"pattern": "nobody"}), "(nothing found)\n", ignored),
        (json!({"pattern": "secretly"}), "(nothing found)\n", ignored),
        (
            json!({"pattern": "greet", "output_mode": "content", "glob": "*.{rs,txt}"}),
            "latin.txt:1:caf\u{fffd} greet\nmain.rs:2:    greet();\nsrc/[odd] name.txt:1:greet\n\
             src/deep/er/x.rs:1:// greet\nsrc/lib.rs:1:pub fn greet() {\nutf16.txt:1:greet\n",
            links_and_pipe,
        ),
        (
            json!({"pattern": "^.*\\}$", "output_mode": "content", "-n": false, "glob": "main.rs"}),
            "main.rs:}\n",
            links,
        ),
        (
            json!({"pattern": "GREET", "-i": true, "output_mode": "count", "path": "src"}),
            "src/[odd] name.txt:1\nsrc/deep/er/x.rs:1\nsrc/lib.rs:1\nsrc/notes.md:2\n\
             [5 in 4 files]\n",
            git,
        ),
        (
            json!({"pattern": "greet\\(\\)", "output_mode": "content", "-B": 1,
                "glob": "/main.rs"}),
            "main.rs-1-fn main() {\nmain.rs:2:    greet();\n",
            links,
        ),
        (
            json!({"pattern": "main", "output_mode": "content", "-A": 1, "glob": "*.rs"}),
            "main.rs:1:fn main() {\nmain.rs-2-    greet();\n",
            links_and_pipe,
        ),
        (
            json!({"pattern": "println", "output_mode": "content", "-C": 1}),
            "src/lib.rs-1-pub fn greet() {\nsrc/lib.rs:2:    println!(\"hi\");\nsrc/lib.rs-3-}\n",
            whole,
        ),
        (
            json!({"pattern": "main.*\\n.*greet", "output_mode": "content", "multiline": true}),
            "main.rs:1:fn main() {\nmain.rs:2:    greet();\n",
            whole,
        ),
    ] {
        let found = with_note(found, left_out);
        assert_eq!(fixture.grep(query.clone()), Ok(found), "{query}");
    }
    for (query, message) in [
        (json!({"pattern": ""}), "`pattern` is empty"),
        (json!({"pattern": "fn main() {"}), "(write a backslash before"),
        (json!({"pattern": "a\\nb"}), "(set `multiline` to match across lines)"),
        (
            json!({"pattern": "a", "type": "klingon"}),
            "`type`: ripgrep knows no type of file `klingon`",
        ),
        (json!({"pattern": "a", "glob": "{"}), "error parsing glob"),
        (
            json!({"pattern": "a", "path": "../outside"}),
            "../outside: it is outside the working directory",
        ),
        (json!({"pattern": "a", "path": "out.rs"}), "out.rs: a link leads it outside"),
        (
            json!({"pattern": "a", "path": ".git/config"}),
            ".git/config: this folder is closed to tools",
        ),
        (json!({"pattern": "a", "path": "nothing"}), "nothing: no such file"),
    ] {
        let error = fixture.grep(query.clone()).unwrap_err();
        assert!(error.contains(message), "{query}: {error}");
    }
}

#[test]
fn a_query_describes_itself_to_a_model() {
    let schema = schemars::schema_for!(Query).to_value();
    let properties = schema["properties"].as_object().unwrap();
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "pattern",
            "path",
            "glob",
            "type",
            "output_mode",
            "-i",
            "-n",
            "-A",
            "-B",
            "-C",
            "multiline",
            "head_limit",
            "offset"
        ]
    );
    for (name, property) in properties {
        assert!(property["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
    }
    assert_eq!(schema["required"], json!(["pattern"]));
    assert!(schema["description"].as_str().unwrap().starts_with("Searches the content of files"));
    // What the core leaves of it is a plain whole number.
    assert_eq!(properties["-A"]["type"], json!(["integer", "null"]));
    assert_eq!(properties["-A"]["minimum"], 0);
    assert_eq!(properties["-A"].get("maximum"), None);

    let none = serde_json::from_value::<Query>(json!({"-i": true})).unwrap_err();
    assert_eq!(none.to_string(), "missing field `pattern`");
    let whole = json!({
        "pattern": "a", "path": "b", "glob": "c", "type": "d", "output_mode": "count", "-i": true,
        "-n": false, "-A": 1, "-B": 2, "-C": 3, "multiline": true, "head_limit": 4, "offset": 5,
    });
    assert_eq!(
        serde_json::from_value::<Query>(whole).unwrap(),
        Query {
            pattern: "a".into(),
            path: Some("b".into()),
            glob: Some("c".into()),
            r#type: Some("d".into()),
            output_mode: Some(OutputMode::Count),
            ignore_case: Some(true),
            line_numbers: Some(false),
            after: Some(1),
            before: Some(2),
            context: Some(3),
            multiline: Some(true),
            head_limit: Some(4),
            offset: Some(5),
        }
    );
}

#[test]
fn answers_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    fs::write(dir.path().join("many"), "found\n".repeat(1_000_000)).unwrap();
    fs::write(dir.path().join("wide"), format!("found {}\n", "\u{e9}".repeat(5_000_000))).unwrap();
    let lines = |query: Value| {
        let query: Query = serde_json::from_value(query).unwrap();
        grep(&root, &query, &|| false).unwrap()
    };
    let many = lines(json!({"pattern": "found", "output_mode": "content", "path": "many"}));
    assert!(
        many.lines().count() == 251
            && many.ends_with("[there is more; narrow the search, or go on with offset 250]\n")
    );
    let all = lines(
        json!({"pattern": "found", "output_mode": "content", "path": "many", "head_limit": 0}),
    );
    assert!(all.len() < 31_000 && all.contains("[there is more"));
    let far = lines(json!({"pattern": "found", "output_mode": "content", "path": "many",
        "head_limit": 2, "offset": 10_000}));
    assert_eq!(
        far,
        "many:10001:found\nmany:10002:found\n\
         [there is more; narrow the search, or go on with offset 10002]\n"
    );
    let far_from_the_end = lines(json!({"pattern": "found", "output_mode": "content",
        "path": "many", "head_limit": 0, "offset": 10_000}));
    assert!(far_from_the_end.starts_with("many:10001:found\n"));
    assert!(far_from_the_end.contains("[there is more") && far_from_the_end.len() < 31_000);
    let wide = lines(json!({"pattern": "found", "output_mode": "content", "path": "wide"}));
    assert_eq!(wide, format!("wide:1:found {} [line cut]\n", "\u{e9}".repeat(247)));
    let count = lines(json!({"pattern": "found", "output_mode": "count"}));
    assert_eq!(count, "many:1000000\nwide:1\n[1000001 in 2 files]\n");
}

#[test]
fn a_line_too_long_to_hold_is_not_searched_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("long"), vec![b'a'; 64_000_001]).unwrap();
    let root = Root::open(dir.path()).unwrap();
    for path in [None, Some("long".into())] {
        let query = Query { pattern: "needle".into(), path, ..Query::default() };
        assert_eq!(
            grep(&root, &query, &|| false).unwrap(),
            "(nothing found)\n[left out: 1 file from a line of over 32 MB on (long)]\n"
        );
    }
}

#[test]
fn a_cancelled_search_ends() {
    let fixture = Fixture::build();
    let calls = AtomicUsize::new(0);
    let is_cancelled = || calls.fetch_add(1, Relaxed) >= 3;
    let query = Query { pattern: "greet".into(), ..Query::default() };
    assert!(matches!(grep(&fixture.root(), &query, &is_cancelled), Err(SearchError::Cancelled)));
    assert!(matches!(glob(&fixture.root(), None, "*", &|| true), Err(SearchError::Cancelled)));
    assert!(calls.into_inner() < 12, "each thread asks once more at most");
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_swapped_folder_shows_nothing_of_what_is_outside() {
    let fixture = Fixture::build();
    let (folder, link) = (fixture.root().path().join("d"), fixture.root().path().join("out"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("f.rs"), "greet\n").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        // Also when something is found: else the swapping would go on for ever.
        let _stop = StopOnDrop(&stop);
        for _ in 0..300 {
            let found =
                fixture.grep(json!({"pattern": "greet", "output_mode": "content"})).unwrap();
            assert!(!found.contains("secretly"), "{found}");
            let found = fixture.glob("*.rs", None).unwrap();
            assert!(!found.contains("secret"), "{found}");
        }
    });
}
