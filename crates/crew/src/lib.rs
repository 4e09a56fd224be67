//! Named tasks that work, rest, and are nudged when there is something to do; all of them end
//! together.
//!
//! The one hard question is when *nobody* has anything left to do, asked from outside while nudges
//! fly about. So a nudge takes the rest away at once, before the sleeper has noticed; and who wants
//! to rest says which nudge it has seen last:
//!
//! ```
//! use rungs_crew::Crew;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let crew = Crew::default();
//! let (of, done) = (crew.clone(), std::sync::Arc::new(tokio::sync::Notify::new()));
//! let said = done.clone();
//! let work = async move {
//!     loop {
//!         let seen = of.begin("ann");
//!         said.notify_one();
//!         if of.rest("ann", seen) {
//!             while !of.is_nudged("ann") {
//!                 of.changed().await;
//!             }
//!         }
//!     }
//! };
//! assert!(crew.hire("ann", "counts", |_| work));
//! done.notified().await;
//! crew.nudge(|name| name == "ann");
//! assert!(!crew.all_rest());
//! done.notified().await;
//! crew.close(Duration::from_secs(1)).await;
//! assert!(crew.list().is_empty());
//! # }
//! ```
use futures_util::future::join_all;
use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, futures::Notified},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Tasks by their names. Clones are the same crew.
#[derive(Clone, Default)]
pub struct Crew(Arc<Inner>);

#[derive(Default)]
struct Inner {
    members: Mutex<BTreeMap<String, Member>>,
    hired: AtomicU64,
    changed: Notify,
}

struct Member {
    /// Its own, while names come again.
    number: u64,
    note: String,
    resting: bool,
    nudges: u64,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

/// One member, for whoever lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// What was said of it when it was hired.
    pub note: String,
    /// Whether it has nothing to do.
    pub resting: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}), {}",
            self.name,
            self.note,
            if self.resting { "idle" } else { "at work" }
        )
    }
}

/// Stops a crew when it is dropped.
pub struct Owner(Crew);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.members().values().for_each(|member| member.stop.cancel());
    }
}

impl Crew {
    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.0.members.lock().unwrap()
    }

    /// Starts a task under this name, unless the name is taken. When it ends, the name is free
    /// again. When it is stopped, its token fires, and it is dropped at its next await.
    pub fn hire<Fut>(
        &self,
        name: &str,
        note: &str,
        work: impl FnOnce(CancellationToken) -> Fut,
    ) -> bool
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let mut members = self.members();
        if members.contains_key(name) {
            return false;
        }
        let stop = CancellationToken::new();
        let work = stop.clone().run_until_cancelled_owned(work(stop.clone()));
        let (crew, number, me) =
            (self.clone(), self.0.hired.fetch_add(1, Relaxed), name.to_string());
        let run = tokio::spawn(async move {
            let _ = work.await;
            let mut members = crew.members();
            if members.get(&me).is_some_and(|member| member.number == number) {
                members.remove(&me);
            }
            drop(members);
            crew.0.changed.notify_waiters();
        });
        members.insert(
            name.into(),
            Member { number, note: note.into(), resting: false, nudges: 0, stop, run },
        );
        true
    }

    /// Has members look for something to do. None of them rests from now on, until it says again
    /// that it does.
    pub fn nudge(&self, which: impl Fn(&str) -> bool) {
        for (_, member) in self.members().iter_mut().filter(|(name, _)| which(name)) {
            (member.nudges, member.resting) = (member.nudges + 1, false);
        }
        self.0.changed.notify_waiters();
    }

    /// A member begins to work: gives what it has to say when it wants to [`rest`](Crew::rest).
    pub fn begin(&self, name: &str) -> u64 {
        self.members().get_mut(name).map_or(0, |member| {
            member.resting = false;
            member.nudges
        })
    }

    /// A member has nothing left to do. False when it was nudged since it [began](Crew::begin): it
    /// must look again.
    pub fn rest(&self, name: &str, since: u64) -> bool {
        let rests = self.members().get_mut(name).is_some_and(|member| {
            member.resting = member.nudges == since;
            member.resting
        });
        self.0.changed.notify_waiters();
        rests
    }

    /// Whether a member is there and does not rest.
    pub fn is_nudged(&self, name: &str) -> bool {
        self.members().get(name).is_some_and(|member| !member.resting)
    }

    /// Whether nobody has anything to do; who has ended, by a panic too, counts as resting.
    pub fn all_rest(&self) -> bool {
        self.members().values().all(|member| member.resting || member.run.is_finished())
    }

    /// Ends with the next change of any member. Make it before looking, or what happens in between
    /// is missed.
    pub fn changed(&self) -> Notified<'_> {
        self.0.changed.notified()
    }

    /// All members, by name.
    pub fn list(&self) -> Vec<Line> {
        let members = self.members();
        let line = |(name, member): (&String, &Member)| Line {
            name: name.clone(),
            note: member.note.clone(),
            resting: member.resting,
        };
        members.iter().map(line).collect()
    }

    /// Ends one member and waits for that, at most so long; false when there is none of that name.
    pub async fn end(&self, name: &str, at_most: Duration) -> bool {
        let member = self.members().remove(name);
        let there = member.is_some();
        join(member, at_most).await;
        self.0.changed.notify_waiters();
        there
    }

    /// What must be kept as long as the crew is to live.
    pub fn owner(&self) -> Owner {
        Owner(self.clone())
    }

    /// Ends all members and waits for that, at most so long.
    pub async fn close(&self, at_most: Duration) {
        let all = std::mem::take(&mut *self.members());
        join(all.into_values(), at_most).await;
    }
}

