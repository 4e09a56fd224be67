use crate::Error;
use futures_util::future::BoxFuture;

/// A member of the team in another process, maybe on another machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Elsewhere {
    /// The name, which is also that of its mailbox.
    pub name: String,
    /// What it says it does.
    pub role: String,
    /// Where it runs, for people.
    pub host: String,
    /// Whether it says that it has something to do.
    pub busy: bool,
}

/// Who is in the team, for a transport that several processes share. A name belongs to one process
/// at a time, for as long as that lives.
pub trait Presence: Send + Sync {
    /// Takes a name for this process. It may be one that this process has.
    ///
    /// # Errors
    /// When another process has it, and when the transport fails.
    fn join<'a>(&'a self, name: &'a str, role: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Gives a name back. When the transport fails, the name is free a little later.
    fn leave<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()>;

    /// Takes a name from the process that has it, which hears of it. False when nobody has it.
    ///
    /// # Errors
    /// When the transport fails.
    fn dismiss<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool, Error>>;

    /// Waits until this process has a name no more.
    fn lost<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()>;

    /// All members in other processes, by name.
    ///
    /// # Errors
    /// When the transport fails.
    fn elsewhere<'a>(&'a self) -> BoxFuture<'a, Result<Vec<Elsewhere>, Error>>;

    /// Tells the others whether a member of this process has something to do. It waits for
    /// nothing.
    fn set_busy(&self, name: &str, busy: bool);

    /// Ends when the members may have changed since this was called.
    fn changed(&self) -> BoxFuture<'static, ()>;
}
