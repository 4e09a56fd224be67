//! Looking for processes in tests, also in those of other crates.
use std::time::Duration;

/// How long [`until`] and [`gone`] wait.
const WAIT: Duration = Duration::from_secs(20);
/// How often they look.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A unique word, to be put into a command or its environment: no other test, test run or checkout
/// uses it.
///
/// It is also a number of seconds, one day and a fraction: `sleep {marker}` shows it on its command
/// line.
///
/// # Panics
/// When the system has no random numbers.
pub fn marker() -> String {
    format!("86400.{:020}", getrandom::u64().expect("random numbers"))
}

/// The command lines of the processes that have the marker on their command line or in their
/// environment. A process that has ended and was not waited for (a zombie) is none.
pub fn processes(marker: &str) -> Vec<String> {
    imp::processes(marker)
}

/// Whether there is such a process.
pub fn alive(marker: &str) -> bool {
    !processes(marker).is_empty()
}

/// Whether a `sleep` with this marker runs: what stands before it in its command is done by then,
/// while the command itself carries the marker from its start.
pub fn asleep(marker: &str) -> bool {
    processes(marker).iter().any(|line| line.starts_with("sleep"))
}

/// Waits until there is no such process; false when there is still one after 20 seconds.
pub async fn gone(marker: &str) -> bool {
    until(|| !alive(marker)).await
}

/// Waits until a condition holds; false when it does not hold within 20 seconds.
pub async fn until(mut condition: impl FnMut() -> bool) -> bool {
    let poll = async {
        while !condition() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(WAIT, poll).await.is_ok()
}

/// A runtime whose only blocking thread is busy until the sender is dropped.
#[cfg(test)]
pub(crate) fn busy_runtime() -> (tokio::runtime::Runtime, std::sync::mpsc::Sender<()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).enable_all().build().unwrap();
    let (release, wait) = std::sync::mpsc::channel();
    runtime.spawn_blocking(move || wait.recv());
    (runtime, release)
}

#[cfg(target_os = "linux")]
mod imp {
    use std::fs;

    pub(super) fn processes(marker: &str) -> Vec<String> {
        let contains = |bytes: &[u8]| bytes.windows(marker.len()).any(|w| w == marker.as_bytes());
        let mut found = vec![];
        for folder in fs::read_dir("/proc").into_iter().flatten().flatten() {
            if folder.file_name().to_str().is_none_or(|name| name.parse::<u32>().is_err()) {
                continue;
            }
            // Neither can be read once the process is gone, and the environment only if it is the
            // same user's.
            let command = fs::read(folder.path().join("cmdline")).unwrap_or_default();
            let environment = fs::read(folder.path().join("environ")).unwrap_or_default();
            if contains(&command) || contains(&environment) {
                found.push(String::from_utf8_lossy(&command).replace('\0', " "));
            }
        }
        found
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    /// By the command line only: environments cannot be read here.
    pub(super) fn processes(marker: &str) -> Vec<String> {
        let listed = std::process::Command::new("ps").args(["-axwwo", "stat=,args="]).output();
        let listed = listed.map(|output| output.stdout).unwrap_or_default();
        let lines = String::from_utf8_lossy(&listed).into_owned();
        let matching = lines.lines().filter(|line| line.contains(marker) && !line.starts_with('Z'));
        matching.filter_map(|line| line.split_once(' ')).map(|(_, args)| args.into()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[tokio::test]
    async fn a_process_is_found_by_its_command_and_by_its_environment() {
        let by_command = marker();
        assert!(!alive(&by_command));
        let mut sleep = Command::new("sleep").arg(&by_command).spawn().unwrap();
        assert!(until(|| alive(&by_command)).await);
        assert_eq!(processes(&by_command)[0].trim_end(), format!("sleep {by_command}"));
        sleep.kill().unwrap();
        // It is a zombie until it is waited for.
        assert!(gone(&by_command).await);
        sleep.wait().unwrap();

        if cfg!(target_os = "linux") {
            let by_environment = marker();
            let mut sleep =
                Command::new("sleep").arg("86400").env("MARKER", &by_environment).spawn().unwrap();
            assert!(until(|| alive(&by_environment)).await);
            sleep.kill().unwrap();
            assert!(gone(&by_environment).await);
            sleep.wait().unwrap();
        }
        assert_ne!(marker(), marker());
    }
}
