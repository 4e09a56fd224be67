//! What the tests of whole programs share.
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Once,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The lessons in the table of contents, in its order, and `full` at the end.
pub(crate) fn lessons() -> Vec<String> {
    let contents = std::fs::read_to_string(Path::new(ROOT).join("lessons.rs")).unwrap();
    // Other modules are not indented.
    let modules = contents.lines().filter_map(|line| line.strip_prefix("    pub mod "));
    let mut lessons: Vec<String> =
        modules.map(|module| module.trim_end_matches(';').to_string()).collect();
    lessons.sort_by_key(|lesson| lesson == "full");
    lessons
}

/// A lesson's program, without the keys and settings of whoever runs the tests, and with nothing on
/// standard input. `cargo test` builds all lessons beside the tests; `cargo test --test course`
/// does not, so it is done here.
pub(crate) fn lesson(name: &str) -> Command {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet"]).current_dir(ROOT);
        for lesson in lessons() {
            cargo.args(["--example", &lesson]);
        }
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        // Cargo sets these for the tests. Build scripts that look at them (that of `ring`) would
        // run again, and half of everything would be built twice.
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(name);
            }
        }
        let built = cargo.status().unwrap();
        assert!(built.success(), "the lessons do not build");
    });
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new(test.ancestors().nth(2).unwrap().join("examples").join(name));
    let kept = std::env::vars().filter(|(name, _)| name == "PATH" || name == "HOME");
    command.env_clear().envs(kept).env("RUNGS_ENV", "/dev/null").stdin(Stdio::null());
    // A server that runs on this machine is somebody else's.
    command.env("REDIS_URL", "redis://localhost:1");
    command
}
