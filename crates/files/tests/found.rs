//! "Nothing found" means that everything was looked at.
use rungs_files::{Query, Root, glob, grep};
use rustix::fs::{CWD, Mode, mkdirat, mkfifoat, openat};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Instant,
};

struct Folder(tempfile::TempDir);

impl Folder {
    fn build(files: &[(&str, &[u8])]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for (path, content) in files {
            folder.put(path, content);
        }
        folder
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join("root").join(path)
    }

    fn put(&self, path: &str, content: &[u8]) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), content).unwrap();
    }

    /// All that is found, in alphabetical order.
    fn glob(&self, pattern: &str) -> Result<String, String> {
        let root = Root::open(&self.at("")).unwrap().deny(&[".git"]);
        let found = glob(&root, None, pattern, &|| false).map_err(|error| error.to_string())?;
        let mut lines: Vec<&str> = found.lines().collect();
        lines.sort_by_key(|line| (line.starts_with('['), *line));
        Ok(lines.join("\n"))
    }

    fn grep(&self, query: Value) -> String {
        let root = Root::open(&self.at("")).unwrap().deny(&[".git"]);
        let query: Query = serde_json::from_value(query).unwrap();
        grep(&root, &query, &|| false).unwrap()
    }

    fn lines(&self, pattern: &str, path: &str) -> String {
        self.grep(json!({"pattern": pattern, "path": path, "output_mode": "content"}))
    }
}

#[test]
fn what_is_beyond_ascii_is_found_in_latin_1_too() {
    let folder = Folder::build(&[
        ("latin", b"one\ncaf\xe9\n"),
        ("late", &[b"x\n".repeat(50_000).as_slice(), b"caf\xe9\n"].concat()),
        ("utf8", "caf\u{e9}\n".as_bytes()),
        ("other", b"\xe3\xe4\xe5\n"),
    ]);
    assert_eq!(folder.lines("caf\u{e9}", "latin"), "latin:2:caf\u{e9}\n");
    assert_eq!(
        folder.grep(json!({"pattern": "caf[\u{e0}-\u{ef}]$", "output_mode": "count"})),
        "late:1\nlatin:1\nutf8:1\n[3 in 3 files]\n[left out: 1 file that is not UTF-8, searched \
         as Latin-1 (other)]\n"
    );
    // What needs no such character is found as it is.
    assert_eq!(folder.lines("^caf", "latin"), "latin:2:caf\u{fffd}\n");
}

