//! The searches compared with `rg`, `fd` and `find`: `cargo bench -p rungs-files`, or with a folder
//! after `--`. Without one, it creates a tree of 200,000 lines.
use rungs_files::{OutputMode, Query, Root, glob, grep};
use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const RUNS: usize = 40;

fn main() {
    let made = tempfile::tempdir().expect("a temporary folder");
    let given = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let folder = given.map_or_else(|| made.path().to_path_buf(), Into::into);
    if folder == made.path() {
        make_tree(&folder);
    }
    let root = Root::open(&folder).expect("the folder").deny(&[".git"]);
    let search = |mode| {
        let query = Query {
            pattern: "value_[0-9]*7\\b".into(),
            output_mode: Some(mode),
            ..Query::default()
        };
        move |root: &Root| grep(root, &query, &|| false).expect("a search").len()
    };
    let (lines, names, found) =
        (search(OutputMode::Content), search(OutputMode::FilesWithMatches), |root: &Root| {
            glob(root, None, "*.rs", &|| false).expect("a search").len()
        });
    let hidden = ["--hidden", "--no-require-git", "--glob", "!.git"];
    let rg = |arguments: &[&str]| {
        let mut rg = Command::new("rg");
        rg.args(hidden).args(arguments).arg("value_[0-9]*7\\b").arg(&folder);
        rg
    };
    let mut fd =
        Command::new(if Command::new("fd").arg("-V").output().is_ok() { "fd" } else { "fdfind" });
    fd.args(["--hidden", "--exclude", ".git", "--type", "f", "--glob", "*.rs"]).arg(&folder);
    let mut find = Command::new("find");
    find.arg(&folder).args([
        "-name",
        ".git",
        "-prune",
        "-o",
        "-type",
        "f",
        "-name",
        "*.rs",
        "-printf",
        "%T@ %p\\n",
    ]);
    println!("{:<32} {:>9} {:>9}", "", "median", "best");
    compare("grep, the first 250 lines", &root, &lines);
    beside("rg --line-number", rg(&["--line-number"]));
    compare("grep, the files", &root, &names);
    beside("rg --files-with-matches", rg(&["--files-with-matches"]));
    compare("glob *.rs, the newest 100", &root, &found);
    beside("fd --glob *.rs", fd);
    beside("find -name *.rs, with times", find);
}

/// Forty folders of fifty files of a hundred lines.
fn make_tree(folder: &Path) {
    for number in 0..2000 {
        let at = folder.join(format!("part{}/sub{}", number / 50, number % 5));
        std::fs::create_dir_all(&at).expect("a folder");
        let lines: String = (0..100)
            .map(|line| {
                format!(
                    "    let value_{} = compute(source, {line}, \"a few words\");\n",
                    number * 100 + line
                )
            })
            .collect();
        std::fs::write(at.join(format!("file{number}.rs")), lines).expect("a file");
    }
}

fn compare(name: &str, root: &Root, search: &dyn Fn(&Root) -> usize) {
    report(name, || assert!(search(root) > 0, "something is found"));
}

fn beside(name: &str, mut program: Command) {
    program.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    if program.status().is_err() {
        return println!("{name:<32} is not installed");
    }
    report(name, || {
        assert!(program.status().is_ok_and(|status| status.success()), "something is found")
    });
}

fn report(name: &str, mut run: impl FnMut()) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    println!("{name:<32} {:>9} {:>9}", ms(times[RUNS / 2]), ms(times[0]));
}
