//! The programs that the book shows, run without keys, settings or network.
use super::{lessons, repository};
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{LazyLock, Mutex, RwLock},
    thread,
};

/// Where cargo puts what it builds for this profile.
pub(super) static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf();
    // `cargo test` builds the lessons beside the tests; `cargo test -p rungs-book` does not.
    let mut build = cargo();
    build.env("CARGO_TARGET_DIR", built.parent().unwrap());
    build.args(["build", "--quiet", "--bins"]);
    for lesson in lessons() {
        build.args(["--example", &lesson]);
    }
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the lessons do not build");
    built
});

/// Cargo, which builds here what it builds in a shell.
fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository()).stdin(Stdio::null());
    // Cargo sets these for the tests. Build scripts that look at them would run again.
    for (name, _) in env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Taken for writing by whoever must run alone.
pub(super) static RUNNING: RwLock<()> = RwLock::new(());

/// The folder for temporary files of a program with this home.
pub(super) fn temporary(home: &Path) -> PathBuf {
    home.join(".tmp")
}

/// A program in a folder that is also its home, so that nobody's settings matter.
pub(super) fn program(path: &Path, home: &Path) -> Command {
    std::fs::create_dir_all(temporary(home)).unwrap();
    let mut program = Command::new(path);
    program.current_dir(home).stdin(Stdio::null()).env_clear();
    program
        .env("HOME", home)
        .env("RUNGS_ENV", "/dev/null")
        .env("PATH", env::var_os("PATH").unwrap());
    program.env("TMPDIR", temporary(home));
    // A server that runs on this machine is somebody else's.
    program.env("REDIS_URL", "redis://localhost:1");
    // Where the compiler is, which a rehearsal may call.
    for (name, folder) in [("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")] {
        program.env(name, env::var_os(name).unwrap_or_else(|| in_home(folder)));
    }
    program
}

fn in_home(folder: &str) -> OsString {
    Path::new(&env::var_os("HOME").unwrap_or_default()).join(folder).into()
}

/// Does this for all of them, several at a time, and returns what was wrong.
pub(super) fn for_all<T: Send>(
    all: Vec<T>,
    check: impl Fn(T) -> Option<String> + Sync,
) -> Vec<String> {
    let (all, wrong) = (Mutex::new(all.into_iter()), Mutex::new(vec![]));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(one) = all.lock().unwrap().next() else { break };
                    let fault = check(one);
                    wrong.lock().unwrap().extend(fault);
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    wrong
}

/// Runs wait more than they compute.
const AT_A_TIME: usize = 4;
