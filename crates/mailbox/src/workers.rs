use crate::{
    Elsewhere, Error, Letter, LetterId, Presence, SpawnError, Transport, WriteError, check_name,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::{AbortHandle, Id},
    time,
};

/// How long a worker may take to end that could not be sent its first letter.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// Named tasks, each of which works on what comes into the mailbox of its name, and an owner who
/// writes to them and is written to. Clones are the same workers.
///
/// It answers one question that is easy to get wrong: is nobody [at work](Workers::is_at_work) any
/// more, so that no letter is to be expected? A worker says when it is [busy](Workers::busy) and
/// when it is [idle](Workers::idle), and acknowledges letters while it is busy. So there is no
/// moment between a letter and the work on it at which it seems to have nothing to do.
#[derive(Clone)]
pub struct Workers<T>(Arc<Inner<T>>);

struct Inner<T> {
    transport: Arc<dyn Transport>,
    owner: String,
    max_workers: usize,
    by_name: watch::Sender<BTreeMap<String, Worker<T>>>,
    /// None before the owner has allowed any.
    letters: Mutex<Option<Allowed>>,
}

#[derive(Clone, Copy)]
struct Allowed {
    max: usize,
    left: usize,
}

struct Worker<T> {
    /// What its owner wants to know of it.
    info: T,
    task: AbortHandle,
    activity: Activity,
}

enum Activity {
    Busy,
    /// It has received these letters, and does nothing about them until there are others.
    Idle(BTreeSet<LetterId>),
}

/// A name, and the task that had it when this was made. The name may come again, its task does not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// The worker's name, or the owner's.
    pub name: String,
    /// None for the owner, and for whoever is no worker here.
    task: Option<Id>,
}

/// The place of a worker, given up when its task ends, by a panic too.
struct Place<T>(Workers<T>, String);

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        self.0.0.by_name.send_modify(|by_name| {
            by_name.remove(&self.1);
        });
    }
}