#[test]
fn brackets_and_braces_in_a_glob_may_be_parts_of_names() {
    let folder = Folder::build(&[
        ("app/blog/[slug]/page.tsx", b"needle"),
        ("app/blog/s/page.tsx", b"needle"),
        ("app/(auth)/sign-in/[[...sign-in]]/page.tsx", b"needle"),
        ("app/[lang]/[id]/a.test.ts", b"needle"),
        ("app/[lang]/[id]/b.test.ts", b"needle"),
        ("app/l/i/a.test.ts", b"needle"),
        ("t/{name}/{x,y}.txt", b"needle"),
        ("t/name/x.txt", b"needle"),
        ("plain/a1.rs", b"needle"),
        ("plain/b2.rs", b"needle"),
        ("odd/a[", b"needle"),
        ("odd/}b{", b"needle"),
        ("odd/back\\slash", b"needle"),
        ("odd/star*", b"needle"),
        ("odd/starry", b"needle"),
    ]);
    let one_more = "\n[1 more file matches if brackets and blanks are taken less literally]";
    let slug = format!("app/blog/[slug]/page.tsx{one_more}");
    for (pattern, found) in [
        ("app/blog/[slug]/page.tsx", slug.as_str()),
        ("app/blog/[slug]/*.{ts,tsx}", &slug),
        ("**/[slug]/page.tsx", &slug),
        ("[slug]/page.tsx", "(no files match)"),
        ("app/(auth)/sign-in/[[...sign-in]]/*.tsx", "app/(auth)/sign-in/[[...sign-in]]/page.tsx"),
        ("**/[[...sign-in]]/**", "app/(auth)/sign-in/[[...sign-in]]/page.tsx"),
        (
            "app/[lang]/[id]/[ab].test.{ts,js}",
            "app/[lang]/[id]/a.test.ts\napp/[lang]/[id]/b.test.ts\n[1 more file matches if \
             brackets and blanks are taken less literally]",
        ),
        ("app/[lang]/[id]/[!a]*", "app/[lang]/[id]/b.test.ts"),
        ("t/{name}/{x,y}.txt", &format!("t/{{name}}/{{x,y}}.txt{one_more}")),
        ("t/{name,other}/{x,y}.txt", "t/name/x.txt"),
        ("plain/[a-b][0-9].{rs,py}", "plain/a1.rs\nplain/b2.rs"),
        ("{plain,odd}/a*", "odd/a[\nplain/a1.rs"),
        ("{plain/a1,odd/x}.rs", "plain/a1.rs"),
        ("a[", "odd/a["),
        ("}b{", "odd/}b{"),
        ("\\[slug\\]", "(no files match)"),
        ("**/\\[slug\\]/*", "app/blog/[slug]/page.tsx"),
        ("odd//a[", "odd/a["),
        ("./plain/./a1.rs", "plain/a1.rs"),
        ("odd/back\\slash", "odd/back\\slash"),
        ("odd/*\\\\slash", "odd/back\\slash"),
        ("odd/star\\*", "odd/star*"),
    ] {
        assert_eq!(folder.glob(pattern).as_deref(), Ok(found), "{pattern}");
    }
    for (pattern, error) in [
        ("b[", "error parsing glob 'b[': unclosed"),
        ("x{", "error parsing glob 'x{': unclosed"),
        ("a/[z-a]", "error parsing glob 'a/[z-a]': invalid range"),
    ] {
        let pattern = format!("./{pattern}");
        assert!(folder.glob(&pattern).unwrap_err().starts_with(error), "{pattern}");
    }
    let grep = |glob: &str| folder.grep(json!({"pattern": "needle", "glob": glob}));
    assert_eq!(grep("app/blog/[slug]/*.tsx"), slug.clone() + "\n");
    assert_eq!(grep("**/[[...sign-in]]/*"), "app/(auth)/sign-in/[[...sign-in]]/page.tsx\n");
    let nothing = folder.grep(json!({"pattern": "other", "glob": "app/blog/[slug]/*.tsx"}));
    assert_eq!(nothing, "(nothing found)");
    let by_path = folder.grep(json!({"pattern": "needle", "path": "app/blog/[slug]"}));
    assert_eq!(by_path, "app/blog/[slug]/page.tsx\n");
}

#[test]
fn a_name_as_a_glob_finds_the_file_of_that_name_first() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let rounds = if std::env::var("LONG").is_ok() { 20 } else { 1 };
    for _ in 0..rounds {
        let folder = Folder::build(&[]);
        let letters: Vec<char> = "[]{}[]{}!^,-ab.\u{e9}\u{a0} ".chars().collect();
        for _ in 0..100 {
            let name: String =
                (0..random.usize(1..9)).map(|_| *random.choice(&letters).unwrap()).collect();
            if name.starts_with('.') {
                continue;
            }
            let path = format!("d/{name}/{name}");
            folder.put(&path, b"needle");
            let found = folder.glob(&path).unwrap();
            assert_eq!(found.lines().next(), Some(path.as_str()), "{path:?} in {found:?}");
            let found = folder.grep(json!({"pattern": "needle", "glob": path}));
            assert_eq!(found.lines().next(), Some(path.as_str()), "{path:?} in {found:?}");
        }
    }
}

