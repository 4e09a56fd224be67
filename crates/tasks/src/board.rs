use crate::{FencingToken, Log, Storage, Task, TaskError, Tasks, lease::now, list, storage::File};
use durable::{Folder, Update};
use std::{
    ffi::OsStr,
    fmt, mem,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch, task::JoinError, time::timeout};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// How often a waiting worker looks at the file, since other processes send no signal.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How many lines a journal may have beyond two for each task. One with more is compacted when it
/// is opened.
const MAX_EXTRA_LINES: usize = 1000;

/// Why the board did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The task cannot be changed like this.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The file cannot be read or written. The message names it, and the line where there is one.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// The storage failed in a way of its own; the message names the host where there is one.
    #[error(transparent)]
    Storage(Box<dyn std::error::Error + Send + Sync>),
    /// Somebody else has written since this was decided. A [`Storage`] decides again.
    #[error("the board has changed meanwhile")]
    Outdated,
}

/// The board: the same one for everybody who opens the same file, in whichever process.
///
/// The file is an append-only journal. Whoever changes something holds its lock, reads what others
/// have written, decides, appends and flushes; so no two processes decide on stale data. In memory
/// a change exists once it is on the disk. A file that somebody removes, cuts off or replaces by an
/// older one is written again with what is known here; [`take_notices`](Board::take_notices) says
/// so.
///
/// **These methods block**, on locks and on the disk. Async code calls them through
/// [`blocking`](Board::blocking):
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let here = tempfile::tempdir()?;
/// use durable::Folder;
/// use rungs_tasks::{Board, Task};
///
/// let state = Folder::open(here.path(), ".rungs")?;
/// let board = Board::open_async(&state, "tasks.jsonl").await?;
/// let task = Task { subject: "build".into(), ..Task::default() };
/// let task = board.blocking(move |board| board.create(task)).await?;
/// assert_eq!(task.id, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The claims that were dropped without an answer. Whoever works on the board next gives their
    /// tasks back.
    dropped: Mutex<Vec<FencingToken>>,
    /// What nobody was told yet.
    notices: Mutex<Vec<String>>,
    /// Tells those who wait in this process that something has changed.
    changes: watch::Sender<()>,
    /// Tells when others may have written; none when they send no signal.
    signal: Option<watch::Receiver<()>>,
    /// Counts what runs on blocking threads, and the claims that are held.
    in_flight: TaskTracker,
}

struct State {
    storage: Box<dyn Storage>,
    tasks: Tasks,
}

impl Board {
    /// Opens the board in the file of this name, or creates it.
    ///
    /// Of a damaged file all intact changes are kept, and so is the file itself, under another
    /// name. A task that is missing because of that is one that nobody can find; those that wait
    /// for it go on waiting.
    ///
    /// # Errors
    /// [`BoardError::Disk`].
    pub fn open(folder: &Folder, name: impl AsRef<OsStr>) -> Result<Board, BoardError> {
        Board::on(File::open(folder, name.as_ref())?, None)
    }

    /// Opens the board in this storage. `signal` changes when others may have written; without it
    /// they are looked for every [`POLL_INTERVAL`].
    ///
    /// # Errors
    /// Those of the storage.
    pub fn on(
        storage: impl Storage + 'static,
        signal: Option<watch::Receiver<()>>,
    ) -> Result<Board, BoardError> {
        let in_flight = TaskTracker::new();
        // Closed, or `drain` would wait for ever. It accepts tasks all the same.
        in_flight.close();
        let board = Board(Arc::new(Shared {
            state: Mutex::new(State { storage: Box::new(storage), tasks: Tasks::default() }),
            dropped: Mutex::default(),
            notices: Mutex::default(),
            changes: watch::Sender::default(),
            signal,
            in_flight,
        }));
        let mut lines = 0;
        let tasks = board.locked(false, |_, tasks, read| {
            lines += read;
            Ok(tasks.all().len())
        })?;
        if lines > MAX_EXTRA_LINES + 2 * tasks.unwrap_or_default() {
            board.compact()?;
        }
        Ok(board)
    }