impl<T: Clone + Send + Sync + 'static> Workers<T> {
    /// No workers yet, and at most so many at once. Their mailboxes, and that of the owner, are
    /// those of this transport.
    pub fn new(transport: impl Transport, owner: &str, max_workers: usize) -> Self {
        Workers(Arc::new(Inner {
            transport: Arc::new(transport),
            owner: owner.into(),
            max_workers,
            by_name: watch::Sender::default(),
            letters: Mutex::default(),
        }))
    }

    /// The mailboxes.
    pub fn transport(&self) -> &dyn Transport {
        &*self.0.transport
    }

    /// Starts a task under this name. When it ends, the name is free again. It is busy until it
    /// says that it is [idle](Workers::idle).
    ///
    /// # Errors
    /// When the name is not valid or taken, and when there are too many.
    pub fn spawn(
        &self,
        name: &str,
        info: T,
        work: impl Future<Output: Send> + Send + 'static,
    ) -> Result<(), SpawnError> {
        check_name(name)?;
        let mut end = Ok(());
        self.0.by_name.send_if_modified(|by_name| {
            if name == self.0.owner || by_name.contains_key(name) {
                end = Err(SpawnError::Taken(name.into()));
            } else if by_name.len() >= self.0.max_workers {
                end = Err(SpawnError::Full(self.0.max_workers));
            } else {
                let place = Place(self.clone(), name.into());
                let task = tokio::spawn(async move {
                    work.await;
                    if let Some(presence) = place.0.presence() {
                        presence.leave(&place.1).await;
                    }
                });
                let task = task.abort_handle();
                by_name.insert(name.into(), Worker { info, task, activity: Activity::Busy });
            }
            end.is_ok()
        });
        end
    }

    /// [`spawn`](Workers::spawn), once the name is taken from all other processes, and a first
    /// letter to it; when that cannot be sent, the worker is stopped. Where there are
    /// others, the task ends when this process loses the name.
    ///
    /// # Errors
    /// Those of [`spawn`](Workers::spawn), when another process has the name, and when the
    /// transport fails.
    pub async fn join(
        &self,
        name: &str,
        role: &str,
        info: T,
        first: Letter,
        work: impl Future<Output: Send> + Send + 'static,
    ) -> Result<(), SpawnError> {
        self.begin(name, role, info, work).await?;
        let sent = self.transport().send(name, first).await;
        if sent.is_err() {
            self.stop(name, STOP_TIMEOUT).await;
        }
        Ok(sent?)
    }

    async fn begin(
        &self,
        name: &str,
        role: &str,
        info: T,
        work: impl Future<Output: Send> + Send + 'static,
    ) -> Result<(), SpawnError> {
        let Some(presence) = self.presence() else { return self.spawn(name, info, work) };
        if self.names().iter().any(|other| other == name) || name == self.0.owner {
            return Err(SpawnError::Taken(name.into()));
        }
        presence.join(name, role).await?;
        let (workers, me) = (self.clone(), name.to_string());
        let work = async move {
            let lost = async {
                match workers.presence() {
                    Some(presence) => presence.lost(&me).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                _ = work => {}
                () = lost => {}
            }
        };
        self.spawn(name, info, work)
    }

    /// [`stop`](Workers::stop) for a member wherever it runs.
    ///
    /// # Errors
    /// When the transport fails.
    pub async fn dismiss(&self, name: &str, timeout: Duration) -> Result<bool, Error> {
        if self.stop(name, timeout).await {
            return Ok(true);
        }
        match self.presence() {
            Some(presence) if name != self.0.owner => presence.dismiss(name).await,
            _ => Ok(false),
        }
    }

    fn presence(&self) -> Option<&dyn Presence> {
        self.transport().presence()
    }

    /// The names of all workers, in alphabetical order.
    pub fn names(&self) -> Vec<String> {
        self.0.by_name.borrow().keys().cloned().collect()
    }

    /// All workers: name, what was said of it when it was spawned, and whether it is at work.
    pub async fn list(&self) -> Vec<(String, T, bool)> {
        let mut list = vec![];
        for name in self.names() {
            let is_at_work = self.is_at_work(&name).await;
            if let Some(info) = self.get(&name) {
                list.push((name, info, is_at_work));
            }
        }
        list
    }

    /// The members of the team in other processes. What cannot be read counts as none: nobody must
    /// wait for it for ever.
    pub async fn elsewhere(&self) -> Vec<Elsewhere> {
        let Some(presence) = self.presence() else { return vec![] };
        let mut elsewhere = presence.elsewhere().await.unwrap_or_default();
        elsewhere.retain(|member| member.name != self.0.owner);
        elsewhere
    }

    /// All members, a line each: name, role, whether it is at work, and where it is when it is in
    /// another process.
    pub async fn lines(&self, role: impl Fn(&T) -> &String) -> Vec<String> {
        let activity = |is_at_work| if is_at_work { "at work" } else { "idle" };
        let mut lines = vec![];
        for (name, info, is_at_work) in self.list().await {
            lines.push(format!("{name} ({}), {}", role(&info), activity(is_at_work)));
        }
        for member in self.elsewhere().await {
            let activity = activity(self.is_at_work_elsewhere(&member).await);
            let Elsewhere { name, role, host, .. } = member;
            lines.push(format!("{name} ({role}), {activity}, on {host}"));
        }
        lines
    }

    /// Everybody but this name to whom letters can be written: the other workers, those in other
    /// processes, and the owner.
    pub async fn others(&self, name: &str) -> Vec<String> {
        let mut others = self.names();
        others.extend(self.elsewhere().await.into_iter().map(|member| member.name));
        others.push(self.0.owner.clone());
        others.retain(|other| other != name);
        others
    }

    /// The first worker of which this was said when it was spawned.
    pub fn find(&self, is_wanted: impl Fn(&T) -> bool) -> Option<Member> {
        let by_name = self.0.by_name.borrow();
        let (name, worker) = by_name.iter().find(|(_, worker)| is_wanted(&worker.info))?;
        Some(Member { name: name.clone(), task: Some(worker.task.id()) })
    }

    /// Who has this name now.
    pub fn member(&self, name: &str) -> Member {
        let task = self.0.by_name.borrow().get(name).map(|worker| worker.task.id());
        Member { name: name.into(), task }
    }

    /// What was said of the worker of this name when it was spawned.
    pub fn get(&self, name: &str) -> Option<T> {
        self.0.by_name.borrow().get(name).map(|worker| worker.info.clone())
    }

    /// A worker has something to do, until it is idle.
    pub fn busy(&self, name: &str) {
        self.set(name, Activity::Busy);
    }

    /// A worker has nothing to do. Letters in flight that it has not acknowledged are letters that
    /// it has given up on: they are no work until it is busy again.
    pub fn idle(&self, name: &str, in_flight: BTreeSet<LetterId>) {
        self.set(name, Activity::Idle(in_flight));
    }

    fn set(&self, name: &str, activity: Activity) {
        if let Some(presence) = self.presence() {
            presence.set_busy(name, matches!(activity, Activity::Busy));
        }
        self.0.by_name.send_if_modified(|by_name| match by_name.get_mut(name) {
            Some(worker) => {
                worker.activity = activity;
                true
            }
            None => false,
        });
    }

    /// How many letters may be [written](Workers::write) from now on: two workers can thank each
    /// other for ever. Before the first call it is none.
    pub fn allow_letters(&self, max: usize) {
        *self.0.letters.lock().unwrap() = Some(Allowed { max, left: max });
    }

    /// Delivers a letter to workers, or to the owner, and counts it once for each.
    ///
    /// # Errors
    /// When one of them does not exist, when too many were written, when the transport fails.
    pub async fn write(&self, to: &[String], letter: &Letter) -> Result<(), WriteError> {
        if to.is_empty() || to.contains(&letter.from) {
            return Err(WriteError::NobodyElse);
        }
        let others = self.others(&letter.from).await;
        if let Some(unknown) = to.iter().find(|name| !others.contains(name)) {
            let others = if others.is_empty() { "nobody".into() } else { others.join(", ") };
            return Err(WriteError::Unknown(unknown.clone(), others));
        }
        self.take_letters(to.len())?;
        for name in to {
            self.transport().send(name, letter.clone()).await?;
        }
        Ok(())
    }

    fn take_letters(&self, count: usize) -> Result<(), WriteError> {
        let mut letters = self.0.letters.lock().unwrap();
        let Some(allowed) = letters.as_mut() else { return Err(WriteError::TooMany(0)) };
        let Some(left) = allowed.left.checked_sub(count) else {
            return Err(WriteError::TooMany(allowed.max));
        };
        allowed.left = left;
        Ok(())
    }

    /// Waits for mail that is not in flight: true. The owner waits only as long as somebody is at
    /// work: false. Before the owner has allowed any letters it does not wait at all, so what an
    /// earlier run left begins nothing that nobody has asked for.
    pub async fn wait(&self, who: &str, in_flight: &BTreeSet<LetterId>) -> bool {
        let is_owner = who == self.0.owner;
        if is_owner && self.0.letters.lock().unwrap().is_none() {
            return false;
        }
        tokio::select! {
            () = self.transport().wait(who, in_flight) => true,
            // Whoever is idle has sent before that what it had to say.
            () = self.all_idle(), if is_owner => {
                self.transport().has_mail(who, in_flight).await.unwrap_or(false)
            }
        }
    }

    /// Waits at most so long for mail of a worker that is not in flight: whether there is some. The
    /// worker counts as idle meanwhile, and as busy afterwards.
    pub async fn await_mail(
        &self,
        name: &str,
        in_flight: &BTreeSet<LetterId>,
        limit: Duration,
    ) -> bool {
        // Also when this future is dropped.
        let _busy = BusyOnDrop(self, name);
        self.idle(name, in_flight.clone());
        time::timeout(limit, self.transport().wait(name, in_flight)).await.is_ok()
    }

    /// Whether the worker of this name is busy or has mail. Mail that cannot be read counts as
    /// none: nobody must wait for it for ever.
    pub async fn is_at_work(&self, name: &str) -> bool {
        let in_flight = match self.0.by_name.borrow().get(name).map(|worker| &worker.activity) {
            None => return false,
            Some(Activity::Busy) => return true,
            Some(Activity::Idle(in_flight)) => in_flight.clone(),
        };
        self.transport().has_mail(name, &in_flight).await.unwrap_or(false)
    }

    /// Whether a member in another process is at work: it says so, or has letters that it has not
    /// acknowledged.
    pub async fn is_at_work_elsewhere(&self, member: &Elsewhere) -> bool {
        let none = BTreeSet::new();
        member.busy || self.transport().has_mail(&member.name, &none).await.unwrap_or(false)
    }

    /// Waits until no worker is at work, here or in another process. Then they have sent all that
    /// they will send, unless somebody else writes to them.
    pub async fn all_idle(&self) {
        let mut changes = self.0.by_name.subscribe();
        loop {
            changes.mark_unchanged();
            // From before the look, so that nothing falls between the two.
            let changed_elsewhere = self.presence().map(|presence| presence.changed());
            let mut at_work = false;
            for member in self.elsewhere().await {
                at_work = at_work || self.is_at_work_elsewhere(&member).await;
            }
            for name in self.names() {
                at_work = at_work || self.is_at_work(&name).await;
            }
            // One that was found idle may meanwhile have mail from one that was looked at later and
            // is idle since: that is a change.
            if !at_work && !changes.has_changed().unwrap_or(false) {
                return;
            }
            let changed_elsewhere = async {
                match changed_elsewhere {
                    Some(changed) => changed.await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // An error means that nothing can change any more.
                changed = changes.changed() => if changed.is_err() { return },
                () = changed_elsewhere => {}
            }
        }
    }

    /// Stops a worker, and waits until its task has dropped all that it had, at most so long. False
    /// when there is none of that name.
    pub async fn stop(&self, name: &str, timeout: Duration) -> bool {
        let mut changes = self.0.by_name.subscribe();
        let id = match changes.borrow().get(name) {
            Some(worker) => {
                worker.task.abort();
                worker.task.id()
            }
            None => return false,
        };
        let is_gone = |by_name: &BTreeMap<String, Worker<T>>| !has_task(by_name, id);
        // One that does not reach its next await keeps its name until it does.
        let _ = time::timeout(timeout, changes.wait_for(is_gone)).await;
        if let Some(presence) = self.presence() {
            presence.leave(name).await;
        }
        true
    }

    /// Stops all workers, and waits until they have ended.
    pub async fn stop_all(&self) {
        let names = self.names();
        for worker in self.0.by_name.borrow().values() {
            worker.task.abort();
        }
        // An error means that there are no workers any more.
        let _ = self.0.by_name.subscribe().wait_for(BTreeMap::is_empty).await;
        if let Some(presence) = self.presence() {
            for name in names {
                presence.leave(&name).await;
            }
        }
    }
}

struct BusyOnDrop<'a, T: Clone + Send + Sync + 'static>(&'a Workers<T>, &'a str);

impl<T: Clone + Send + Sync + 'static> Drop for BusyOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.busy(self.1);
    }
}