#[test]
fn a_glob_finds_names_that_look_the_same_after_exact_ones() {
    let folder = Folder::build(&[
        ("shots/Screenshot 1.01\u{202f}AM.png", b"needle"),
        ("cafe\u{301}/menu.txt", b"needle"),
        ("a\u{a0}b.txt", b"needle"),
        ("a b.txt", b"needle"),
    ]);
    for (pattern, found) in [
        ("Screenshot 1.01 AM.png", "shots/Screenshot 1.01\u{202f}AM.png"),
        ("shots/*1.01 AM.*", "shots/Screenshot 1.01\u{202f}AM.png"),
        ("caf\u{e9}/*.txt", "cafe\u{301}/menu.txt"),
        ("cafe\u{301}/*.txt", "cafe\u{301}/menu.txt"),
        ("a b.*", "a b.txt\n[1 more file matches if brackets and blanks are taken less literally]"),
        ("!a b.*", "cafe\u{301}/menu.txt\nshots/Screenshot 1.01\u{202f}AM.png"),
    ] {
        assert_eq!(folder.glob(pattern).as_deref(), Ok(found), "{pattern}");
    }
    let found = folder.grep(json!({"pattern": "needle", "glob": "Screenshot 1.01 AM.png"}));
    assert_eq!(found, "shots/Screenshot 1.01\u{202f}AM.png\n");
    assert_eq!(folder.lines("needle", "caf\u{e9}"), "cafe\u{301}/menu.txt:1:needle\n");
}

#[test]
fn a_text_with_a_nul_byte_is_searched_and_a_binary_file_is_named() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let late = [b"text\n".repeat(100_000), b"\0\nneedle late\n".to_vec()].concat();
    let folder = Folder::build(&[
        ("a.js", b"const TOKEN = 'needle\0';\nother();\n"),
        ("late.log", &late),
        ("utf16", &utf16("one\nneedle two\n")),
        ("photo.png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dneedle\0\0\0\x01\0\0\0"),
        ("x.bin", b"\0\0\0needle\0\0\0"),
    ]);
    let binary = "[left out: 2 binary files (photo.png, x.bin)]\n";
    assert_eq!(
        folder.grep(json!({"pattern": "needle", "output_mode": "count"})),
        format!("a.js:1\nlate.log:1\nutf16:1\n[3 in 3 files]\n{binary}")
    );
    assert_eq!(folder.grep(json!({"pattern": "absent"})), format!("(nothing found)\n{binary}"));
    for (path, found) in [
        ("a.js", "a.js:1:const TOKEN = 'needle\u{2400}';\n"),
        ("late.log", "late.log:100002:needle late\n"),
        ("utf16", "utf16:2:needle two\n"),
        ("x.bin", "(nothing found)\n[left out: 1 binary file (x.bin)]\n"),
    ] {
        assert_eq!(folder.lines("needle", path), found);
    }
}

#[test]
fn links_are_followed_where_they_lead_inside() {
    let folder = Folder::build(&[
        ("real/docs/guide.md", b"needle"),
        ("other/x.md", b"nothing"),
        (".git/config.md", b"needle"),
        ("build/out.md", b"needle"),
        (".gitignore", b"build\n"),
        ("../outside/secret.md", b"needle"),
    ]);
    for (target, link) in [
        ("../real/docs", "cat/docs"),
        ("real/docs/guide.md", "link.md"),
        ("../../outside", "real/out"),
        ("nowhere", "real/gone.md"),
        ("../.git", "real/git"),
        (".", "real/loop"),
        ("../cat", "real/cat"),
        ("build", "artefacts"),
    ] {
        fs::create_dir_all(folder.at(link).parent().unwrap()).unwrap();
        symlink(target, folder.at(link)).unwrap();
    }
    let left_out = "[left out: 2 links that lead outside or nowhere (real/gone.md, real/out), \
                    1 link into what is closed to tools (real/git), .git (closed to tools)]";
    for (pattern, found) in [
        ("cat/docs/*.md", "cat/docs/guide.md"),
        ("real/cat/docs/*", "real/cat/docs/guide.md"),
        ("link.md", "link.md"),
        ("artefacts/*", "artefacts/out.md"),
        (
            "*.md",
            "artefacts/out.md\ncat/docs/guide.md\nlink.md\nother/x.md\nreal/cat/docs/guide.md\n\
             real/docs/guide.md",
        ),
        ("secret.md", "(no files match)"),
        ("config.md", "(no files match)"),
    ] {
        let found = format!("{found}\n{left_out}");
        assert_eq!(folder.glob(pattern), Ok(found), "{pattern}");
    }
    let grep = |query: Value| {
        let found = folder.grep(query);
        let mut lines: Vec<&str> = found.lines().collect();
        lines.sort_by_key(|line| (line.starts_with('['), *line));
        lines.join("\n")
    };
    // What is found where it really is is not shown a second time.
    let all = format!("artefacts/out.md\nreal/docs/guide.md\n{left_out}");
    assert_eq!(grep(json!({"pattern": "needle"})), all);
    let behind = format!("cat/docs/guide.md\n{left_out}");
    assert_eq!(grep(json!({"pattern": "needle", "glob": "cat/docs/*.md"})), behind);
}

