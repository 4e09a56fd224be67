//! Commands in the background: their output, and their ends, each of which is told once and none is lost.
//!
//! Jobs of several owners share one table. Whoever owns some asks for the ends that it has not heard of, or waits until
//! there is one; both see its own jobs alone.
//!
//! ```
//! use rungs_process::jobs::Jobs;
//! use std::{path::Path, time::Duration};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let jobs = Jobs::new(folder.path().join("logs"), 10);
//! let stop = CancellationToken::new();
//! jobs.start("ann", "echo built", Path::new("/"), &stop)?;
//!
//! assert!(jobs.wait("ann").await); // There is something to tell,
//! let ends = jobs.ends("ann");
//! assert_eq!(ends[0].end.as_deref(), Some("exit status: 0"));
//! assert_eq!(ends[0].log.newest(1).0, ["built"]);
//! assert!(!jobs.wait("ann").await); // and now nothing more will come.
//!
//! jobs.start("ann", "sleep 60", Path::new("/"), &stop)?;
//! jobs.close(Duration::from_secs(4)).await; // Nothing is left running.
//! # Ok(())
//! # }
//! ```
use crate::{Log, Process};
use std::{
    collections::BTreeMap,
    fmt,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Commands in the background, by their numbers. Clones are the same table.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    most: usize,
    table: Mutex<BTreeMap<u64, Entry>>,
    ended: Notify,
}

struct Entry {
    owner: String,
    job: Job,
    stop: CancellationToken,
    told: bool,
}

