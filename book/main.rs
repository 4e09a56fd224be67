//! `cargo run -p rungs-book`: builds the book, and says where it is.

use std::{env, path::PathBuf, process::ExitCode};

const USAGE: &str = "\
Builds the book of the lessons as pages that need no server and no network.

  cargo run -p rungs-book                  into target/book
  cargo run -p rungs-book -- --to FOLDER   into another folder, which it replaces
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let to = match arguments[..] {
        [] => default_folder(),
        ["--to", folder] => PathBuf::from(folder),
        ["-h" | "--help"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("unknown arguments: {}\n\n{USAGE}", arguments.join(" "));
            return ExitCode::from(2);
        }
    };
    match rungs_book::build(&to) {
        Ok(built) => {
            for name in &built.unwritten {
                eprintln!("not written yet, so left out: {name}");
            }
            let rungs_book::Built { pages, words, recordings, .. } = built;
            println!("{pages} pages, {words} words, {recordings} recorded runs. Open one of:");
            println!("  {}", built.index.display());
            println!("  {}", rungs_book::file_url(&built.index));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// `book` in cargo's target folder, which holds this program in a folder of its profile.
fn default_folder() -> PathBuf {
    let program = env::current_exe().ok();
    let target = program.as_deref().and_then(|program| program.ancestors().nth(2));
    target.map_or_else(|| rungs_book::repository().join("target"), PathBuf::from).join("book")
}
