//! Makes two modules of every task, for `tests/all.rs`: the task as it is given, and its solution
//! with the very same tests.
use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

#[path = "src/task.rs"]
#[allow(dead_code)]
mod task;

fn main() -> io::Result<()> {
    for folder in ["tasks", "solutions", "capstone"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let out = Path::new(&out);
    let (mut given, mut solutions, mut fails) = (String::new(), String::new(), String::new());
    let mut tasks = vec![("capstone.rs".to_string(), PathBuf::from("capstone/task.rs"))];
    for entry in fs::read_dir("tasks")? {
        let entry = entry?;
        tasks.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    tasks.sort();
    for (file, path) in tasks {
        let Some(name) = file.strip_suffix(".rs") else { continue };
        let task = fs::read_to_string(path)?;
        given += &module(&out.join("given").join(&file), name, &ignored(&task))?;
        fails += &format!("#[test]\nfn {name}() {{\n    crate::assert_fails({name:?});\n}}\n");
        let solution = match name {
            "capstone" => PathBuf::from("capstone/solution.rs"),
            _ => Path::new("solutions").join(&file),
        };
        // A task without one is found by the checks of the runner.
        if solution.exists() {
            let whole = task::with_given_tests(&fs::read_to_string(solution)?, &task);
            solutions += &module(&out.join("solutions").join(&file), name, &whole)?;
        }
    }
    let modules = [("given", given), ("solutions", solutions), ("fails_as_given", fails)];
    // What a stub leaves unused, the student will use.
    let all = modules.map(|(name, content)| {
        let unused = if name == "given" { "#[allow(unused)]\n" } else { "" };
        format!("{unused}mod {name} {{\n{content}}}\n")
    });
    fs::write(out.join("all.rs"), all.concat())
}

/// Writes a file, unless it is there, and makes a module of it.
fn module(path: &Path, name: &str, source: &str) -> io::Result<String> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if fs::read_to_string(path).ok().as_deref() != Some(source) {
        fs::write(path, source)?;
    }
    Ok(format!("#[path = {path:?}]\nmod {name};\n"))
}

/// The same tests, but run only when they are asked for, since they fail. Lines keep their numbers.
fn ignored(task: &str) -> String {
    let (code, tests) = task::split(task);
    let mut source = code.to_string();
    for line in tests.split_inclusive('\n') {
        let attribute = line.trim_start();
        if attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test") {
            source += "#[ignore = \"it fails as it is given\"] ";
        }
        source += line;
    }
    source
}
