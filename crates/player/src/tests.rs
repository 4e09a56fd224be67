//! The page in a real browser, driven by `tests/browser/player.js`.
use crate::{
    build,
    recordings::{program, recorded},
    root,
};
use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Programs that may be the browser.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The program of this name in the search path.
fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The browser, node, and the folder of node's modules.
fn tools() -> Result<(PathBuf, PathBuf, PathBuf), &'static str> {
    let browser = BROWSERS.iter().find_map(|name| found(name)).ok_or("Chromium is missing")?;
    let node = found("node").ok_or("node is missing")?;
    let modules = root().join("target/browser");
    match modules.join("node_modules/puppeteer-core").is_dir() {
        true => Ok((browser, node, modules)),
        false => Err("the driver is missing; tests/browser/install gets it"),
    }
}

#[test]
fn the_player_works_in_a_browser() {
    let (browser, node, modules) = match tools() {
        Ok(tools) => tools,
        Err(why) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
            // Not by `println!`, which the test runner swallows.
            let _ = writeln!(std::io::stderr(), "skipped: {why}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let (site, own) = (folder.path().join("site"), folder.path().join("own.jsonl"));
    build(&site).unwrap();
    // One of the other wire format, which streams.
    let mut record = recorded(&program("s13_streaming").unwrap(), "offline-openai", &own);
    record.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(record.status().unwrap().success());
    let mut test = Command::new(node);
    test.arg(root().join("tests/browser/player.js"));
    let done = test.arg(&site).arg(&own).arg(modules).arg(browser).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
}