#[test]
fn many_links_to_each_other_cost_bounded_time() {
    let folder = Folder::build(&[("d0/f", b"needle")]);
    for from in 0..12 {
        fs::create_dir_all(folder.at(&format!("d{from}"))).unwrap();
        for to in 0..12 {
            symlink(format!("../d{to}"), folder.at(&format!("d{from}/l{to}"))).unwrap();
        }
    }
    let found = folder.glob("d0/*").unwrap();
    assert!(found.starts_with("d0/f\n[left out: "), "{found}");
    assert!(found.contains(" paths too far behind links"), "{found}");
}

#[test]
fn both_line_ends_are_searched_alike() {
    let folder = Folder::build(&[
        ("crlf", b"one end\r\ntwo\r\n\r\nthree \r\n"),
        ("lf", b"one end\ntwo\n\nthree \n"),
    ]);
    for (pattern, multiline, found) in [
        ("end$", false, "FILE:1:one end\n"),
        ("^two$", false, "FILE:2:two\n"),
        ("^$", false, "FILE:3:\n"),
        ("\\s$", false, "FILE:4:three \n"),
        ("end\\ntwo", true, "FILE:1:one end\nFILE:2:two\n"),
        ("end\ntwo", true, "FILE:1:one end\nFILE:2:two\n"),
        ("two\\n+three", true, "FILE:2:two\nFILE:3:\nFILE:4:three \n"),
        ("end$", true, "FILE:1:one end\n"),
        ("d[^\\n]*$", true, "FILE:1:one end\n"),
    ] {
        for file in ["crlf", "lf"] {
            let query = json!({"pattern": pattern, "multiline": multiline, "path": file,
                "output_mode": "content"});
            assert_eq!(folder.grep(query), found.replace("FILE", file), "{pattern:?}");
        }
    }
    assert_eq!(folder.lines("\\r$", "crlf").lines().count(), 4);
    assert_eq!(folder.lines("end\\r", "crlf"), "crlf:1:one end\n");
    assert_eq!(folder.lines("\\r", "lf"), "(nothing found)");
}