    /// [`open`](Board::open), on a blocking thread.
    ///
    /// # Errors
    /// Those of [`open`](Board::open).
    pub async fn open_async(
        folder: &Folder,
        name: impl AsRef<OsStr> + Send + 'static,
    ) -> Result<Board, BoardError> {
        let folder = folder.clone();
        match tokio::task::spawn_blocking(move || Board::open(&folder, name)).await {
            Ok(opened) => opened,
            Err(error) => resume(error).await,
        }
    }

    /// What has happened to the file that a person should know, a line each: what was damaged, what
    /// was put back. Each is returned once.
    pub fn take_notices(&self) -> Vec<String> {
        mem::take(&mut *self.0.notices.lock().unwrap())
    }

    /// Looks at the tasks as they are now. While nobody writes, it takes no lock on the file.
    ///
    /// # Errors
    /// [`BoardError::Disk`].
    pub fn look<T>(&self, look: impl FnOnce(&Tasks) -> T) -> Result<T, BoardError> {
        match self.view(look) {
            (value, None) => Ok(value),
            (_, Some(error)) => Err(error),
        }
    }

    /// Looks at the tasks as they were last known, and says why they may have changed since, when
    /// the file cannot be read.
    pub fn view<T>(&self, look: impl FnOnce(&Tasks) -> T) -> (T, Option<BoardError>) {
        // Tasks that cannot be given back now must not keep anybody from looking. They stay noted
        // for the next time.
        let _ = self.give_back();
        let read = self.locked(false, |_, _, _| Ok(()));
        (look(&self.0.state.lock().unwrap().tasks), read.err())
    }

    /// Reads in what others have written, and runs `work` with the number of their records while
    /// nobody else can write; it may run again, with what was written meanwhile. Unless `always`,
    /// it runs only when there is something new.
    fn locked<T>(
        &self,
        always: bool,
        mut work: impl FnMut(&mut dyn Log, &mut Tasks, usize) -> Result<T, BoardError>,
    ) -> Result<Option<T>, BoardError> {
        let State { storage, tasks } = &mut *self.0.state.lock().unwrap();
        let mut value = None;
        storage.locked(always, &mut |log, news| {
            let read = news.records.len();
            self.read_in(log, tasks, news)?;
            value = Some(work(log, tasks, read)?);
            Ok(())
        })?;
        Ok(value)
    }

    /// Changes tasks. `decide` sees them as they are, and returns the tasks that change, and a
    /// value for the caller; when somebody else was faster, it decides again. `Ok` means that the
    /// change is stored.
    ///
    /// # Errors
    /// That of `decide`, or those of the storage; then nothing has changed.
    pub fn change<T>(
        &self,
        mut decide: impl FnMut(&Tasks) -> Result<(Vec<Task>, T), BoardError>,
    ) -> Result<T, BoardError> {
        let changed = self.locked(true, |log, tasks, _| {
            self.write_releases(log, tasks)?;
            let (changed, value) = decide(tasks)?;
            self.write(log, tasks, changed)?;
            Ok(value)
        })?;
        // With `always` it runs.
        changed.ok_or(BoardError::Outdated)
    }

    /// Writes the file anew, with one line for each task. Other processes notice by themselves.
    ///
    /// # Errors
    /// [`BoardError::Disk`].
    pub fn compact(&self) -> Result<(), BoardError> {
        self.locked(true, |log, tasks, _| log.compact(tasks))?;
        Ok(())
    }

    /// Adds a task.
    ///
    /// # Errors
    /// Those of [`Tasks::created`] and [`change`](Board::change).
    pub fn create(&self, task: Task) -> Result<Task, BoardError> {
        self.change(move |tasks| {
            let task = tasks.created(task.clone())?;
            Ok((vec![task.clone()], task))
        })
    }

