//! `cargo run -p rungs-player [FOLDER]`: builds the player, by default in `book/player` of cargo's
//! target folder, where the book has it.
use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let named = std::env::args_os().nth(1).map(PathBuf::from);
    let out = named.unwrap_or_else(default_folder);
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

/// In cargo's target folder, which holds this program in a folder of its profile.
fn default_folder() -> PathBuf {
    let program = std::env::current_exe().ok();
    let target = program.as_deref().and_then(|program| program.ancestors().nth(2));
    let target = target.map_or_else(|| rungs_player::root().join("target"), PathBuf::from);
    target.join("book/player")
}
