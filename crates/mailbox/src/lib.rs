//! Mailboxes with at-least-once delivery.
//!
//! A letter is whole or absent, arrives in the order in which its sender sent it, and stays in its
//! mailbox until its reader acknowledges it. What can happen to it:
//!
//! - **In flight**: received, and not acknowledged yet. The reader keeps the [ids](LetterId) of
//!   these letters beside what it makes of them, and passes them to every call.
//! - **Acknowledgement**: the reader has handled the letter, so it is not delivered again.
//!   Acknowledge last, after the effects: a crash in between delivers the letter again and loses
//!   nothing.
//! - **Redelivery**: a letter that is neither acknowledged nor in flight any more, because its
//!   reader crashed or gave up what it had made of it, is delivered again. So a reader must expect
//!   to see a letter twice.
//! - **Dead letter**: a letter that was delivered [`MAX_DELIVERIES`] times, at the end alone, and
//!   never acknowledged is taken out and reported, so that a letter which crashes its reader does
//!   not do so for ever. Letters that were given up together are delivered in smaller and smaller
//!   parts until it is known which of them it is.
//!
//! [`Transport`] is what a team writes against, [`Mailboxes`] the form in files. A [`Mailbox`] is
//! one file of JSON lines, `NAME.jsonl`: any number of threads and processes put letters in, and
//! one reads. Its dead letters are in `NAME.dead.jsonl`. Acknowledged letters stay: the newest of
//! them are its owner's memory. [`Workers`] are tasks that work on what comes into their mailboxes,
//! and know when nobody has anything left to do.
//!
//! ```
//! use durable::Folder;
//! use rungs_mailbox::{Letter, Mailbox};
//! use std::collections::BTreeSet;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let here = tempfile::tempdir()?;
//! let mut mailbox = Mailbox::open(&Folder::open(here.path(), ".rungs")?, "ann")?;
//! mailbox.put(Letter::new("bob", "the tests pass"))?;
//!
//! let mut in_flight = BTreeSet::new();
//! let received = mailbox.receive(&in_flight)?;
//! assert_eq!(received.letters[0].text, "the tests pass");
//! in_flight.insert(received.letters[0].id);
//! assert!(mailbox.receive(&in_flight)?.letters.is_empty());
//!
//! mailbox.ack(&in_flight)?;
//! in_flight.clear();
//! assert!(!mailbox.has_mail(&in_flight)?);
//! assert_eq!(mailbox.newest(10)?, received.letters);
//! # Ok(())
//! # }
//! ```
mod deliveries;
mod letter;
mod mailbox;
mod presence;
mod transport;
mod worker_error;
mod workers;

pub use deliveries::{Deliveries, Unsettled};
pub use letter::{Letter, LetterId, MAX_LETTER_BYTES, escape_tags, lines, list};
pub use mailbox::Mailbox;
pub use presence::{Elsewhere, Presence};
pub use transport::{Mailboxes, Transport};
pub use worker_error::{SpawnError, WriteError};
pub use workers::{Member, Workers};

/// How often a letter is delivered at least before it becomes a dead letter.
pub const MAX_DELIVERIES: u32 = 3;
/// The most bytes that a name may have.
const MAX_NAME_BYTES: usize = 40;

/// What a reader gets.
#[derive(Debug, Default, PartialEq)]
pub struct Received {
    /// The letters that are in flight from now on, in the order of their arrival.
    pub letters: Vec<Letter>,
    /// Dead letters, which are delivered no more.
    pub dead: Vec<Letter>,
    /// A sentence for each part of a mailbox that could not be read, with the place where it was
    /// saved.
    pub damage: Vec<String>,
}

impl Received {
    /// A sentence for everything that was not delivered: each dead letter, and the damage.
    pub fn notices(&self) -> Vec<String> {
        let dead = |letter: &Letter| {
            format!(
                "A letter from {} is set aside as a dead letter: it was delivered {MAX_DELIVERIES} \
                 times and never answered.",
                letter.from
            )
        };
        self.dead.iter().map(dead).chain(self.damage.iter().cloned()).collect()
    }
}

/// Checks whether this can name a mailbox: lower-case letters, digits, `-` and `_`, a letter or
/// digit first, at most 40 bytes. So it is never a path.
///
/// # Errors
/// [`Error::Name`] when it cannot.
pub fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with(['-', '_'])
    {
        return Ok(());
    }
    Err(Error::Name(name.chars().take(60).collect()))
}

/// Why mail could not be sent, received or acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This cannot name a mailbox; its first 60 characters.
    #[error(
        "{0:?} is no name: lower-case letters, digits, `-` and `_`, at most 40, a letter or digit \
         first"
    )]
    Name(String),
    /// A text of so many bytes.
    #[error(
        "a letter of {0} bytes is too long, {MAX_LETTER_BYTES} are the most; write a file, and \
         say where it is"
    )]
    TooLong(usize),
    /// The file of a mailbox cannot be read or written.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// The transport failed in a way of its own; the message names the host where there is one.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}
