use crate::{
    Failure, Server,
    server::{SENT_SECONDS, check_replicas, wait_command},
};
use durable::Update;
use redis::{Connection, ConnectionLike, Script, ScriptInvocation};
use rungs_tasks::{Board, BoardError, Log, Storage, Task, Tasks, Work};
use std::{
    fmt,
    sync::LazyLock,
    thread::sleep,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The name that is waited for to hear of changes of the board. No mailbox has it.
const BOARD: &str = "@board";
/// How often a change is decided again because somebody else was faster.
const MAX_ATTEMPTS: u32 = 1000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const DELAY: Duration = Duration::from_millis(100);
/// The position before all entries of a stream.
const START: &str = "0-0";

/// The board of a team: the stream `board`, in which each entry holds the tasks that one change
/// wrote.
///
/// Nobody holds a lock, so nobody can die with it. Whoever decides knows the newest entry, and its
/// own is stored only if that is still the newest (optimistic concurrency control).
///
/// # Errors
/// When the server fails.
pub async fn open_board(server: &Server) -> Result<Board, BoardError> {
    let (log, signal) = (Stream::new(server), server.wake(BOARD));
    match tokio::task::spawn_blocking(move || Board::on(log, Some(signal))).await {
        Ok(opened) => opened,
        Err(error) => Err(BoardError::Storage(error.into())),
    }
}

/// The entries after a position, and the newest position; all entries when the position is newer
/// than that: the server has lost some.
static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
         last = last and last[1] or '0-0'
         local function before(a, b)
             local a1, a2 = a:match('(%d+)-(%d+)')
             local b1, b2 = b:match('(%d+)-(%d+)')
             if a1 == b1 then return tonumber(a2) < tonumber(b2) end
             return tonumber(a1) < tonumber(b1)
         end
         if before(last, ARGV[1]) then
             return {last, redis.call('XRANGE', KEYS[1], '-', '+'), 1}
         end
         return {last, redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+'), 0}",
    )
});

/// Appends an entry, if the newest one is still this: its position, or none. When it is tried again
/// because the answer was lost, it is stored once. Drops all before it on demand.
static APPEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local stored = redis.call('GET', KEYS[2])
         if stored then return stored end
         local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
         if (last and last[1] or '0-0') ~= ARGV[1] then return false end
         local id = redis.call('XADD', KEYS[1], '*', 'tasks', ARGV[2])
         redis.call('SET', KEYS[2], id, 'EX', ARGV[6])
         if ARGV[3] == '1' then redis.call('XTRIM', KEYS[1], 'MINID', id) end
         redis.call('PUBLISH', ARGV[4], ARGV[5])
         return id",
    )
});

struct Stream {
    server: Server,
    connection: Option<Connection>,
    /// The newest entry that was read.
    position: String,
    /// Changes when others may have written.
    signal: watch::Receiver<()>,
    was_read: bool,
}

/// The stream, for one decision.
struct Held<'a>(&'a mut Stream);

impl Stream {
    fn new(server: &Server) -> Stream {
        let signal = server.wake(BOARD);
        let position = START.into();
        Stream { server: server.clone(), connection: None, position, signal, was_read: false }
    }

    /// Runs a script, and tries again while that may help.
    fn run<T: redis::FromRedisValue>(
        &mut self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, BoardError> {
        let end = Instant::now() + self.server.retry_time();
        loop {
            match self.once(script) {
                Err(failure) if failure.is_passing() && Instant::now() + DELAY < end => {
                    sleep(DELAY);
                }
                Err(failure) => return Err(BoardError::Storage(Box::new(failure))),
                Ok(value) => return Ok(value),
            }
        }
    }

    fn once<T: redis::FromRedisValue>(
        &mut self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Failure> {
        let client = self.server.client();
        let failure = |error| Failure::new(client.get_connection_info(), &error);
        let mut connection = match self.connection.take() {
            Some(connection) if connection.is_open() => connection,
            _ => {
                let connection =
                    client.get_connection_with_timeout(CONNECT_TIMEOUT).map_err(failure)?;
                connection.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failure)?;
                connection.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(failure)?;
                connection
            }
        };
        let stored = script.invoke(&mut connection).and_then(|value| {
            if self.server.has_replicas() {
                check_replicas(wait_command().query(&mut connection)?)?;
            }
            Ok(value)
        });
        match stored {
            Ok(value) => {
                self.connection = Some(connection);
                Ok(value)
            }
            Err(error) => {
                let failure = failure(error);
                // After a failure that may pass, the host may be another server.
                if !failure.is_passing() {
                    self.connection = Some(connection);
                }
                Err(failure)
            }
        }
    }

    fn read(&mut self) -> Result<Update<Task>, BoardError> {
        // Before the look, so that nothing falls between the two.
        self.signal.borrow_and_update();
        let mut read = READ.prepare_invoke();
        read.key(self.server.key("board")).arg(&self.position);
        let (position, entries, rewound): (String, Vec<(String, Vec<String>)>, bool) =
            self.run(&read)?;
        let mut records = vec![];
        for (id, fields) in entries {
            let tasks = fields.get(1).map_or("", String::as_str);
            let tasks: Vec<Task> = serde_json::from_str(tasks).map_err(|error| {
                let key = self.server.key("board");
                let text = format!("{}: {key}, entry {id}: {error}", self.server.host());
                BoardError::Storage(text.into())
            })?;
            records.extend(tasks);
        }
        (self.position, self.was_read) = (position, true);
        Ok(Update { records, reset: false, rewound, quarantined: None })
    }

    fn write(&mut self, tasks: &[&Task], replaces: bool) -> Result<(), BoardError> {
        let text =
            serde_json::to_string(tasks).map_err(|error| BoardError::Storage(error.into()))?;
        let mut append = APPEND.prepare_invoke();
        append
            .key(self.server.key("board"))
            .key(self.server.sent_key())
            .arg(&self.position)
            .arg(text)
            .arg(u8::from(replaces))
            .arg(self.server.key("wake"))
            .arg(BOARD)
            .arg(SENT_SECONDS);
        match self.run(&append)? {
            Some(position) => {
                self.position = position;
                Ok(())
            }
            None => Err(BoardError::Outdated),
        }
    }
}

impl Storage for Stream {
    fn locked(&mut self, always: bool, work: &mut Work<'_>) -> Result<(), BoardError> {
        // To look costs nothing while nobody writes. Whoever decides asks the server all the same.
        if !always && self.was_read && !self.signal.has_changed().unwrap_or(true) {
            return Ok(());
        }
        for attempt in 0..MAX_ATTEMPTS {
            let news = self.read()?;
            if !always && attempt == 0 && news.records.is_empty() && !news.rewound {
                return Ok(());
            }
            match work(&mut Held(self), news) {
                Err(BoardError::Outdated) => {
                    // Whoever lost the race waits a moment, each another one.
                    sleep(Duration::from_micros(fastrand::u64(..1 << attempt.min(14))));
                }
                done => return done,
            }
        }
        Err(BoardError::Outdated)
    }
}

impl Log for Held<'_> {
    fn append(&mut self, tasks: &[Task]) -> Result<(), BoardError> {
        self.0.write(&tasks.iter().collect::<Vec<_>>(), false)
    }

    fn compact(&mut self, tasks: &Tasks) -> Result<(), BoardError> {
        self.0.write(&tasks.all().collect::<Vec<_>>(), true)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("position", &self.position).finish_non_exhaustive()
    }
}
