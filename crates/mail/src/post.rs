use crate::{Error, Letter, Mailbox, Taken};
use durable::Lock;
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Where mail waits for whom.
pub trait Post: Send + Sync + 'static {
    /// Delivers a letter; `Ok` means that it is there to stay, whole.
    fn send<'a>(&'a self, to: &'a str, letter: Letter) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes what has come for `who`, in the order of each sender, but for the letters that it has. What is not
    /// [done](Post::done) and no longer had comes again.
    fn take<'a>(
        &'a self,
        who: &'a str,
        held: &'a BTreeSet<u64>,
    ) -> BoxFuture<'a, Result<Taken, Error>>;

    /// `who` has handled these.
    fn done<'a>(&'a self, who: &'a str, ids: &'a BTreeSet<u64>)
    -> BoxFuture<'a, Result<(), Error>>;

    /// Whether there is something to take.
    fn has_mail<'a>(
        &'a self,
        who: &'a str,
        held: &'a BTreeSet<u64>,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// The newest letters that `who` ever got, oldest first.
    fn newest<'a>(&'a self, who: &'a str, most: usize)
    -> BoxFuture<'a, Result<Vec<Letter>, Error>>;
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
                return Ok(Mailboxes(Arc::new(Mutex::new(Open {
                    folder: team,
                    boxes: HashMap::new(),
                    _lock,
                }))));
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
            let mut inbox = match boxes.remove(&who) {
                Some(known) => known,
                None => Mailbox::open(folder, &who)?,
            };
            let worked = work(&mut inbox);
            // One that fails is opened anew the next time: it may be damaged, or gone.
            if !matches!(worked, Err(Error::Disk(_))) {
                boxes.insert(who, inbox);
            }
            worked
        };
        Box::pin(async {
            tokio::task::spawn_blocking(work).await.map_err(|e| Error::Other(e.into()))?
        })
    }
}

impl Post for Mailboxes {
    fn send<'a>(&'a self, to: &'a str, letter: Letter) -> BoxFuture<'a, Result<(), Error>> {
        self.with(to, |inbox| inbox.put(letter).map(drop))
    }

    fn take<'a>(
        &'a self,
        who: &'a str,
        held: &'a BTreeSet<u64>,
    ) -> BoxFuture<'a, Result<Taken, Error>> {
        let held = held.clone();
        self.with(who, move |inbox| inbox.take(&held))
    }

    fn done<'a>(
        &'a self,
        who: &'a str,
        ids: &'a BTreeSet<u64>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let ids = ids.clone();
        self.with(who, move |inbox| inbox.done(&ids))
    }

    fn has_mail<'a>(
        &'a self,
        who: &'a str,
        held: &'a BTreeSet<u64>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let held = held.clone();
        self.with(who, move |inbox| inbox.has_mail(&held))
    }

    fn newest<'a>(
        &'a self,
        who: &'a str,
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<Letter>, Error>> {
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
        let none = BTreeSet::new();
        assert!(
            first.has_mail("ann", &none).await.unwrap()
                && !second.has_mail("ann", &none).await.unwrap()
        );
        drop(first);
        let third = Mailboxes::open(folder.path()).unwrap();
        let taken = third.take("ann", &none).await.unwrap().letters;
        assert_eq!(taken[0].text, "hello");
        third.done("ann", &[taken[0].id].into()).await.unwrap();
        assert_eq!(
            (
                third.has_mail("ann", &none).await.unwrap(),
                third.newest("ann", 9).await.unwrap().len()
            ),
            (false, 1)
        );
        let refused = third.send("../ann", Letter::new("lead", "hello")).await.unwrap_err();
        assert!(refused.to_string().starts_with("\"../ann\" is no name"), "{refused}");
    }

    #[tokio::test]
    async fn a_box_that_was_spoiled_or_deleted_meanwhile_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (post, none) = (Mailboxes::open(folder.path()).unwrap(), BTreeSet::new());
        post.send("ann", Letter::new("lead", "one")).await.unwrap();
        post.send("ann", Letter::new("lead", "two")).await.unwrap();
        let file = folder.path().join("team-1/ann.jsonl");
        let spoiled = std::fs::read_to_string(&file).unwrap().replace("one", "eno");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, spoiled).unwrap();
        assert!(post.send("ann", Letter::new("lead", "three")).await.is_err());
        post.send("ann", Letter::new("lead", "four")).await.unwrap();
        let taken = post.take("ann", &none).await.unwrap();
        assert_eq!((taken.letters[0].text.as_str(), taken.damage.len()), ("four", 1));
        std::fs::remove_file(&file).unwrap();
        assert!(post.has_mail("ann", &none).await.is_err());
        post.send("ann", Letter::new("lead", "five")).await.unwrap();
        assert!(post.has_mail("ann", &none).await.unwrap());
    }
}