    /// Takes the next task that can begin, for `owner` and without a lease. Nobody else gets it.
    ///
    /// # Errors
    /// Those of [`change`](Board::change).
    pub fn take_next(&self, owner: &str) -> Result<Option<Task>, BoardError> {
        self.change(|tasks| {
            let taken = tasks.taken(owner);
            Ok((taken.iter().cloned().collect(), taken))
        })
    }

    /// Edits one task. Returns it, and the tasks that can begin because of it.
    ///
    /// # Errors
    /// Those of [`Tasks::updated`] and [`change`](Board::change).
    pub fn update(
        &self,
        id: u64,
        edit: impl Fn(&mut Task),
    ) -> Result<(Task, Vec<u64>), BoardError> {
        self.change(|tasks| {
            let (task, freed) = tasks.updated(id, &edit)?;
            Ok((vec![task.clone()], (task, freed)))
        })
    }

    /// Edits a task for whoever began it, if its status and owner are still those of `begun`.
    ///
    /// # Errors
    /// [`TaskError::Changed`] when they are not, and those of [`change`](Board::change).
    pub fn update_begun(&self, begun: &Task, edit: impl Fn(&mut Task)) -> Result<(), BoardError> {
        self.change(|tasks| {
            let now = tasks.get(begun.id)?;
            if (now.status, &now.owner) != (begun.status, &begun.owner) {
                return Err(TaskError::Changed(Box::new(now.clone())).into());
            }
            let mut task = now.clone();
            edit(&mut task);
            Ok((vec![task], ()))
        })
    }

