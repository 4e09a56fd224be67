//! Letters of many readers, in processes that are killed, on a server that is killed.
//!
//! `LONG=1 cargo test -p rungs-redis load -- --nocapture` runs the long form and prints figures.
use crate::{Mail, Server, testing::PrivateServer};
use rungs_mailbox::{Letter, LetterId, Transport};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::time::sleep;

const URL: &str = "RUNGS_TEST_URL";
const FOLDER: &str = "RUNGS_TEST_FOLDER";
const NAME: &str = "RUNGS_TEST_NAME";
/// How long the name of a reader that was killed stays taken.
const LEASE: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(600);

struct Form {
    letters: usize,
    readers: usize,
    kills: usize,
    restarts: usize,
}

const SHORT: Form = Form { letters: 120, readers: 3, kills: 3, restarts: 1 };
const LONG: Form = Form { letters: 10_000, readers: 16, kills: 100, restarts: 5 };

/// What a reader has made of its letters, a line each: the id and the text. It is what must not
/// happen twice, so a reader looks here before it acts.
fn effects(folder: &Path, name: &str) -> Vec<(LetterId, String)> {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
    // A line without its end is of a reader that was killed while it wrote.
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A reader in a process of its own: this test, started again with variables that say so.
#[tokio::test]
async fn reader() {
    let (Ok(url), Ok(name)) = (env::var(URL), env::var(NAME)) else { return };
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    // The server may be starting again.
    let server = loop {
        match Server::connect(&url, "load").await {
            Ok(server) => break server,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    };
    let mail = Mail::with_lease(&server, LEASE).unwrap();
    let mut handled: BTreeSet<LetterId> =
        effects(&folder, &name).into_iter().map(|(id, _)| id).collect();
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join(&name)).unwrap();
    // Ends what a killed reader has left.
    file.write_all(b"\n").unwrap();
    loop {
        mail.wait(&name, &BTreeSet::new()).await;
        // It fails while the name is still that of the reader that was killed.
        let Ok(received) = mail.receive(&name, &BTreeSet::new()).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        assert_eq!(received.dead, []);
        for letter in &received.letters {
            if handled.insert(letter.id) {
                let line = serde_json::to_string(&(letter.id, &letter.text)).unwrap();
                file.write_all(format!("{line}\n").as_bytes()).unwrap();
            } else {
                File::create(folder.join(format!("again-{name}-{}", letter.text))).unwrap();
            }
            // One by one: whoever is killed in between has handled what it has not acknowledged.
            while mail.ack(&name, &[letter.id].into()).await.is_err() {}
        }
    }
}

/// Readers that are ended with the test.
struct Readers(BTreeMap<String, Child>);

impl Readers {
    fn start(&mut self, name: &str, url: &str, folder: &Path) {
        let reader = Command::new(env::current_exe().unwrap())
            .args(["tests::load::reader", "--exact"])
            .envs([(URL, url), (NAME, name)])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .spawn();
        self.kill(name);
        self.0.insert(name.into(), reader.unwrap());
    }

    fn kill(&mut self, name: &str) {
        if let Some(mut reader) = self.0.remove(name) {
            reader.kill().unwrap();
            reader.wait().unwrap();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        for name in self.0.keys().cloned().collect::<Vec<_>>() {
            self.kill(&name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_letter_is_lost_or_handled_twice_while_readers_and_the_server_are_killed() {
    let Some(mut server) = PrivateServer::start(&[]) else { return };
    let is_long = env::var("LONG").is_ok_and(|value| value == "1");
    let Form { letters, readers, kills, restarts } = if is_long { LONG } else { SHORT };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    fastrand::seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..readers).map(|n| format!("r{n}")).collect();
    let mut running = Readers(BTreeMap::new());
    for name in &names {
        running.start(name, &server.url(), folder.path());
    }
    let start = Instant::now();
    let connection = Server::connect(&server.url(), "load").await.unwrap();
    let mail = Mail::new(&connection).unwrap();
    let sending = tokio::spawn({
        let (mail, names) = (mail.clone(), names.clone());
        async move {
            for n in 0..letters {
                let letter = Letter::new("lead", n.to_string());
                while let Err(error) = mail.send(&names[n % names.len()], letter.clone()).await {
                    println!("sent again: {error}");
                }
            }
        }
    });
    let all = |folder: &Path| -> Vec<(LetterId, String)> {
        names.iter().flat_map(|name| effects(folder, name)).collect()
    };
    let pause = |handled: usize| {
        // Spread over the work, however long that takes.
        let folder = folder.path();
        async move {
            while all(folder).len() < handled {
                assert!(start.elapsed() < DEADLINE, "{} of {handled}", all(folder).len());
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    for n in 0..kills {
        pause(n * letters / kills).await;
        let name = &names[fastrand::usize(..names.len())];
        running.start(name, &server.url(), folder.path());
        if n * restarts / kills != (n + 1) * restarts / kills {
            server.restart().unwrap();
        }
    }
    sending.await.unwrap();
    pause(letters).await;
    let time = start.elapsed();
    let mut handled: Vec<usize> =
        all(folder.path()).iter().map(|(_, text)| text.parse().unwrap()).collect();
    handled.sort_unstable();
    assert!(handled.iter().copied().eq(0..letters), "{handled:?}");
    let left = async |name: &String| mail.has_mail(name, &BTreeSet::new()).await.unwrap();
    for name in &names {
        while left(name).await {
            assert!(start.elapsed() < DEADLINE, "{name} does not acknowledge its last letter");
            sleep(Duration::from_millis(5)).await;
        }
    }
    let again = fs::read_dir(folder.path()).unwrap().flatten();
    let again =
        again.filter(|file| file.file_name().to_string_lossy().starts_with("again")).count();
    println!(
        "{letters} letters, {readers} readers, {kills} kills of readers, {restarts} of the server: \
         each handled once in {time:.1?}; {again} were delivered again after their effect, and \
         recognised"
    );
}