/// Whether one of them runs this task. Names come again, tasks do not.
fn has_task<T>(by_name: &BTreeMap<String, Worker<T>>, id: Id) -> bool {
    by_name.values().any(|worker| worker.task.id() == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Letter, Mailboxes, Received};
    use durable::Folder;
    use futures_util::future::BoxFuture;
    use std::future::{self, Pending};
    use tokio::time::timeout;

    const LONG: Duration = Duration::from_secs(60);

    fn pending() -> Pending<()> {
        future::pending()
    }

    async fn workers(folder: &std::path::Path) -> Workers<&'static str> {
        let folder = Folder::open(folder, "").unwrap();
        Workers::new(Mailboxes::open(&folder).await.unwrap(), "lead", 3)
    }

    /// Sends each letter on as often as it says, to the next of three workers.
    async fn forward(workers: Workers<&'static str>, me: &'static str, to: &'static str) {
        let transport = workers.transport();
        loop {
            workers.idle(me, BTreeSet::new());
            transport.wait(me, &BTreeSet::new()).await;
            workers.busy(me);
            let received = transport.receive(me, &BTreeSet::new()).await.unwrap();
            for letter in &received.letters {
                let left: u32 = letter.text.parse().unwrap();
                if left > 0 {
                    transport.send(to, Letter::new(me, (left - 1).to_string())).await.unwrap();
                }
            }
            let ids = received.letters.iter().map(|letter| letter.id).collect();
            transport.ack(me, &ids).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_counts_as_idle_while_a_letter_is_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let workers = workers(folder.path()).await;
        let names = ["ann", "bob", "eve"];
        for (me, to) in names.into_iter().zip(["bob", "eve", "ann"]) {
            workers.spawn(me, "forwards", forward(workers.clone(), me, to)).unwrap();
        }
        for round in 1..=100 {
            let letter = Letter::new("lead", "10");
            workers.transport().send(names[round % 3], letter).await.unwrap();
            timeout(LONG, workers.all_idle()).await.unwrap();
            let mut received = 0;
            for name in names {
                assert!(!workers.transport().has_mail(name, &BTreeSet::new()).await.unwrap());
                received += workers.transport().newest(name, 10_000).await.unwrap().len();
            }
            assert_eq!(received, 11 * round);
        }
        workers.stop_all().await;
        assert_eq!(workers.names(), [""; 0]);
    }

    #[tokio::test]
    async fn names_are_unique_and_workers_are_limited() {
        let folder = tempfile::tempdir().unwrap();
        let workers = workers(folder.path()).await;
        let spawn = |name: &str, info| match workers.spawn(name, info, pending()) {
            Ok(()) => "spawned".into(),
            Err(error) => error.to_string(),
        };
        assert_eq!(spawn("ann", "one"), "spawned");
        assert_eq!(spawn("ann", "two"), "\"ann\" is there already");
        assert_eq!(spawn("lead", ""), "\"lead\" is there already");
        assert!(spawn("../joe", "").starts_with("\"../joe\" is no name"));
        assert_eq!(spawn("bob", ""), "spawned");
        assert_eq!(spawn("eve", ""), "spawned");
        assert_eq!(spawn("joe", ""), "there are 3 already, which is the most; end one first");
        assert_eq!(
            (workers.names().join(" "), workers.get("ann")),
            ("ann bob eve".into(), Some("one"))
        );
        assert!(workers.stop("ann", LONG).await && !workers.stop("ann", LONG).await);
        assert_eq!(spawn("ann", "two"), "spawned");
        assert_eq!(workers.get("ann"), Some("two"));
    }

    #[tokio::test]
    async fn a_member_is_another_one_when_its_name_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let workers = workers(folder.path()).await;
        workers.spawn("ann", "one", pending()).unwrap();
        assert_eq!(workers.find(|info| *info == "one"), Some(workers.member("ann")));
        assert_eq!(workers.find(|info| *info == "two"), None);
        let (ann, lead) = (workers.member("ann"), workers.member("lead"));
        workers.stop("ann", LONG).await;
        let nobody = workers.member("ann");
        workers.spawn("ann", "", pending()).unwrap();
        assert_eq!(workers.member("ann").name, ann.name);
        assert_ne!(workers.member("ann"), ann);
        assert_ne!(nobody, ann);
        assert_eq!((workers.member("ann"), workers.member("lead")), (workers.member("ann"), lead));
    }

    #[tokio::test]
    async fn what_a_worker_has_is_dropped_when_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let workers = workers(folder.path()).await;
        let one = Arc::new(());
        for name in ["ann", "bob"] {
            let its = one.clone();
            let work = async move {
                let _its = its;
                pending().await;
            };
            workers.spawn(name, "", work).unwrap();
            tokio::task::yield_now().await;
        }
        assert!(workers.stop("ann", LONG).await);
        assert_eq!((Arc::strong_count(&one), workers.names()), (2, vec!["bob".into()]));
        timeout(LONG, workers.stop_all()).await.unwrap();
        assert_eq!(Arc::strong_count(&one), 1);
    }

    #[tokio::test]
    async fn who_ended_or_panicked_is_not_at_work_and_has_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let workers = workers(folder.path()).await;
        workers.spawn("ann", "", async { panic!("on purpose") }).unwrap();
        workers.spawn("bob", "", async {}).unwrap();
        assert!(workers.is_at_work("ann").await);
        timeout(LONG, workers.all_idle()).await.unwrap();
        assert_eq!(workers.names(), [""; 0]);
    }

    #[tokio::test]
    async fn letters_that_a_worker_has_given_up_on_are_no_work() {
        let folder = tempfile::tempdir().unwrap();
        let workers = workers(folder.path()).await;
        workers.spawn("ann", "", pending()).unwrap();
        workers.transport().send("ann", Letter::new("lead", "one")).await.unwrap();
        let received = workers.transport().receive("ann", &BTreeSet::new()).await.unwrap();
        let in_flight: BTreeSet<LetterId> = received.letters.iter().map(|one| one.id).collect();
        assert_eq!(workers.list().await, [("ann".into(), "", true)]);
        workers.idle("ann", in_flight);
        assert_eq!(workers.list().await, [("ann".into(), "", false)]);
        timeout(LONG, workers.all_idle()).await.unwrap();
        workers.transport().send("ann", Letter::new("lead", "two")).await.unwrap();
        assert!(workers.is_at_work("ann").await);
        // Not acknowledged, and not in flight: it will be delivered again.
        workers.idle("ann", BTreeSet::new());
        assert!(workers.is_at_work("ann").await);
    }

    #[tokio::test]
    async fn letters_go_to_those_who_are_there_and_only_as_many_as_are_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let workers = workers(folder.path()).await;
        for name in ["ann", "bob"] {
            workers.spawn(name, "", pending()).unwrap();
        }
        let letter = Letter::new("ann", "hello");
        let write = async |to: &[&str]| {
            let to: Vec<String> = to.iter().map(|name| name.to_string()).collect();
            match workers.write(&to, &letter).await {
                Ok(()) => "sent".into(),
                Err(error) => error.to_string(),
            }
        };
        let too_many = |max: usize| {
            let which = "letters were written since the last prompt, which is the most";
            format!("{max} {which}; come to an end")
        };
        assert_eq!(write(&["lead"]).await, too_many(0));
        workers.allow_letters(3);
        for (to, said) in [
            (&["ann"][..], "nobody but you would get this letter"),
            (&["bob", "ann"], "nobody but you would get this letter"),
            (&[], "nobody but you would get this letter"),
            (&["bob", "../joe"], "there is no \"../joe\" to write to; there is: bob, lead"),
            (&["lead", "bob"], "sent"),
            (&["lead", "bob"], &too_many(3)),
            (&["lead"], "sent"),
            (&["lead"], &too_many(3)),
        ] {
            assert_eq!(write(to).await, said, "{to:?}");
        }
        workers.allow_letters(1);
        assert_eq!(write(&["lead"]).await, "sent");
        let newest = async |name: &str| workers.transport().newest(name, 9).await.unwrap().len();
        assert_eq!((newest("lead").await, newest("bob").await), (3, 1));
    }

    #[tokio::test]
    async fn the_owner_waits_as_long_as_somebody_is_at_work_and_a_worker_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let workers = workers(folder.path()).await;
        let none = BTreeSet::new();
        workers.transport().send("lead", Letter::new("ann", "left")).await.unwrap();
        assert!(!workers.wait("lead", &none).await, "nobody has begun anything");
        workers.allow_letters(9);
        assert!(workers.wait("lead", &none).await);
        let received = workers.transport().receive("lead", &none).await.unwrap();
        workers.transport().ack("lead", &[received.letters[0].id].into()).await.unwrap();
        assert!(!workers.wait("lead", &none).await, "nobody is at work");

        let (report, its) = (Letter::new("ann", "done"), workers.clone());
        let work = async move {
            its.write(&["lead".into()], &report).await.unwrap();
            its.idle("ann", BTreeSet::new());
            assert!(!its.wait("ann", &BTreeSet::new()).await);
        };
        workers.spawn("ann", "", work).unwrap();
        assert!(workers.wait("lead", &none).await);
        let received = workers.transport().receive("lead", &none).await.unwrap();
        assert!(!workers.wait("lead", &[received.letters[0].id].into()).await);
        assert_eq!(workers.names(), ["ann"]);
    }

    #[tokio::test]
    async fn who_waits_for_an_answer_is_idle_meanwhile_and_busy_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let workers = workers(folder.path()).await;
        workers.spawn("ann", "", pending()).unwrap();
        let none = BTreeSet::new();
        assert!(!workers.await_mail("ann", &none, Duration::from_millis(50)).await);
        assert!(workers.is_at_work("ann").await);
        let waiting = {
            let workers = workers.clone();
            tokio::spawn(async move { workers.await_mail("ann", &BTreeSet::new(), LONG).await })
        };
        timeout(LONG, workers.all_idle()).await.unwrap();
        workers.transport().send("ann", Letter::new("lead", "yes")).await.unwrap();
        assert!(waiting.await.unwrap());
        let received = workers.transport().receive("ann", &none).await.unwrap();
        let in_flight = received.letters.iter().map(|letter| letter.id).collect();
        assert!(workers.is_at_work("ann").await);
        let dropped = workers.await_mail("ann", &in_flight, LONG);
        timeout(Duration::from_millis(50), dropped).await.unwrap_err();
        workers.transport().ack("ann", &in_flight).await.unwrap();
        assert!(workers.is_at_work("ann").await);
    }

    /// Mailboxes, and something that happens once: after it was found that ann has no mail.
    struct Afterwards {
        mailboxes: Mailboxes,
        then: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
    }

    impl Transport for Afterwards {
        fn send<'a>(&'a self, to: &'a str, letter: Letter) -> BoxFuture<'a, Result<(), Error>> {
            self.mailboxes.send(to, letter)
        }
        fn receive<'a>(
            &'a self,
            who: &'a str,
            in_flight: &'a BTreeSet<LetterId>,
        ) -> BoxFuture<'a, Result<Received, Error>> {
            self.mailboxes.receive(who, in_flight)
        }
        fn ack<'a>(
            &'a self,
            who: &'a str,
            ids: &'a BTreeSet<LetterId>,
        ) -> BoxFuture<'a, Result<(), Error>> {
            self.mailboxes.ack(who, ids)
        }
        fn has_mail<'a>(
            &'a self,
            who: &'a str,
            in_flight: &'a BTreeSet<LetterId>,
        ) -> BoxFuture<'a, Result<bool, Error>> {
            Box::pin(async move {
                let found = self.mailboxes.has_mail(who, in_flight).await;
                let then = if who == "ann" { self.then.lock().unwrap().take() } else { None };
                if let Some(then) = then {
                    then.await;
                }
                found
            })
        }
        fn wait<'a>(
            &'a self,
            who: &'a str,
            in_flight: &'a BTreeSet<LetterId>,
        ) -> BoxFuture<'a, ()> {
            self.mailboxes.wait(who, in_flight)
        }
        fn newest<'a>(
            &'a self,
            who: &'a str,
            count: usize,
        ) -> BoxFuture<'a, Result<Vec<Letter>, Error>> {
            self.mailboxes.newest(who, count)
        }
    }

    #[tokio::test]
    async fn a_letter_to_one_that_was_found_idle_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let mailboxes = Mailboxes::open(&Folder::open(folder.path(), "").unwrap()).await.unwrap();
        let then: Arc<Mutex<_>> = Arc::default();
        let transport = Afterwards { mailboxes, then: then.clone() };
        let workers = Workers::new(transport, "lead", 3);
        for name in ["ann", "bob"] {
            workers.spawn(name, "", pending()).unwrap();
        }
        workers.idle("ann", BTreeSet::new());
        let bob = workers.clone();
        let bob_writes_and_is_idle = Box::pin(async move {
            bob.transport().send("ann", Letter::new("bob", "over to you")).await.unwrap();
            bob.idle("bob", BTreeSet::new());
        });
        *then.lock().unwrap() = Some(bob_writes_and_is_idle);
        timeout(Duration::from_millis(500), workers.all_idle()).await.unwrap_err();
        workers.busy("ann");
        let received = workers.transport().receive("ann", &BTreeSet::new()).await.unwrap();
        workers.transport().ack("ann", &[received.letters[0].id].into()).await.unwrap();
        workers.idle("ann", BTreeSet::new());
        timeout(LONG, workers.all_idle()).await.unwrap();
    }
}
