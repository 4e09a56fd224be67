// # Was it stored?
//
// drill, level 2, 25 minutes. Read: examples/s22_production_mailbox.rs, crates/redis/src/mail.rs
//
// `send` stores a letter on a server. The connection breaks again and again, and whoever sends
// learns just that: `Err(Broken)`. The server may have run the command by then, or not.
//
// As it is, one broken connection loses the letter. A loop that tries again stores it twice when
// only the answer was lost, and an agent that is told twice to send an invoice sends two.
//
// Make it so that each letter is stored once, whatever breaks. You may change both sides: what a
// `Command` carries, what the server remembers (`Store`), what it does with a command (`run`, which
// happens whole or not at all), and `send`. After `MAX_ATTEMPTS` without an answer `send` gives up
// with an error. Two letters with the same text are two letters.
//
// Run: cargo run -p rungs-exercises -- run s22_lost_answers

/// How often `send` tries.
#[allow(dead_code)]
const MAX_ATTEMPTS: u32 = 5;

/// What goes over the wire.
#[derive(Clone)]
struct Command {
    letter: String,
}

/// What the server stores.
#[derive(Default)]
struct Store {
    letters: Vec<String>,
}

impl Store {
    /// Runs a command.
    fn run(&mut self, command: Command) {
        self.letters.push(command.letter);
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
#[allow(dead_code)]
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// Sends a letter.
fn send(connection: &mut impl Connection, letter: &str) -> Result<(), Broken> {
    connection.run(Command { letter: letter.into() })
}

mod tests {
    use super::*;

    /// Where the connection breaks.
    #[derive(Clone, Copy)]
    enum Fault {
        /// Before the server has the command.
        Before,
        /// After it has run it: only the answer is lost.
        After,
    }
    use Fault::{After, Before};

    /// Breaks as it is told, an attempt at a time; then it holds.
    #[derive(Default)]
    struct Unreliable {
        server: Store,
        faults: Vec<Fault>,
        attempts: u32,
    }

    impl Connection for Unreliable {
        fn run(&mut self, command: Command) -> Result<(), Broken> {
            self.attempts += 1;
            assert!(self.attempts < 1000, "`send` tries for ever");
            let fault = if self.faults.is_empty() { None } else { Some(self.faults.remove(0)) };
            match fault {
                Some(Before) => Err(Broken),
                Some(After) => {
                    self.server.run(command);
                    Err(Broken)
                }
                None => {
                    self.server.run(command);
                    Ok(())
                }
            }
        }
    }

    fn with(faults: &[Fault]) -> Unreliable {
        Unreliable { faults: faults.to_vec(), ..Unreliable::default() }
    }

    #[test]
    fn a_connection_that_holds_needs_one_attempt() {
        let mut connection = with(&[]);
        assert_eq!(send(&mut connection, "pay"), Ok(()), "nothing broke");
        let why = "nothing broke: one letter, one attempt";
        assert_eq!(connection.server.letters, ["pay"], "{why}");
        assert_eq!(connection.attempts, 1, "{why}");
    }

    #[test]
    fn a_letter_that_did_not_arrive_is_sent_again() {
        let mut connection = with(&[Before, Before]);
        assert_eq!(send(&mut connection, "pay"), Ok(()), "the third attempt would have worked");
        assert_eq!(connection.server.letters, ["pay"], "it arrived at last, once");
    }

    #[test]
    fn a_letter_whose_answer_was_lost_is_stored_once() {
        let mut connection = with(&[After, Before, After]);
        let why = "whoever sends cannot tell a lost command from a lost answer: try again";
        assert_eq!(send(&mut connection, "pay"), Ok(()), "{why}");
        assert_eq!(
            connection.server.letters,
            ["pay"],
            "the server ran the command each time it got it. How can it know that this is the same \
             letter once more?"
        );
    }

    #[test]
    fn two_letters_with_the_same_text_are_two_letters() {
        let mut connection = with(&[After]);
        for which in ["first", "second"] {
            assert_eq!(send(&mut connection, "ping"), Ok(()), "the {which} letter was stored");
        }
        let why = "whoever writes the same twice means it; the text does not tell letters apart";
        assert_eq!(connection.server.letters, ["ping", "ping"], "{why}");
    }

    #[test]
    fn other_letters_in_between_change_nothing() {
        let mut connection = with(&[After, Before, After, After]);
        for letter in ["a", "b", "c"] {
            assert_eq!(send(&mut connection, letter), Ok(()), "at most three attempts broke");
        }
        assert_eq!(connection.server.letters, ["a", "b", "c"], "in this order, each one once");
    }

    #[test]
    fn a_server_that_is_gone_is_given_up() {
        let mut connection = with(&[Before; 100]);
        assert_eq!(send(&mut connection, "pay"), Err(Broken), "nobody has the letter: say so");
        let why = "each attempt makes somebody wait";
        assert_eq!(connection.attempts, MAX_ATTEMPTS, "{why}");
    }

    #[test]
    fn every_order_of_faults_stores_a_letter_once() {
        for bits in 0..16_u32 {
            let faults = [0, 1, 2, 3].map(|i| if bits >> i & 1 == 1 { After } else { Before });
            let mut connection = with(&faults);
            assert_eq!(send(&mut connection, "pay"), Ok(()), "the fifth attempt holds");
            assert_eq!(connection.server.letters, ["pay"], "with the faults {bits:04b}");
        }
    }
}
