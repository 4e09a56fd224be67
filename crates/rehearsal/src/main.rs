//! Serves a script until Ctrl+C.
use lexopt::{
    Arg::{Long, Short},
    ValueExt,
};
use rehearsal::Script;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

const USAGE: &str = "\
The model that needs no key: a strict model API on loopback that plays a script

Usage: rehearsal --script FILE [--port N] [--check]

  --script FILE  the script to play (YAML)
  --port N       the port on 127.0.0.1; 0, the default, is a free one
  --check        only check the script
  -h, --help     print this";

struct Arguments {
    script: PathBuf,
    port: u16,
    check: bool,
}

/// The exit code for wrong use.
const USAGE_ERROR: u8 = 2;
/// What a shell reports for a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match parse(lexopt::Parser::from_env()) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}; --help says what there is");
            return ExitCode::from(USAGE_ERROR);
        }
    };
    match run(&arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the command line; `None` means that help was asked for.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Arguments>, lexopt::Error> {
    let (mut script, mut port, mut check) = (None, 0, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("script") => script = Some(parser.value()?.into()),
            Long("port") => port = parser.value()?.parse()?,
            Long("check") => check = true,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    let script = script.ok_or("--script is missing")?;
    Ok(Some(Arguments { script, port, check }))
}

async fn run(arguments: &Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let script = Script::load(&arguments.script)?;
    let file = arguments.script.display();
    if arguments.check {
        let scenes = script.scenes().count();
        println!(
            "{file}: a valid script with {scenes} {}",
            if scenes == 1 { "scene" } else { "scenes" }
        );
        return Ok(ExitCode::SUCCESS);
    }
    let port = arguments.port;
    let server = script
        .serve_on(port)
        .await
        .map_err(|error| format!("cannot listen on 127.0.0.1:{port}: {error}"))?;
    let play = async {
        println!("rehearsal of {file} listening on {}", server.url());
        io::stdout().flush()?;
        // It serves until the program ends.
        std::future::pending().await
    };
    tokio::select! {
        // In this order: whoever has read the line above may interrupt, so the interrupt is
        // listened for first.
        biased;
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt.map(|()| ExitCode::from(INTERRUPTED))?),
        failed = play => failed,
    }
}
