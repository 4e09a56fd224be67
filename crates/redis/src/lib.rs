//! A team on a Redis server: mailboxes ([`Mail`]) and a board of tasks ([`open_board`]) for members
//! in several processes, on several machines.
//!
//! - A [`Server`] is one connection, and the keys of one team. What fails says so in one sentence
//!   that names the host ([`Failure`]). A call goes on trying for a while, since a server restarts.
//! - [`Mail`] is the [`Transport`](rungs_mailbox::Transport) on streams with a consumer group.
//! - [`Names`] are the names that this process has: leases, so that the mailbox of a process that
//!   died has another reader some seconds later.
//!
//! Messages of the server (pub/sub) only wake who waits. Whoever is woken looks, and whoever has
//! lost the connection looks when it stands again, so no message is needed to find anything.
use std::time::Duration;

mod board;
mod failure;
mod mail;
mod names;
mod server;
pub mod testing;
#[cfg(test)]
mod tests;

pub use board::open_board;
pub use failure::{Cause, Failure};
pub use mail::Mail;
use mail::Quiet;
pub use names::{NAME_LEASE, Names};
pub use server::{DEFAULT_URL, Server};

impl Mail {
    /// The mailboxes of a team, for a process whose names end with the [`NAME_LEASE`] when it dies.
    ///
    /// # Errors
    /// Those of [`Names::new`].
    pub fn new(server: &Server) -> Result<Mail, Failure> {
        Mail::with_lease(server, NAME_LEASE)
    }

    /// [`new`](Mail::new), with another time after which the names of a process that died end.
    ///
    /// # Errors
    /// Those of [`Names::new`].
    pub fn with_lease(server: &Server, lease: Duration) -> Result<Mail, Failure> {
        let (server, names) = (server.clone(), Names::new(server, lease)?);
        Ok(Mail { server, names, quiet: Quiet::default() })
    }

    /// The names that this process has.
    pub fn names(&self) -> &Names {
        &self.names
    }
}
