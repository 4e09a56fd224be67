/// The program has been killed.
#[derive(Debug)]
struct Killed;

/// What the program runs on.
trait Machine {
    /// Writes a line into the journal, with a newline behind it, and flushes it.
    fn append(&mut self, line: &str) -> Result<(), Killed>;
    /// Runs a call.
    fn run(&mut self, call: &str) -> Result<(), Killed>;
}

/// What is known of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Ended,
    NotBegun,
    Unknown,
}

/// Runs these calls, one after the other. The journal may hold lines of a program that was killed.
fn work(machine: &mut impl Machine, calls: &[&str]) -> Result<(), Killed> {
    // Half a line of another program ends here, and is not the begin of one of ours.
    machine.append("")?;
    for call in calls {
        machine.append(&format!("begun {call};"))?;
        machine.run(call)?;
        machine.append(&format!("ended {call};"))?;
    }
    Ok(())
}

/// What a journal says about a call.
fn known(journal: &str, call: &str) -> Known {
    // The semicolon tells a whole line from one that was torn: `ended build` may be the begin of
    // `ended build all;`.
    let says = |what: &str| journal.lines().any(|line| line == format!("{what} {call};"));
    match (says("begun"), says("ended")) {
        (_, true) => Known::Ended,
        (true, false) => Known::Unknown,
        (false, false) => Known::NotBegun,
    }
}
