use std::collections::HashSet;

/// How often `send` tries.
const MAX_ATTEMPTS: u32 = 5;

/// What goes over the wire.
#[derive(Clone)]
struct Command {
    /// The same in each attempt at one letter, and in no other letter's.
    key: u64,
    letter: String,
}

/// What the server stores.
#[derive(Default)]
struct Store {
    letters: Vec<String>,
    /// The keys of the letters that are stored. A real server forgets them after a while that is
    /// longer than anybody tries.
    keys: HashSet<u64>,
}

impl Store {
    /// Runs a command.
    fn run(&mut self, command: Command) {
        if self.keys.insert(command.key) {
            self.letters.push(command.letter);
        }
    }
}

/// The connection broke; the command was run, or it was not.
#[derive(Debug, PartialEq)]
struct Broken;

/// A connection to the server.
trait Connection {
    /// Has the server run a command.
    fn run(&mut self, command: Command) -> Result<(), Broken>;
}

/// A number that no other call returns.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// Sends a letter.
fn send(connection: &mut impl Connection, letter: &str) -> Result<(), Broken> {
    let command = Command { key: unique(), letter: letter.into() };
    for _ in 0..MAX_ATTEMPTS {
        if connection.run(command.clone()) == Ok(()) {
            return Ok(());
        }
    }
    Err(Broken)
}