    /// Runs `work` on a blocking thread of the runtime. Once begun it runs to its end, also when
    /// this future is dropped.
    ///
    /// # Panics
    /// With the panic of `work`, or outside a tokio runtime.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Board) -> T + Send + 'static,
    ) -> T {
        let board = self.clone();
        match self.0.in_flight.spawn_blocking(move || work(&board)).await {
            Ok(value) => value,
            Err(error) => resume(error).await,
        }
    }

    /// Waits until the tasks satisfy a condition. It looks after every change in this process, and
    /// for the changes of others and the end of leases every
    /// [`POLL_INTERVAL`], or when the storage says so. It changes nothing
    /// and may be dropped at any time.
    ///
    /// # Errors
    /// Those of [`look`](Board::look).
    pub async fn wait_for(
        &self,
        condition: impl Fn(&Tasks) -> bool + Send + Sync + 'static,
    ) -> Result<(), BoardError> {
        self.wait_polling(POLL_INTERVAL, condition).await
    }

    async fn wait_polling(
        &self,
        interval: Duration,
        condition: impl Fn(&Tasks) -> bool + Send + Sync + 'static,
    ) -> Result<(), BoardError> {
        let condition = Arc::new(condition);
        // Subscribed before the first look, so that no change falls between a look and the wait for
        // the next one.
        let mut changes = self.0.changes.subscribe();
        let mut signal = self.0.signal.clone();
        if let Some(signal) = &mut signal {
            signal.mark_unchanged();
        }
        loop {
            let condition = condition.clone();
            let look = move |tasks: &Tasks| (condition(tasks), tasks.next_lease_end());
            let (holds, lease_end) = self.blocking(move |board| board.look(look)).await?;
            if holds {
                return Ok(());
            }
            match &mut signal {
                None => {
                    let _ = timeout(interval, changes.changed()).await;
                }
                // Nothing but a change or the end of a lease can make a difference.
                Some(signal) => {
                    let until_lease_ends = match lease_end {
                        Some(end) => Duration::from_millis(end.saturating_sub(now())),
                        None => Duration::MAX,
                    };
                    let changed = async {
                        tokio::select! {
                            _ = changes.changed() => {}
                            () = until_changed(signal) => {}
                        }
                    };
                    let _ = timeout(until_lease_ends.max(interval), changed).await;
                }
            }
        }
    }

    /// Waits until everything begun here is on the disk, and until every [`Claim`](crate::Claim)
    /// was answered, lost, or dropped and given back. For the end of a program, after its workers
    /// were told to stop; the caller bounds the wait.
    pub async fn drain(&self) {
        self.0.in_flight.wait().await;
    }

    /// [`drain`](Board::drain) waits until this is dropped.
    pub(crate) fn in_flight(&self) -> TaskTrackerToken {
        self.0.in_flight.token()
    }

    /// Notes that the claim of this token was dropped, without waiting for anything.
    ///
    /// Whoever works on the board next, in this process, gives the task back first, and so never
    /// sees it as still held. A blocking thread of the runtime does so at once; without a runtime,
    /// and without anybody who works on this board again, the lease ends by itself.
    pub(crate) fn note_dropped(&self, token: FencingToken) {
        self.0.dropped.lock().unwrap().push(token);
        if let Ok(runtime) = Handle::try_current() {
            let board = self.clone();
            let give_back = move || drop(board.give_back());
            self.0.in_flight.spawn_blocking_on(give_back, &runtime);
        }
    }

    /// Gives the tasks of dropped claims back, if there are any.
    fn give_back(&self) -> Result<(), BoardError> {
        if self.0.dropped.lock().unwrap().is_empty() {
            return Ok(());
        }
        self.change(|_| Ok((vec![], ())))
    }

    /// Gives the tasks of dropped claims back, under the lock. After an error they stay noted.
    fn write_releases(&self, log: &mut dyn Log, tasks: &mut Tasks) -> Result<(), BoardError> {
        let tokens = std::mem::take(&mut *self.0.dropped.lock().unwrap());
        // A stale one has nothing to give back.
        let released = tokens.iter().filter_map(|token| tasks.released(*token).ok()).collect();
        let written = self.write(log, tasks, released);
        if written.is_err() {
            self.0.dropped.lock().unwrap().extend(tokens);
        }
        written
    }

    /// Appends these tasks, and only then changes them in memory.
    fn write(
        &self,
        log: &mut dyn Log,
        tasks: &mut Tasks,
        changed: Vec<Task>,
    ) -> Result<(), BoardError> {
        if !changed.is_empty() {
            log.append(&changed)?;
        }
        if !changed.is_empty() {
            self.0.changes.send_replace(());
        }
        for task in changed {
            tasks.set(task);
        }
        Ok(())
    }

    /// Reads in what others have written, puts back what is missing in the file, and tells those
    /// who wait in this process.
    fn read_in(
        &self,
        log: &mut dyn Log,
        tasks: &mut Tasks,
        news: Update<Task>,
    ) -> Result<(), BoardError> {
        if news.reset {
            *tasks = Tasks::default();
        }
        let notices = news.quarantined.iter().map(ToString::to_string);
        self.0.notices.lock().unwrap().extend(notices);
        if news.reset || !news.records.is_empty() {
            self.0.changes.send_replace(());
        }
        let mut unused = vec![];
        for task in news.records {
            match tasks.get(task.id) {
                // What others have made of an older file must not undo what is known here.
                Ok(known) if news.rewound => {
                    if *known != task {
                        unused.push(task.id);
                    }
                }
                _ => tasks.set(task),
            }
        }
        if !unused.is_empty() {
            let notice = format!(
                "what others had made of {} in the version that was set aside is not used",
                list(&unused)
            );
            self.0.notices.lock().unwrap().push(notice);
        }
        if news.rewound {
            log.compact(tasks)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

/// Never, once nobody is left who could signal.
async fn until_changed(signal: &mut watch::Receiver<()>) {
    if signal.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Goes on with the panic of a blocking thread. A runtime that shuts down cancels also whoever
/// waits here.
async fn resume<T>(error: JoinError) -> T {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests;
