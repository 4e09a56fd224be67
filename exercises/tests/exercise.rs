//! The exercise that a student works on, whichever it is: the runner names its file.
#![allow(clippy::todo, unreachable_pub, unused)]

include!(env!("RUNGS_EXERCISE", "set by `cargo run -p rungs-exercises -- run NAME`"));

/// Changes with the content of that file, so that it is built again also when it is older than the
/// last build: an older copy that was put back.
const VERSION: Option<&str> = option_env!("RUNGS_EXERCISE_VERSION");
