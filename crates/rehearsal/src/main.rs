//! Serves a script until Ctrl+C.
use clap::Parser;
use rehearsal::Script;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// The model that needs no key: a strict model API on loopback that plays a script.
#[derive(Parser)]
struct Arguments {
    /// The script to play (YAML)
    #[arg(long, value_name = "FILE")]
    script: PathBuf,
    /// The port on 127.0.0.1; 0 means a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Only check the script
    #[arg(long)]
    check: bool,
}

/// What a shell reports for a program that an interrupt ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
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
        server.ended().await;
        Err("the server stopped".into())
    };
    tokio::select! {
        // In this order, so that the line is not out before an interrupt is listened for.
        biased;
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt.map(|()| ExitCode::from(INTERRUPTED))?),
        stopped = play => stopped,
    }
}