async fn join(members: impl IntoIterator<Item = Member>, at_most: Duration) {
    let runs = members.into_iter().map(|member| {
        member.stop.cancel();
        member.run
    });
    // A member that panicked has ended too.
    let _ = tokio::time::timeout(at_most, join_all(runs)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    const LONG: Duration = Duration::from_secs(20);

    /// Works off a counter, one at a time, resting in between.
    async fn worker(crew: Crew, name: &'static str, left: Arc<AtomicUsize>) {
        loop {
            let seen = crew.begin(name);
            while left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
                tokio::task::yield_now().await;
            }
            if crew.rest(name, seen) {
                loop {
                    let changed = crew.changed();
                    if crew.is_nudged(name) {
                        break;
                    }
                    changed.await;
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_counts_as_resting_while_there_is_work() {
        let (crew, left) = (Crew::default(), Arc::new(AtomicUsize::new(0)));
        for name in ["ann", "bob", "eve"] {
            assert!(crew.hire(name, "", |_| worker(crew.clone(), name, left.clone())));
        }
        assert!(!crew.hire("ann", "", |_| async {}));
        assert!(crew.hire("short", "", |_| async {}));
        for _ in 0..2000 {
            left.fetch_add(3, SeqCst);
            crew.nudge(|_| true);
            loop {
                let changed = crew.changed();
                if crew.all_rest() {
                    break;
                }
                tokio::time::timeout(LONG, changed).await.unwrap();
            }
            assert_eq!(left.load(SeqCst), 0);
        }
        assert!(crew.end("bob", LONG).await && !crew.end("bob", LONG).await);
        let line = |name: &str| Line { name: name.into(), note: String::new(), resting: true };
        assert_eq!(crew.list(), [line("ann"), line("eve")]);
        crew.close(LONG).await;
        assert!(crew.list().is_empty() && crew.all_rest());
    }

    #[tokio::test]
    async fn what_a_member_holds_is_gone_when_it_has_ended() {
        let (crew, held) = (Crew::default(), Arc::new(()));
        let its = held.clone();
        crew.hire("ann", "holds", |stop| async move {
            stop.cancelled().await;
            drop(its);
        });
        let its = held.clone();
        crew.hire("bob", "sleeps", |_| async move {
            std::future::pending::<()>().await;
            drop(its);
        });
        drop(crew.owner());
        while !crew.all_rest() {
            tokio::task::yield_now().await;
        }
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn who_panicked_rests() {
        let crew = Crew::default();
        crew.hire("ann", "", |_| async { panic!("on purpose") });
        while !crew.all_rest() {
            tokio::task::yield_now().await;
        }
        crew.close(LONG).await;
    }
}
