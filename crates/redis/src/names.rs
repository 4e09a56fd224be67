use crate::{Cause, Failure, Server};
use futures_util::future::BoxFuture;
use redis::Script;
use rungs_mailbox::{Elsewhere, Error, Presence, check_name};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, Mutex, Weak},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

/// How long a name stays with a process that says nothing more. After that another one may take it,
/// and its letters with it.
pub const NAME_LEASE: Duration = Duration::from_secs(15);
/// The name that is waited for to hear of changes among the members. No mailbox has it.
const MEMBERS: &str = "@members";

/// The names that this process has in its team: each is a lease, a key of the server that vanishes
/// unless it is renewed. A name has one process at a time, so its mailbox has one reader.
///
/// | key | holds |
/// |---|---|
/// | `name:NAME` | the token of the process that has the name, until its lease ends |
/// | `members` | what each member says of itself: role, host, whether it is busy |
#[derive(Clone)]
pub struct Names(Arc<Inner>);

struct Inner {
    server: Server,
    /// Random, so that no other process has it.
    token: String,
    lease: Duration,
    held: Mutex<BTreeMap<String, Member>>,
    /// Wakes the task that renews.
    changed: Arc<Notify>,
    /// Counts the names that were lost.
    lost: watch::Sender<u64>,
    /// The members in other processes, until something is heard of them.
    known: Mutex<Option<Known>>,
}

struct Known {
    elsewhere: Vec<Elsewhere>,
    at: Instant,
    changes: watch::Receiver<()>,
}

/// What a member says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Member {
    role: String,
    host: String,
    busy: bool,
}

/// Takes or renews a name: `join` may take one that is free or was dismissed, `renew` one that
/// nobody has. Says what the members should hear when something is new.
static LEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local holder = redis.call('GET', KEYS[1])
         if holder == 'dismissed' and ARGV[4] == 'join' then holder = false end
         if holder and holder ~= ARGV[1] then return 0 end
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
         redis.call('PEXPIRE', KEYS[2], 100 * ARGV[2])
         if redis.call('HGET', KEYS[2], ARGV[3]) ~= ARGV[5] or not holder then
             redis.call('HSET', KEYS[2], ARGV[3], ARGV[5])
             redis.call('PUBLISH', ARGV[6], ARGV[7])
         end
         return 1",
    )
});

/// Gives a name back, or takes it from whoever has it.
static LEAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local holder = redis.call('GET', KEYS[1])
         if not holder or (ARGV[1] ~= 'dismissed' and holder ~= ARGV[1]) then return 0 end
         if ARGV[1] == 'dismissed' then
             redis.call('SET', KEYS[1], 'dismissed', 'PX', ARGV[2])
         else
             redis.call('DEL', KEYS[1])
         end
         redis.call('HDEL', KEYS[2], ARGV[3])
         redis.call('PUBLISH', ARGV[4], ARGV[5])
         return 1",
    )
});

/// All members whose lease stands, and who has each name.
static LIST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local members, list = redis.call('HGETALL', KEYS[1]), {}
         for i = 1, #members, 2 do
             local holder = redis.call('GET', ARGV[1] .. members[i])
             if holder and holder ~= 'dismissed' then
                 list[#list + 1] = {members[i], holder, members[i + 1]}
             end
         end
         return list",
    )
});

impl Names {
    /// No names yet.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(server: &Server, lease: Duration) -> Result<Names, Failure> {
        let random = |error| Failure {
            host: server.host(),
            problem: format!("no random token: {error}"),
            cause: Cause::Lasting,
        };
        let token = format!("{:016x}", getrandom::u64().map_err(random)?);
        let names = Names(Arc::new(Inner {
            server: server.clone(),
            token,
            lease,
            held: Mutex::default(),
            changed: Arc::default(),
            lost: watch::Sender::default(),
            known: Mutex::default(),
        }));
        tokio::spawn(renew(Arc::downgrade(&names.0)));
        Ok(names)
    }

    pub(crate) fn token(&self) -> &str {
        &self.0.token
    }

    pub(crate) fn lease_key(&self, name: &str) -> String {
        self.0.server.key(&format!("name:{name}"))
    }

    /// Takes a name, unless this process has it already.
    pub(crate) async fn join(&self, name: &str, role: &str) -> Result<(), Failure> {
        if self.0.held.lock().unwrap().contains_key(name) {
            return Ok(());
        }
        let host = format!("{}, process {}", hostname(), std::process::id());
        let member = Member { role: role.into(), host, busy: false };
        if !self.0.lease(name, &member, "join").await? {
            let list = self.0.list().await?;
            let who = list.iter().find(|(other, ..)| other == name);
            let at = who.map(|(_, _, member)| member.host.clone()).unwrap_or_default();
            return Err(self.0.taken(name, &at));
        }
        self.0.held.lock().unwrap().insert(name.into(), member);
        self.0.changed.notify_one();
        Ok(())
    }

    /// Gives all names back: for the end of a program.
    pub async fn leave_all(&self) {
        let names: Vec<String> = self.0.held.lock().unwrap().keys().cloned().collect();
        for name in names {
            self.leave(&name).await;
        }
    }
}

