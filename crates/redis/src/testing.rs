//! Redis servers for tests: one for each, on a socket of its own, ended when it is dropped.
use std::{
    env, io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A free port of 127.0.0.1 for a program that starts some time later. It is none of those that a
/// system gives to whoever asks for any (32,768 and above on Linux): another test would get it.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(10_000..30_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A `redis-server` of a test.
#[derive(Debug)]
pub struct PrivateServer {
    folder: TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl PrivateServer {
    /// Starts a server that keeps all that it has accepted, with more arguments of its own. None
    /// where `redis-server` is not installed, which is said.
    ///
    /// # Panics
    /// When it does not start, and with `CI=true` when it is not installed.
    pub fn start(arguments: &[&str]) -> Option<PrivateServer> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut server = PrivateServer { folder, arguments, child: None };
        match server.restart() {
            Ok(()) => Some(server),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                assert_ne!(env::var("CI").as_deref(), Ok("true"), "redis-server is missing");
                eprintln!("skipped: redis-server is not installed");
                None
            }
            Err(error) => panic!("redis-server does not start: {error}"),
        }
    }

    /// The path of its socket.
    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    /// Its folder, with its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts it again on the data that it has stored.
    ///
    /// # Errors
    /// When the program cannot be started.
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        let _ = std::fs::remove_file(self.socket());
        let child = Command::new("redis-server")
            .args(["--port", "0", "--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .args(["--unixsocket", "socket", "--dir"])
            .arg(self.folder.path())
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(self.folder.path().join("log"))?)
            .spawn()?;
        self.child = Some(child);
        let start = Instant::now();
        let mut answer = String::new();
        while answer != "PONG" {
            assert!(start.elapsed() < START_TIMEOUT, "redis-server does not answer: {answer}");
            sleep(Duration::from_millis(5));
            let client = redis::Client::open(self.url()).expect("a valid URL");
            let ping = client
                .get_connection()
                .and_then(|mut connection| redis::cmd("PING").query(&mut connection));
            answer = match ping {
                Ok(answer) => answer,
                // With a password it answers, too.
                Err(error) if error.kind() == redis::ErrorKind::AuthenticationFailed => break,
                Err(error) if error.code() == Some("NOAUTH") => break,
                Err(error) => error.to_string(),
            };
        }
        Ok(())
    }

    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Runs a command, for what a test looks at or sets.
    ///
    /// # Panics
    /// When it fails.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("a valid URL");
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        let mut connection = client.get_connection().expect("a connection");
        command.query(&mut connection).expect("an answer")
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.kill();
    }
}
