//! Commands in the background: their output and their ends.
//!
//! The jobs of several owners share one table, and each owner has a unique name. An owner asks for
//! the ends that it has not reported yet, or waits until there is one; it keeps the numbers of
//! those that it has reported, since only it knows when a report was taken back. It sees its own
//! jobs only. A job runs until it ends by itself, until it is killed, or until its owner's
//! cancellation token fires.
//!
//! ```
//! use rungs_process::{Environment, jobs::Jobs};
//! use std::{collections::BTreeSet, path::Path, time::Duration};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let state = durable::Folder::open(folder.path(), "logs")?;
//! let (jobs, environment) = (Jobs::new(state, 10), Environment::default());
//! let token = CancellationToken::new();
//! jobs.start("ann", "echo built", Path::new("/"), &environment, &token).await?;
//!
//! let mut reported = BTreeSet::new();
//! assert!(jobs.wait("ann", &reported).await); // There is an end to report.
//! let ended = jobs.ended("ann", &reported);
//! reported.insert(ended[0].id);
//! assert_eq!(ended[0].end.as_deref(), Some("exit status: 0"));
//! assert_eq!(ended[0].log.newest(1).0, ["built"]);
//! assert!(!jobs.wait("ann", &reported).await); // Now nothing runs that could end.
//!
//! jobs.start("ann", "sleep 60", Path::new("/"), &environment, &token).await?;
//! jobs.close(Duration::from_secs(4)).await; // Nothing is left running.
//! # Ok(())
//! # }
//! ```
use crate::{Environment, Log, LogWriter, Process, Sink};
use durable::{Folder, Scratch};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How the names of the folders for logs begin.
const PREFIX: &str = "logs";
/// How many jobs that have ended keep the file of their log, the newest ones. So all logs of a run
/// together take at most [`Log::MAX_FILE_BYTES`] for each of these and for each that runs.
const MAX_ENDED_LOGS: usize = 28;

/// Commands in the background, by their numbers. Clones are the same table.
#[derive(Debug, Clone)]
pub struct Jobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// For the logs of all runs.
    folder: Folder,
    /// The folder of this run's logs, from the first job on. Locked while it is made, on a blocking
    /// thread.
    logs: Mutex<Option<Scratch>>,
    max_running: usize,
    table: Mutex<Table>,
    /// Fires when a job was started, has ended or could not be started.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    jobs: BTreeMap<u64, Entry>,
    /// The number of the newest job.
    last_id: u64,
    /// How many jobs run or are being started.
    running: usize,
}

#[derive(Debug)]
struct Entry {
    owner: String,
    job: Job,
    /// Fires when the owner ends.
    owner_token: CancellationToken,
    /// Its child: stops this job only.
    stop: CancellationToken,
}