#[test]
fn what_cannot_be_read_is_said_with_its_reason() {
    let folder = Folder::build(&[("f", b"x"), ("long", &vec![b'a'; 33_000_000])]);
    // Deeper than a path can be long.
    let name = "n".repeat(250);
    let mut at = openat(CWD, folder.at(""), rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..20 {
        mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = openat(&at, &name, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let far = format!("{name}/{}", "n".repeat(49));
    let unreadable = format!("1 unreadable path (File name too long: {far} [line cut])]");
    assert_eq!(folder.glob("g").unwrap(), format!("(no files match)\n[left out: {unreadable}"));
    assert_eq!(
        folder.grep(json!({"pattern": "needle"})),
        format!(
            "(nothing found)\n[left out: 1 file from a line of over 32 MB on (long), {unreadable}\n"
        )
    );
    let across = folder.grep(json!({"pattern": "a", "path": "long", "multiline": true}));
    let too_large =
        "(nothing found)\n[left out: 1 file of over 32 MB, too large for `multiline` (long)]\n";
    assert_eq!(across, too_large);
    // Shallow again, so that the temporary folder can be removed.
    let mut folder_path = folder.at("");
    for _ in 0..10 {
        folder_path = folder_path.join(&name);
    }
    fs::rename(&folder_path, folder.at("rest")).unwrap();
}

#[test]
fn a_list_of_ignored_files_that_is_no_file_hangs_nothing() {
    let folder = Folder::build(&[("sub/f", b"needle"), ("g", b"needle"), ("a.log", b"needle")]);
    mkfifoat(CWD, folder.at("sub/.gitignore"), Mode::RWXU).unwrap();
    let left_out = "[left out: 1 folder whose .gitignore, .ignore or .git cannot be read (sub)]";
    assert_eq!(folder.glob("?").unwrap(), format!("g\n{left_out}"));
    assert!(folder.grep(json!({"pattern": "needle"})).ends_with(&format!("{left_out}\n")));
    symlink("/dev/zero", folder.at(".ignore")).unwrap();
    folder.put(".gitignore", b"*.log\n");
    // Nothing is ignored then.
    let found = folder.glob("?{,.log}").unwrap();
    assert!(found.starts_with("a.log\ng\n"), "{found}");
}

#[test]
fn files_that_git_ignores_are_counted_where_they_could_matter() {
    let folder = Folder::build(&[(".gitignore", b"build\n"), ("src/a.rs", b"needle")]);
    for number in 0..1200 {
        folder.put(&format!("build/{}/{number}.js", number % 7), b"hidden");
    }
    folder.put("build/b.rs", b"hidden");
    let one = "[left out: 1 file that git ignores]";
    let many = "[left out: over 1000 files that git ignores]";
    assert_eq!(folder.glob("b.rs").unwrap(), format!("(no files match)\n{one}"));
    assert_eq!(folder.glob("*.js").unwrap(), format!("(no files match)\n{many}"));
    assert_eq!(folder.glob("*.py").unwrap(), "(no files match)");
    assert_eq!(folder.glob("*.rs").unwrap(), "src/a.rs");
    assert_eq!(folder.grep(json!({"pattern": "hidden"})), format!("(nothing found)\n{many}\n"));
    let filtered = folder.grep(json!({"pattern": "hidden", "glob": "*.rs"}));
    assert_eq!(filtered, format!("(nothing found)\n{one}\n"));
}

#[test]
fn temporary_files_of_writes_are_no_files() {
    let folder = Folder::build(&[
        (".rungs-0123456789abcdef.tmp", b"needle"),
        (".rungs-0123456789abcdefg.tmp", b"needle"),
    ]);
    assert_eq!(folder.glob("*").unwrap(), ".rungs-0123456789abcdefg.tmp");
    assert_eq!(folder.grep(json!({"pattern": "needle"})), ".rungs-0123456789abcdefg.tmp\n");
}

#[test]
fn patterns_that_explode_are_refused_or_cost_little() {
    let folder = Folder::build(&[("aaaa", &b"a".repeat(100_000))]);
    let root = Root::open(&folder.at("")).unwrap();
    let begun = Instant::now();
    for pattern in [
        "{a,b}".repeat(800),
        format!("{}a{}", "{".repeat(16), "}".repeat(16)),
        "*a".repeat(2000),
        "**/".repeat(1300),
        "[a-z]".repeat(800),
    ] {
        let _ = glob(&root, None, &pattern, &|| false);
    }
    for (pattern, error) in [
        (format!("{}a{}", "{".repeat(17), "}".repeat(17)), "the glob has braces nested more than"),
        ("{".repeat(4000) + &"}".repeat(4000), "the glob is longer than 4096 bytes"),
        ("a".repeat(5000), "the glob is longer than 4096 bytes"),
    ] {
        let refused = glob(&root, None, &pattern, &|| false).unwrap_err().to_string();
        assert!(refused.starts_with(error), "{refused}");
    }
    for pattern in
        ["(a*)*b", "(a|a)*c", "((a{100}){100}){100}", "(?:a?){500}a{500}", "\\pL{300}", "(a+)+$"]
    {
        let query = Query { pattern: pattern.into(), ..Query::default() };
        let _ = grep(&root, &query, &|| false);
    }
    let deep = format!("{}a{}", "(".repeat(50_000), ")".repeat(50_000));
    let query = Query { pattern: deep, ..Query::default() };
    assert!(grep(&root, &query, &|| false).unwrap_err().to_string().starts_with("`pattern`: "));
    assert!(begun.elapsed().as_secs() < 60);
    assert!(Path::new(&folder.at("aaaa")).exists());
}
