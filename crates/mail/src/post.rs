use crate::{Error, Letter, Mailbox, Taken};
use durable::Lock;
use futures_util::future::BoxFuture;
use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Where mail waits for whom.
pub trait Post: Send + Sync + 'static {
    /// Delivers a letter; `Ok` means that it is there to stay, whole.
    fn send<'a>(&'a self, to: &'a str, letter: Letter) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes what has come for `who`, in the order of each sender. It comes again unless it is settled.
    fn take<'a>(&'a self, who: &'a str) -> BoxFuture<'a, Result<Taken, Error>>;

    /// All that `who` took was handled, or is to be taken again.
    fn settle<'a>(&'a self, who: &'a str, handled: bool) -> BoxFuture<'a, Result<(), Error>>;

    /// Whether there is something to take.
    fn has_mail<'a>(&'a self, who: &'a str) -> BoxFuture<'a, Result<bool, Error>>;

    /// The newest letters that `who` ever got, oldest first.
    fn newest<'a>(&'a self, who: &'a str, most: usize) -> BoxFuture<'a, Result<Vec<Letter>, Error>>;
}

/// The first form of post: a [`Mailbox`] for each name, in files.
pub struct Mailboxes(Arc<Mutex<Open>>);

struct Open {
    folder: PathBuf,
    boxes: HashMap<String, Mailbox>,
    _lock: Lock,
}

impl Mailboxes {
    /// The boxes of the first team (`team-1`, `team-2`, ...) in this folder that no running program has: a box has one
    /// reader, and two programs that were started in one folder are two teams. It blocks.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn open(folder: &Path) -> Result<Mailboxes, Error> {
        durable::create_folder(folder)?;
        let mut n = 1;
        loop {
            let team = folder.join(format!("team-{n}"));
            if let Some(_lock) = Lock::try_acquire(team.with_extension("lock"))? {
                return Ok(Mailboxes(Arc::new(Mutex::new(Open { folder: team, boxes: HashMap::new(), _lock }))));
            }
            n += 1;
        }
    }

    /// Works with a box where waiting for the disk holds up nobody.
    fn with<T: Send + 'static>(
        &self,
        who: &str,
        work: impl FnOnce(&mut Mailbox) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let (open, who) = (self.0.clone(), who.to_string());
        let work = move || {
            let Open { folder, boxes, .. } = &mut *open.lock().unwrap();
            match boxes.entry(who) {
                Entry::Occupied(known) => work(known.into_mut()),
                Entry::Vacant(new) => {
                    let inbox = Mailbox::open(folder, new.key())?;
                    work(new.insert(inbox))
                }
            }
        };
        Box::pin(async { tokio::task::spawn_blocking(work).await.map_err(|e| Error::Other(e.into()))? })
    }
}

impl Post for Mailboxes {
    fn send<'a>(&'a self, to: &'a str, letter: Letter) -> BoxFuture<'a, Result<(), Error>> {
        self.with(to, |inbox| inbox.put(letter).map(drop))
    }

    fn take<'a>(&'a self, who: &'a str) -> BoxFuture<'a, Result<Taken, Error>> {
        self.with(who, Mailbox::take)
    }

    fn settle<'a>(&'a self, who: &'a str, handled: bool) -> BoxFuture<'a, Result<(), Error>> {
        self.with(who, move |inbox| inbox.settle(handled))
    }

    fn has_mail<'a>(&'a self, who: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        self.with(who, Mailbox::has_mail)
    }

    fn newest<'a>(&'a self, who: &'a str, most: usize) -> BoxFuture<'a, Result<Vec<Letter>, Error>> {
        self.with(who, move |inbox| inbox.newest(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_programs_in_one_folder_are_two_teams_and_the_next_one_finds_what_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let first = Mailboxes::open(folder.path()).unwrap();
        let second = Mailboxes::open(folder.path()).unwrap();
        first.send("ann", Letter::new("lead", "hello")).await.unwrap();
        assert!(first.has_mail("ann").await.unwrap() && !second.has_mail("ann").await.unwrap());
        drop(first);
        let third = Mailboxes::open(folder.path()).unwrap();
        assert_eq!(third.take("ann").await.unwrap().letters[0].text, "hello");
        third.settle("ann", true).await.unwrap();
        assert_eq!((third.has_mail("ann").await.unwrap(), third.newest("ann", 9).await.unwrap().len()), (false, 1));
        let refused = third.send("../ann", Letter::new("lead", "hello")).await.unwrap_err();
        assert!(refused.to_string().starts_with("\"../ann\" is no name"), "{refused}");
    }
}