impl Inner {
    fn taken(&self, name: &str, at: &str) -> Failure {
        Failure {
            host: self.server.host(),
            problem: format!(
                "team {} has a {name} already ({at}); when that process is dead, the name is free \
                 {} s after its end",
                self.server.team(),
                self.lease.as_secs()
            ),
            cause: Cause::Taken,
        }
    }

    async fn lease(&self, name: &str, member: &Member, how: &str) -> Result<bool, Failure> {
        let mut script = LEASE.prepare_invoke();
        script
            .key(self.server.key(&format!("name:{name}")))
            .key(self.server.key("members"))
            .arg(&self.token)
            .arg(self.lease.as_millis() as u64)
            .arg(name)
            .arg(how)
            .arg(serde_json::to_string(member).unwrap_or_default())
            .arg(self.server.key("wake"))
            .arg(MEMBERS);
        self.server.run(&script).await
    }

    async fn list(&self) -> Result<Vec<(String, String, Member)>, Failure> {
        let mut list = LIST.prepare_invoke();
        list.key(self.server.key("members")).arg(self.server.key("name:"));
        let listed: Vec<(String, String, String)> = self.server.run(&list).await?;
        let read = |(name, token, text): (String, String, String)| {
            (name, token, serde_json::from_str(&text).unwrap_or_default())
        };
        Ok(listed.into_iter().map(read).collect())
    }

    async fn renew_all(&self) {
        let held = self.held.lock().unwrap().clone();
        for (name, member) in held {
            // A server that fails now may work the next time; only a refusal is final.
            if let Ok(false) = self.lease(&name, &member, "renew").await {
                self.held.lock().unwrap().remove(&name);
                self.lost.send_modify(|count| *count += 1);
            }
        }
    }

    async fn end(&self, name: &str, how: &str) -> Result<bool, Failure> {
        let mut script = LEAVE.prepare_invoke();
        script
            .key(self.server.key(&format!("name:{name}")))
            .key(self.server.key("members"))
            .arg(how)
            .arg(self.lease.as_millis() as u64)
            .arg(name)
            .arg(self.server.key("wake"))
            .arg(MEMBERS);
        self.server.run(&script).await
    }
}

/// Renews all names three times per lease, and at once when something has changed.
async fn renew(inner: Weak<Inner>) {
    let Some(first) = inner.upgrade() else { return };
    let (mut wake, interval) = (first.server.wake(MEMBERS), first.lease / 3);
    let changed = first.changed.clone();
    drop(first);
    loop {
        let Some(names) = inner.upgrade() else { return };
        names.renew_all().await;
        // Not held while it sleeps, or nobody would ever drop it.
        drop(names);
        tokio::select! {
            () = changed.notified() => {}
            _ = wake.changed() => {}
            () = sleep(interval) => {}
        }
    }
}

impl Presence for Names {
    fn join<'a>(&'a self, name: &'a str, role: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            check_name(name)?;
            self.join(name, role).await.map_err(|failure| Error::Other(Box::new(failure)))
        })
    }

    fn leave<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if self.0.held.lock().unwrap().remove(name).is_some() {
                self.0.lost.send_modify(|count| *count += 1);
                // If it fails, the lease ends by itself.
                let _ = self.0.end(name, &self.0.token).await;
            }
        })
    }

    fn dismiss<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            self.0.end(name, "dismissed").await.map_err(|failure| Error::Other(Box::new(failure)))
        })
    }

    fn lost<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut lost = self.0.lost.subscribe();
            while self.0.held.lock().unwrap().contains_key(name) {
                if lost.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn elsewhere<'a>(&'a self) -> BoxFuture<'a, Result<Vec<Elsewhere>, Error>> {
        Box::pin(async move {
            if let Some(known) = &*self.0.known.lock().unwrap()
                && !known.changes.has_changed().unwrap_or(true)
                // A member that died says nothing.
                && known.at.elapsed() < self.0.lease
            {
                return Ok(known.elsewhere.clone());
            }
            // Before the look, so that nothing falls between the two.
            let (changes, at) = (self.0.server.wake(MEMBERS), Instant::now());
            let list = self.0.list().await.map_err(|failure| Error::Other(Box::new(failure)))?;
            let others = list.into_iter().filter(|(_, token, _)| *token != self.0.token);
            let others = others.map(|(name, _, Member { role, host, busy })| Elsewhere {
                name,
                role,
                host,
                busy,
            });
            let elsewhere: Vec<Elsewhere> = others.collect();
            let known = Known { elsewhere: elsewhere.clone(), at, changes };
            *self.0.known.lock().unwrap() = Some(known);
            Ok(elsewhere)
        })
    }

    fn set_busy(&self, name: &str, busy: bool) {
        if let Some(member) = self.0.held.lock().unwrap().get_mut(name)
            && member.busy != busy
        {
            member.busy = busy;
            self.0.changed.notify_one();
        }
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let (mut members, lease) = (self.0.server.wake(MEMBERS), self.0.lease);
        Box::pin(async move {
            // A member that died says nothing: its lease ends.
            let _ = timeout(lease, members.changed()).await;
        })
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("held", &self.0.held.lock().unwrap().keys()).finish()
    }
}