/// A command in the background, as it was when it was asked for; its log goes on.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its number, counted from 1 over all owners.
    pub id: u64,
    /// What runs.
    pub command: String,
    /// Since when.
    pub started: Instant,
    /// What it prints.
    pub log: Log,
    /// How it ended, such as `exit status: 0` or `killed`; `None` while it runs.
    pub end: Option<String>,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` ", self.id, self.command)?;
        match &self.end {
            Some(end) => write!(f, "{end}")?,
            None => write!(f, "running for {} s", self.started.elapsed().as_secs())?,
        }
        write!(f, ", {} lines", self.log.newest(0).1)
    }
}

/// Why a job was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The maximum number of jobs run already.
    #[error("{0} jobs are running already; kill one first")]
    Full(usize),
    /// The folder for the logs cannot be created.
    #[error("cannot create {}: {source}", folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// bash cannot be started, or the directory is missing.
    #[error("cannot start bash in {}: {source}", cwd.display())]
    Process {
        /// In which directory.
        cwd: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Ends an owner's jobs when it is dropped.
pub struct Owner {
    jobs: Jobs,
    name: String,
}

impl Drop for Owner {
    fn drop(&mut self) {
        let table = self.jobs.table();
        table
            .values()
            .filter(|entry| entry.owner == self.name)
            .for_each(|entry| entry.stop.cancel());
    }
}

impl Jobs {
    /// No jobs yet: at most so many run at once, and their logs will be in this folder, which may be missing.
    pub fn new(folder: impl Into<PathBuf>, most: usize) -> Jobs {
        Jobs(Arc::new(Inner {
            folder: folder.into(),
            most,
            table: Mutex::default(),
            ended: Notify::new(),
        }))
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.0.table.lock().unwrap()
    }

    /// Starts a command in `cwd`, within a Tokio runtime. It is killed when `stop` is cancelled; to kill it does not
    /// cancel `stop`.
    ///
    /// # Errors
    /// When too many run, and when the folder, the log or the process can't be made.
    pub fn start(
        &self,
        owner: &str,
        command: &str,
        cwd: &Path,
        stop: &CancellationToken,
    ) -> Result<Job, StartError> {
        let folder = &self.0.folder;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| StartError::Folder { folder: folder.clone(), source })?;
        let mut table = self.table();
        if table.values().filter(|entry| entry.job.end.is_none()).count() >= self.0.most {
            return Err(StartError::Full(self.0.most));
        }
        let id = table.last_key_value().map_or(1, |(id, _)| id + 1);
        let process = Process::start(command, cwd)
            .map_err(|source| StartError::Process { cwd: cwd.into(), source })?;
        let log = Log::new(self.0.folder.join(format!("{id}.log")));
        let job = Job { id, command: command.into(), started: Instant::now(), log, end: None };
        let stop = stop.child_token();
        tokio::spawn(self.clone().run(id, process, job.log.clone(), stop.clone()));
        table.insert(id, Entry { owner: owner.into(), job: job.clone(), stop, told: false });
        Ok(job)
    }

    async fn run(self, id: u64, mut process: Process, mut log: Log, stop: CancellationToken) {
        let end = tokio::select! {
            end = process.finish(&mut log) => end.map_or_else(|error| error.to_string(), |status| status.to_string()),
            () = stop.cancelled() => {
                process.stop(&mut log).await;
                "killed".into()
            }
        };
        // First nothing of it is left, then it is over.
        drop(process);
        if let Some(entry) = self.table().get_mut(&id) {
            entry.job.end = Some(end);
        }
        self.0.ended.notify_waiters();
    }

    /// The job of this number, if it is this owner's.
    pub fn find(&self, owner: &str, id: u64) -> Option<Job> {
        self.table().get(&id).filter(|entry| entry.owner == owner).map(|entry| entry.job.clone())
    }

    /// This owner's jobs, in the order in which they were started.
    pub fn list(&self, owner: &str) -> Vec<Job> {
        self.table()
            .values()
            .filter(|entry| entry.owner == owner)
            .map(|entry| entry.job.clone())
            .collect()
    }

    /// Asks a job of this owner to end, and kills it two seconds later; gives the job as it was before. Whoever kills it
    /// need not be told that it ended.
    pub fn kill(&self, owner: &str, id: u64) -> Option<Job> {
        let mut table = self.table();
        let entry = table.get_mut(&id).filter(|entry| entry.owner == owner)?;
        entry.told = true;
        entry.stop.cancel();
        Some(entry.job.clone())
    }

    /// The jobs that have ended and of which this owner has not been told: each once.
    pub fn ends(&self, owner: &str) -> Vec<Job> {
        let mut table = self.table();
        let untold = table
            .values_mut()
            .filter(|entry| entry.owner == owner && entry.job.end.is_some() && !entry.told);
        untold
            .map(|entry| {
                entry.told = true;
                entry.job.clone()
            })
            .collect()
    }

    /// Waits until there is an end to tell this owner: true; or until nothing of it runs that could end: false. Takes
    /// nothing away.
    pub async fn wait(&self, owner: &str) -> bool {
        self.until(|table| {
            let mut own = table.values().filter(|entry| entry.owner == owner);
            let untold = own.clone().any(|entry| entry.job.end.is_some() && !entry.told);
            (untold || own.all(|entry| entry.job.end.is_some())).then_some(untold)
        })
        .await
    }

    /// What must be kept as long as this owner's jobs are to run.
    pub fn owner(&self, name: &str) -> Owner {
        Owner { jobs: self.clone(), name: name.into() }
    }

    /// Ends all jobs of all owners and waits for that, at most so long.
    pub async fn close(&self, at_most: Duration) {
        self.table().values().for_each(|entry| entry.stop.cancel());
        let all_ended =
            self.until(|table| table.values().all(|entry| entry.job.end.is_some()).then_some(()));
        let _ = tokio::time::timeout(at_most, all_ended).await;
    }

    /// Waits until `look` finds what it looks for; it looks again whenever a job has ended.
    async fn until<T>(&self, look: impl Fn(&BTreeMap<u64, Entry>) -> Option<T>) -> T {
        loop {
            // Listening begins before looking, or an end in between would be missed.
            let mut ended = std::pin::pin!(self.0.ended.notified());
            ended.as_mut().enable();
            let found = look(&self.table());
            if let Some(found) = found {
                return found;
            }
            ended.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(most: usize) -> (Jobs, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Jobs::new(folder.path().join("state/logs"), most), folder)
    }

    fn start(jobs: &Jobs, owner: &str, command: &str) -> Result<Job, StartError> {
        jobs.start(owner, command, Path::new("/"), &CancellationToken::new())
    }

    async fn waits(jobs: &Jobs, owner: &str) -> bool {
        tokio::time::timeout(Duration::from_secs(30), jobs.wait(owner)).await.unwrap()
    }

    fn ends(jobs: &Jobs, owner: &str) -> Vec<(u64, Option<String>)> {
        jobs.ends(owner).into_iter().map(|job| (job.id, job.end)).collect()
    }

    fn alive(word: &str) -> bool {
        std::process::Command::new("pgrep").args(["-f", word]).output().unwrap().status.success()
    }

    /// Waits until a job of this owner has ended, told or not.
    async fn ended(jobs: &Jobs, owner: &str, id: u64) -> Option<String> {
        let end = jobs
            .until(|table| table.get(&id).filter(|entry| entry.owner == owner)?.job.end.clone());
        tokio::time::timeout(Duration::from_secs(30), end).await.ok()
    }

    #[tokio::test]
    async fn each_end_is_told_once_to_its_owner_alone() {
        let (jobs, _folder) = jobs(100);
        for n in 0..100 {
            let command = format!("echo end of {n}; exit {n}");
            assert_eq!(start(&jobs, ["ann", "bob"][n % 2], &command).unwrap().id, n as u64 + 1);
        }
        for (owner, first) in [("ann", 0), ("bob", 1)] {
            let mut told = vec![];
            while waits(&jobs, owner).await {
                assert!(waits(&jobs, owner).await, "to wait takes nothing away");
                told.extend(jobs.ends(owner));
            }
            assert!(jobs.ends(owner).is_empty());
            let mut told: Vec<_> =
                told.into_iter().map(|job| (job.id, job.end.unwrap(), job.log.newest(9))).collect();
            told.sort();
            let expected = (first..100).step_by(2).map(|n: u64| {
                (n + 1, format!("exit status: {n}"), (vec![format!("end of {n}")], 1))
            });
            assert_eq!(told, expected.collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_killed_job_is_not_told_of_and_nothing_of_it_is_left() {
        let (jobs, _folder) = jobs(2);
        let id =
            start(&jobs, "ann", "sleep 63.63 & setsid sleep 63.63 & echo started; sleep 63.63")
                .unwrap()
                .id;
        assert!(
            jobs.find("bob", id).is_none()
                && jobs.kill("bob", id).is_none()
                && jobs.list("bob").is_empty()
        );
        assert!(alive("sleep 63.63"));
        assert_eq!(jobs.kill("ann", id).unwrap().end, None);
        assert_eq!(ended(&jobs, "ann", id).await.as_deref(), Some("killed"));
        assert!(!alive("sleep 63.63"));
        assert!(!waits(&jobs, "ann").await && jobs.ends("ann").is_empty());
        assert_eq!(jobs.kill("ann", id).unwrap().end.as_deref(), Some("killed"));
    }

    #[tokio::test]
    async fn jobs_end_with_their_owner_with_their_token_and_with_all() {
        let (jobs, _folder) = jobs(9);
        let stop = CancellationToken::new();
        let kept = jobs.owner("ann");
        start(&jobs, "ann", "sleep 64.64").unwrap();
        jobs.start("bob", "sleep 65.65", Path::new("/"), &stop).unwrap();
        jobs.start("bob", "sleep 65.66", Path::new("/"), &stop).unwrap();
        drop(kept);
        assert!(waits(&jobs, "ann").await);
        assert_eq!(ends(&jobs, "ann"), [(1, Some("killed".into()))]);
        jobs.kill("bob", 2);
        assert_eq!(ended(&jobs, "bob", 2).await.as_deref(), Some("killed"));
        assert!(!stop.is_cancelled() && jobs.find("bob", 3).unwrap().end.is_none());
        stop.cancel();
        assert!(waits(&jobs, "bob").await);
        assert_eq!(ends(&jobs, "bob"), [(3, Some("killed".into()))]);
        start(&jobs, "ann", "sleep 66.66").unwrap();
        start(&jobs, "bob", "sleep 66.66").unwrap();
        jobs.close(Duration::from_secs(30)).await;
        assert!(!alive("sleep 6[456]\\.6"));
        assert!(jobs.list("ann").into_iter().chain(jobs.list("bob")).all(|job| job.end.is_some()));
    }

    #[tokio::test]
    async fn what_can_not_start_is_an_error_and_takes_no_number() {
        let (jobs, folder) = jobs(1);
        let missing = jobs
            .start("ann", "true", Path::new("/no/such"), &CancellationToken::new())
            .unwrap_err();
        assert!(matches!(missing, StartError::Process { .. }), "{missing}");
        assert_eq!(start(&jobs, "ann", "sleep 67.67").unwrap().id, 1);
        assert_eq!(
            start(&jobs, "bob", "true").unwrap_err().to_string(),
            "1 jobs are running already; kill one first"
        );
        jobs.close(Duration::from_secs(30)).await;
        assert_eq!(start(&jobs, "bob", "true").unwrap().id, 2);
        std::fs::write(folder.path().join("file"), "").unwrap();
        let jobs = Jobs::new(folder.path().join("file/logs"), 1);
        let folder = start(&jobs, "ann", "true").unwrap_err();
        assert!(matches!(folder, StartError::Folder { .. }), "{folder}");
    }

    #[tokio::test]
    async fn a_job_shows_as_a_line() {
        let (jobs, _folder) = jobs(9);
        start(&jobs, "ann", "echo a; echo b; exit 3").unwrap();
        assert!(waits(&jobs, "ann").await);
        let running = start(&jobs, "ann", "sleep 68.68").unwrap();
        assert_eq!(
            jobs.list("ann")[0].to_string(),
            "1: `echo a; echo b; exit 3` exit status: 3, 2 lines"
        );
        assert!(running.to_string().starts_with("2: `sleep 68.68` running for "), "{running}");
        jobs.close(Duration::from_secs(30)).await;
    }
}
