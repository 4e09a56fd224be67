//! `cargo run -p rungs-player [FOLDER]`: builds the player, by default in `target/book/player`.
use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let named = std::env::args_os().nth(1).map(PathBuf::from);
    let out = named.unwrap_or_else(|| rungs_player::root().join("target/book/player"));
    match rungs_player::build(&out) {
        Ok(built) => {
            println!("{built}; open {}", out.join("index.html").display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
