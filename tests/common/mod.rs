//! What the tests of whole programs share.
use std::{path::PathBuf, process::Command, sync::Once};

/// A lesson's program. `cargo test` builds it beside the tests, `cargo test --test course` alone
/// would not.
pub fn program(lesson: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--examples"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().is_ok_and(|status| status.success()), "the lessons do not build");
    });
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples").join(lesson)
}