/// A command in the background, as it was when it was asked for; its log is always the newest.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number, counted from 1 over all owners.
    pub id: u64,
    /// The command.
    pub command: String,
    /// When it was started.
    pub started: Instant,
    /// What it prints.
    pub log: Log,
    /// Whether the owner asked for the end, which then needs no report.
    pub killed: bool,
    /// How it ended, such as `exit status: 0` or `killed`; `None` while it runs.
    pub end: Option<String>,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` ", self.id, self.command)?;
        match &self.end {
            Some(end) => write!(f, "ended ({end})")?,
            None if self.killed => write!(f, "is being stopped")?,
            None => write!(f, "running for {} s", self.started.elapsed().as_secs())?,
        }
        write!(f, ", {}", self.lines())
    }
}

impl Job {
    /// How many lines it has printed, in words: `1 line`, `2 lines`.
    pub fn lines(&self) -> String {
        match self.log.newest(0).1 {
            1 => "1 line".into(),
            lines => format!("{lines} lines"),
        }
    }
}

/// Why a job was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The maximum number of jobs run already.
    #[error("{0} jobs are running already; kill one first")]
    Full(usize),
    /// The folder for the logs cannot be created, or is not ours.
    #[error(transparent)]
    Folder(durable::Error),
    /// bash cannot be started, or the directory is missing.
    #[error(transparent)]
    Process(io::Error),
}

/// One of the jobs that may run at once, from before its start until after its end.
#[derive(Debug)]
struct Slot(Jobs);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.table().running -= 1;
        self.0.0.changed.notify_waiters();
    }
}

impl Jobs {
    /// An empty table: at most `max_running` jobs run at once. Their logs go to a folder of their
    /// own below this one, and are deleted when the table is dropped. Those that a killed program
    /// has left there are deleted now. Blocks.
    pub fn new(folder: Folder, max_running: usize) -> Jobs {
        // What is wrong with the folder is said when a job needs it.
        let _ = Scratch::sweep(&folder, PREFIX);
        Jobs(Arc::new(Inner {
            folder,
            logs: Mutex::default(),
            max_running,
            table: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap()
    }

    /// Starts a command in `cwd` with this environment, within a Tokio runtime; if this is dropped,
    /// nothing is left running. The job is killed when `owner_token` fires; [`kill`](Jobs::kill)
    /// does not fire it. A job that has ended is forgotten when its owner has ended too.
    ///
    /// # Errors
    /// When the maximum number of jobs run, and when the folder for the logs or the process cannot
    /// be created.
    pub async fn start(
        &self,
        owner: &str,
        command: &str,
        cwd: &Path,
        environment: &Environment,
        owner_token: &CancellationToken,
    ) -> Result<Job, StartError> {
        // Taken before the await, so that several starts at once cannot exceed the maximum.
        let slot = self.slot()?;
        let (process, logs) = self.spawn(command, cwd, environment).await?;
        let stop = owner_token.child_token();
        let (job, writer) = self.insert(owner, command, &logs, owner_token.clone(), stop.clone());
        // Not under the lock: if the runtime is shutting down, the slot is dropped right here, and
        // locks the table.
        tokio::spawn(run(slot, job.id, process, writer, stop));
        self.0.changed.notify_waiters();
        Ok(job)
    }

    fn insert(
        &self,
        owner: &str,
        command: &str,
        logs: &Folder,
        owner_token: CancellationToken,
        stop: CancellationToken,
    ) -> (Job, LogWriter) {
        let mut table = self.table();
        table.last_id += 1;
        let id = table.last_id;
        let writer = LogWriter::new(logs, &format!("{id}.log"));
        let (command, log) = (command.to_owned(), writer.log());
        let job = Job { id, command, started: Instant::now(), log, killed: false, end: None };
        let entry = Entry { owner: owner.into(), job: job.clone(), owner_token, stop };
        table.jobs.insert(id, entry);
        (job, writer)
    }

    fn slot(&self) -> Result<Slot, StartError> {
        let mut table = self.table();
        if table.running >= self.0.max_running {
            return Err(StartError::Full(self.0.max_running));
        }
        table.running += 1;
        Ok(Slot(self.clone()))
    }

    /// Creates the folder and starts the process, on a blocking thread: both use the disk.
    async fn spawn(
        &self,
        command: &str,
        cwd: &Path,
        environment: &Environment,
    ) -> Result<(Process, Folder), StartError> {
        let (jobs, environment) = (self.clone(), environment.clone());
        let (command, cwd) = (command.to_owned(), cwd.to_owned());
        let started = tokio::task::spawn_blocking(move || {
            let logs = jobs.logs().map_err(StartError::Folder)?;
            jobs.forget_old(&logs);
            let process = Process::start(&command, &cwd, &environment);
            process.map(|process| (process, logs)).map_err(StartError::Process)
        });
        match started.await {
            Ok(started) => started,
            // The runtime is shutting down.
            Err(error) => Err(StartError::Process(error.into())),
        }
    }

    /// The folder of this run's logs.
    fn logs(&self) -> Result<Folder, durable::Error> {
        let mut logs = self.0.logs.lock().unwrap();
        if let Some(logs) = &*logs {
            return Ok(logs.folder().clone());
        }
        let created = Scratch::create(&self.0.folder, PREFIX)?;
        Ok(logs.insert(created).folder().clone())
    }

    /// Forgets the jobs that have ended and whose owners have, and deletes the oldest logs.
    fn forget_old(&self, logs: &Folder) {
        let mut old = vec![];
        let mut table = self.table();
        table.jobs.retain(|id, entry| {
            let forget = entry.job.end.is_some() && entry.owner_token.is_cancelled();
            if forget {
                old.push(*id);
            }
            !forget
        });
        let ended: Vec<&Job> =
            table.jobs.values().map(|entry| &entry.job).filter(|job| job.end.is_some()).collect();
        for job in &ended[..ended.len().saturating_sub(MAX_ENDED_LOGS)] {
            if job.log.shorten(&format!("only the newest {MAX_ENDED_LOGS} jobs keep it")) {
                old.push(job.id);
            }
        }
        drop(table);
        for id in old {
            // One that cannot be deleted now is deleted with the folder.
            let _ = logs.remove(format!("{id}.log"));
        }
    }

    /// The job of this number, if it is this owner's.
    pub fn find(&self, owner: &str, id: u64) -> Option<Job> {
        let table = self.table();
        let entry = table.jobs.get(&id).filter(|entry| entry.owner == owner)?;
        Some(entry.job.clone())
    }

    /// This owner's jobs, in the order in which they were started.
    pub fn list(&self, owner: &str) -> Vec<Job> {
        self.table().of(owner).map(|entry| entry.job.clone()).collect()
    }

    /// Sends a job of this owner SIGTERM, and SIGKILL two seconds later; returns the job as it was
    /// before. Its end is not reported: whoever kills a job knows of it.
    pub fn kill(&self, owner: &str, id: u64) -> Option<Job> {
        let mut table = self.table();
        let entry = table.jobs.get_mut(&id).filter(|entry| entry.owner == owner)?;
        let before = entry.job.clone();
        entry.job.killed = true;
        entry.stop.cancel();
        Some(before)
    }

    /// The jobs of this owner whose ends are to be reported: those that have ended, were not killed
    /// by it, and are not among the `reported` ones.
    pub fn ended(&self, owner: &str, reported: &BTreeSet<u64>) -> Vec<Job> {
        let table = self.table();
        let ended = table.of(owner).filter(|entry| entry.is_unreported(reported));
        ended.map(|entry| entry.job.clone()).collect()
    }

    /// Waits until there is an end to report to this owner (true), or until none of its jobs runs
    /// (false). It changes nothing, and may be dropped.
    pub async fn wait(&self, owner: &str, reported: &BTreeSet<u64>) -> bool {
        self.until(|table| {
            if table.of(owner).any(|entry| entry.is_unreported(reported)) {
                return Some(true);
            }
            let all_ended = table.of(owner).all(|entry| entry.job.end.is_some());
            all_ended.then_some(false)
        })
        .await
    }

    /// Stops all jobs of all owners, those that are being started included, and waits for their
    /// end, at most for `timeout`.
    pub async fn close(&self, timeout: Duration) {
        let all_ended = self.until(|table| {
            for entry in table.jobs.values() {
                entry.stop.cancel();
            }
            (table.running == 0).then_some(())
        });
        let _ = tokio::time::timeout(timeout, all_ended).await;
    }

    /// Waits until `check` returns something; it is called again after each change.
    async fn until<T>(&self, check: impl Fn(&Table) -> Option<T>) -> T {
        loop {
            // Listening begins before the check, or a change in between would be missed.
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let found = check(&self.table());
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(logs) = self.logs.lock().unwrap().take() {
            crate::drop_blocking(logs);
        }
    }
}

impl Table {
    fn of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.jobs.values().filter(move |entry| entry.owner == owner)
    }
}

impl Entry {
    fn is_unreported(&self, reported: &BTreeSet<u64>) -> bool {
        self.job.end.is_some() && !self.job.killed && !reported.contains(&self.job.id)
    }
}

/// Runs a job to its end.
async fn run(
    slot: Slot,
    id: u64,
    mut process: Process,
    mut log: LogWriter,
    stop: CancellationToken,
) {
    let run = async {
        // A job that prints nothing has a log file too.
        log.flush().await;
        process.finish(&mut log).await
    };
    let end = tokio::select! {
        end = run => match end {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        },
        () = stop.cancelled() => {
            process.stop(&mut log).await;
            "killed".into()
        }
    };
    // The end is seen only when nothing of the job is left.
    drop((process, log));
    if let Some(entry) = slot.0.table().jobs.get_mut(&id) {
        entry.job.end = Some(end);
    }
    drop(slot);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alive, busy_runtime, gone, marker, processes, until};

    fn state(folder: &tempfile::TempDir) -> Folder {
        Folder::open(folder.path(), "state").unwrap()
    }

    fn jobs(max_running: usize) -> (Jobs, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Jobs::new(state(&folder), max_running), folder)
    }

    async fn start(jobs: &Jobs, owner: &str, command: &str) -> Result<Job, StartError> {
        let environment = Environment::default();
        jobs.start(owner, command, Path::new("/"), &environment, &CancellationToken::new()).await
    }

    async fn waits(jobs: &Jobs, owner: &str, reported: &BTreeSet<u64>) -> bool {
        tokio::time::timeout(Duration::from_secs(30), jobs.wait(owner, reported)).await.unwrap()
    }

    fn ends(jobs: &Jobs, owner: &str) -> Vec<(u64, Option<String>)> {
        let ended = jobs.ended(owner, &BTreeSet::new());
        ended.into_iter().map(|job| (job.id, job.end)).collect()
    }

    /// Waits until a job of this owner has ended, reported or not.
    async fn end(jobs: &Jobs, owner: &str, id: u64) -> Option<String> {
        let end = jobs.until(|table| {
            let entry = table.jobs.get(&id).filter(|entry| entry.owner == owner)?;
            entry.job.end.clone()
        });
        tokio::time::timeout(Duration::from_secs(30), end).await.ok()
    }

    #[tokio::test]
    async fn each_end_is_reported_once_and_to_its_owner_only() {
        let (jobs, _folder) = jobs(100);
        for n in 0..100 {
            let command = format!("echo end of {n}; exit {n}");
            let job = start(&jobs, ["ann", "bob"][n % 2], &command).await.unwrap();
            assert_eq!(job.id, n as u64 + 1);
        }
        for (owner, first) in [("ann", 0), ("bob", 1)] {
            let (mut ended, mut reported) = (vec![], BTreeSet::new());
            while waits(&jobs, owner, &reported).await {
                assert!(waits(&jobs, owner, &reported).await, "to wait takes nothing away");
                let new = jobs.ended(owner, &reported);
                reported.extend(new.iter().map(|job| job.id));
                ended.extend(new);
            }
            assert!(jobs.ended(owner, &reported).is_empty());
            let mut ended: Vec<_> = ended
                .into_iter()
                .map(|job| (job.id, job.end.unwrap(), job.log.newest(9)))
                .collect();
            ended.sort();
            let expected = (first..100).step_by(2).map(|n: u64| {
                (n + 1, format!("exit status: {n}"), (vec![format!("end of {n}")], 1))
            });
            assert_eq!(ended, expected.collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_killed_job_is_not_reported_and_leaves_no_processes() {
        let (jobs, _folder) = jobs(2);
        let marker = marker();
        let command = format!("sleep {marker} & setsid sleep {marker} & echo up; sleep {marker}");
        let id = start(&jobs, "ann", &command).await.unwrap().id;
        assert!(
            jobs.find("bob", id).is_none()
                && jobs.kill("bob", id).is_none()
                && jobs.list("bob").is_empty()
        );
        let sleeps = || processes(&marker).iter().filter(|line| line.starts_with("sleep ")).count();
        assert!(until(|| sleeps() == 3).await, "{:?}", processes(&marker));
        assert_eq!(jobs.kill("ann", id).unwrap().end, None);
        assert_eq!(end(&jobs, "ann", id).await.as_deref(), Some("killed"));
        assert!(!alive(&marker));
        assert!(!waits(&jobs, "ann", &BTreeSet::new()).await && ends(&jobs, "ann").is_empty());
        assert_eq!(jobs.kill("ann", id).unwrap().end.as_deref(), Some("killed"));
    }

    #[tokio::test]
    async fn jobs_end_with_the_token_of_their_owner_one_by_one_and_all_at_once() {
        let (jobs, _folder) = jobs(9);
        let (ann, bob, marker) = (CancellationToken::new(), CancellationToken::new(), marker());
        let sleep = format!("sleep {marker}");
        jobs.start("ann", &sleep, Path::new("/"), &Environment::default(), &ann).await.unwrap();
        jobs.start("bob", &sleep, Path::new("/"), &Environment::default(), &bob).await.unwrap();
        jobs.start("bob", &sleep, Path::new("/"), &Environment::default(), &bob).await.unwrap();
        drop(ann.drop_guard());
        assert!(waits(&jobs, "ann", &BTreeSet::new()).await);
        assert_eq!(ends(&jobs, "ann"), [(1, Some("killed".into()))]);
        jobs.kill("bob", 2);
        assert_eq!(end(&jobs, "bob", 2).await.as_deref(), Some("killed"));
        assert!(!bob.is_cancelled() && jobs.find("bob", 3).unwrap().end.is_none());
        bob.cancel();
        assert!(waits(&jobs, "bob", &BTreeSet::new()).await);
        assert_eq!(ends(&jobs, "bob"), [(3, Some("killed".into()))]);
        assert!(!alive(&marker));
        let ids = [
            start(&jobs, "ann", &sleep).await.unwrap().id,
            start(&jobs, "bob", &sleep).await.unwrap().id,
        ];
        assert_eq!(ids, [4, 5]);
        jobs.close(Duration::from_secs(30)).await;
        assert!(!alive(&marker));
        for (owner, id) in [("ann", 4), ("bob", 5)] {
            // The jobs before are forgotten: their owners have ended.
            let list: Vec<_> =
                jobs.list(owner).into_iter().map(|job| (job.id, job.end.unwrap())).collect();
            assert_eq!(list, [(id, "killed".into())]);
        }
    }

    #[tokio::test]
    async fn a_job_that_was_being_started_ends_with_all_others() {
        let (jobs, _folder) = jobs(1);
        let marker = marker();
        let sleep = format!("sleep {marker}");
        let (started, ()) = tokio::join!(
            biased;
            start(&jobs, "ann", &sleep),
            jobs.close(Duration::from_secs(30)),
        );
        assert_eq!(end(&jobs, "ann", started.unwrap().id).await.as_deref(), Some("killed"));
        assert!(!alive(&marker));
    }

    #[test]
    fn a_dropped_start_leaves_nothing_running_and_frees_its_place() {
        let (jobs, _folder) = jobs(1);
        let marker = marker();
        let command = format!("sleep {marker}");
        let (runtime, release) = busy_runtime();
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = start(&jobs, "ann", &command) => panic!("no blocking thread is free"),
                () = tokio::task::yield_now() => {}
            }
            drop(release);
            // The only blocking thread has started the first process and dropped it before it
            // starts the second.
            assert_eq!(start(&jobs, "ann", "true").await.unwrap().id, 1);
            assert!(gone(&marker).await);
        });
    }

    #[tokio::test]
    async fn starts_at_the_same_time_keep_to_the_maximum() {
        let (jobs, _folder) = jobs(2);
        let starts = (0..5).map(|_| {
            let jobs = jobs.clone();
            tokio::spawn(async move { start(&jobs, "ann", "sleep 100").await })
        });
        let mut started = 0;
        for start in starts.collect::<Vec<_>>() {
            match start.await.unwrap() {
                Ok(_) => started += 1,
                Err(error) => assert!(matches!(error, StartError::Full(2)), "{error}"),
            }
        }
        assert_eq!(started, 2);
        jobs.close(Duration::from_secs(30)).await;
    }

    #[tokio::test]
    async fn what_cannot_start_is_an_error_and_takes_no_number() {
        let (jobs, _folder) = jobs(1);
        let missing = jobs
            .start(
                "ann",
                "true",
                Path::new("/no/such"),
                &Environment::default(),
                &CancellationToken::new(),
            )
            .await
            .unwrap_err();
        assert!(matches!(missing, StartError::Process { .. }), "{missing}");
        assert!(missing.to_string().starts_with("cannot start bash in /no/such: "), "{missing}");
        assert_eq!(start(&jobs, "ann", "sleep 100").await.unwrap().id, 1);
        assert_eq!(
            start(&jobs, "bob", "true").await.unwrap_err().to_string(),
            "1 jobs are running already; kill one first"
        );
        jobs.close(Duration::from_secs(30)).await;
        assert_eq!(start(&jobs, "bob", "true").await.unwrap().id, 2);
    }

    #[tokio::test]
    async fn no_log_is_written_through_a_link() {
        let (jobs, folder) = jobs(1);
        let (state, precious) = (folder.path().join("state"), folder.path().join("precious"));
        std::fs::create_dir(&precious).unwrap();
        std::fs::rename(&state, folder.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(&precious, &state).unwrap();
        let refused = start(&jobs, "ann", "true").await.unwrap_err();
        assert!(matches!(refused, StartError::Folder { .. }), "{refused}");
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        assert_eq!(std::fs::read_dir(precious).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn the_log_file_is_there_before_anything_is_printed() {
        let (jobs, _folder) = jobs(1);
        let job = start(&jobs, "ann", "sleep 100; echo never").await.unwrap();
        assert!(until(|| job.log.path().exists()).await);
        assert_eq!(jobs.find("ann", job.id).unwrap().end, None);
        jobs.close(Duration::from_secs(30)).await;
    }

    #[tokio::test]
    async fn the_newest_jobs_that_have_ended_keep_their_logs() {
        let (jobs, _folder) = jobs(100);
        let mut started = vec![];
        for _ in 0..MAX_ENDED_LOGS + 2 {
            started.push(start(&jobs, "ann", "seq 100").await.unwrap());
            let id = started.len() as u64;
            assert!(end(&jobs, "ann", id).await.is_some());
        }
        let kept = |jobs: &[Job]| jobs.iter().filter(|job| job.log.path().exists()).count();
        // The newest of all began when the one before it had ended.
        assert_eq!(kept(&started), MAX_ENDED_LOGS + 1);
        let (oldest, path) = (started[0].log.clone(), started[1].log.path().to_path_buf());
        assert!(oldest.fault().unwrap().contains("only the newest"), "{:?}", oldest.fault());
        assert_eq!(oldest.newest(1), (vec!["100".into()], 100));
        let folder = path.parent().unwrap().to_path_buf();
        assert!(path.exists());
        drop((started, oldest, jobs));
        assert!(until(|| !folder.exists()).await);
    }

    #[tokio::test]
    async fn two_tables_in_one_folder_have_logs_of_their_own() {
        let (first, folder) = jobs(1);
        let second = Jobs::new(state(&folder), 1);
        let one = start(&first, "ann", "echo first").await.unwrap();
        let two = start(&second, "ann", "echo second").await.unwrap();
        assert!(waits(&first, "ann", &BTreeSet::new()).await);
        assert!(waits(&second, "ann", &BTreeSet::new()).await);
        // Neither does one that is made later take anything away.
        let _third = Jobs::new(state(&folder), 1);
        for (job, text) in [(&one, "first\n"), (&two, "second\n")] {
            assert_eq!(std::fs::read_to_string(job.log.path()).unwrap(), text);
        }
    }

    #[tokio::test]
    async fn a_job_shows_as_a_line() {
        let (jobs, _folder) = jobs(9);
        start(&jobs, "ann", "echo a; echo b; exit 3").await.unwrap();
        assert!(waits(&jobs, "ann", &BTreeSet::new()).await);
        let running = start(&jobs, "ann", "sleep 100").await.unwrap();
        assert_eq!(
            jobs.list("ann")[0].to_string(),
            "1: `echo a; echo b; exit 3` ended (exit status: 3), 2 lines"
        );
        assert!(running.to_string().starts_with("2: `sleep 100` running for "), "{running}");
        jobs.kill("ann", 2);
        assert_eq!(jobs.list("ann")[1].to_string(), "2: `sleep 100` is being stopped, 0 lines");
        let left = start(&jobs, "ann", "sleep 100 & echo hi").await.unwrap();
        assert!(end(&jobs, "ann", left.id).await.is_some());
        let note = "[still running at the end, and stopped (1): sleep 100]";
        assert_eq!(left.log.newest(2).0, ["hi", note]);
        jobs.close(Duration::from_secs(30)).await;
    }
}
