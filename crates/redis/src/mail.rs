use crate::{Cause, Failure, Server, names::Names, server::SENT_SECONDS};
use futures_util::future::BoxFuture;
use redis::{Script, Value, from_redis_value};
use rungs_mailbox::{
    Deliveries, Error, Letter, LetterId, Presence, Received, Transport, Unsettled, check_name,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};

/// The most letters that are delivered at once; the others follow.
const MAX_NEW_LETTERS: usize = 1000;
/// A stream that has more letters is trimmed, when some are acknowledged ..
const MAX_LETTERS: usize = 1000;
/// .. down to so many, or those that are not settled.
const MIN_KEPT_LETTERS: usize = 200;
/// How long a reader waits after a failure.
const FAILURE_DELAY: Duration = Duration::from_millis(500);

/// The transport on Redis: a stream for each name, which a consumer group reads.
///
/// | key | holds |
/// |---|---|
/// | `mail:NAME` | the letters, a stream; its group `readers` knows the deliveries |
/// | `deliveries:NAME` | what a count does not say: how many were delivered together |
/// | `dead:NAME` | dead letters, a stream |
/// | `sent:NONCE` | a letter that was stored, for ten minutes |
///
/// Each change is one script, which the server runs whole or not at all, and which may run again: a
/// sender or a reader that lost the connection does not know whether its script ran.
#[derive(Debug, Clone)]
pub struct Mail {
    pub(crate) server: Server,
    pub(crate) names: Names,
    pub(crate) quiet: Quiet,
}

/// The mailboxes that had nothing to deliver beside these letters in flight, and what changes when
/// a letter comes: to ask again costs nothing until then.
pub(crate) type Quiet = Arc<Mutex<HashMap<String, (BTreeSet<LetterId>, watch::Receiver<()>)>>>;

/// Stores a letter once, however often it is sent, and wakes its reader.
static SEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[4]) then
             redis.call('XADD', KEYS[2], '*', 'letter', ARGV[1])
         end
         redis.call('PUBLISH', ARGV[2], ARGV[3])",
    )
});

/// All that a decision about deliveries needs: what is pending in the group, what is known of it,
/// and the first letters that were never delivered. It writes nothing.
static LOOK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local pending = redis.pcall('XPENDING', KEYS[1], 'readers', '-', '+', 1000000)
         local after = '-'
         if pending.err then
             pending = {}
         else
             for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
                 local info = {}
                 for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
                 if info.name == 'readers' then after = '(' .. info['last-delivered-id'] end
             end
         end
         local counts = {}
         for i, one in ipairs(pending) do counts[i] = {one[1], one[4]} end
         return {counts, redis.call('HGETALL', KEYS[2]),
             redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', ARGV[1])}",
    )
});

/// Delivers, if the name is still that of this reader: claims what is delivered again, which counts
/// as a delivery, reads what is new, and moves dead letters to their own stream.
static DELIVER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[4]) ~= ARGV[1] then return {false} end
         redis.pcall('XGROUP', 'CREATE', KEYS[1], 'readers', '0', 'MKSTREAM')
         local next = 4
         local function take()
             local list = {}
             for i = 1, tonumber(ARGV[next]) do list[i] = ARGV[next + i] end
             next = next + 1 + #list
             return list
         end
         local again, dead, known = take(), take(), take()
         local letters, buried = {}, {}
         for i, id in ipairs(dead) do
             buried[i] = redis.call('XRANGE', KEYS[1], id, id)[1]
             redis.call('XADD', KEYS[3], '*', 'id', id, 'letter', buried[i][2][2])
             redis.call('XACK', KEYS[1], 'readers', id)
             redis.call('HDEL', KEYS[2], id)
         end
         for _, id in ipairs(again) do
             local got = redis.call('XCLAIM', KEYS[1], 'readers', ARGV[2], 0, id)
             if got[1] then letters[#letters + 1] = got[1] end
         end
         if tonumber(ARGV[3]) > 0 then
             local got = redis.call('XREADGROUP', 'GROUP', 'readers', ARGV[2],
                 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
             if got then
                 for _, one in ipairs(got[1][2]) do letters[#letters + 1] = one end
             end
         end
         for i = 1, #known, 2 do redis.call('HSET', KEYS[2], known[i], known[i + 1]) end
         return {letters, buried}",
    )
});

/// Settles letters, and now and then drops the oldest of those that are settled.
static ACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local holder = redis.call('GET', KEYS[3])
         if holder and holder ~= ARGV[1] then return 0 end
         for i = 4, #ARGV do
             redis.pcall('XACK', KEYS[1], 'readers', ARGV[i])
             redis.call('HDEL', KEYS[2], ARGV[i])
         end
         if redis.call('XLEN', KEYS[1]) > tonumber(ARGV[2]) then
             local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[3])
             local oldest = newest[#newest][1]
             local before = redis.call('XRANGE', KEYS[1], '-', '(' .. oldest)
             local pending = redis.call('XPENDING', KEYS[1], 'readers')
             local last
             for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
                 for i = 1, #group, 2 do
                     if group[i] == 'last-delivered-id' then last = group[i + 1] end
                 end
             end
             for _, one in ipairs(before) do
                 if one[1] == pending[2] then break end
                 redis.call('XDEL', KEYS[1], one[1])
                 if one[1] == last then break end
             end
         end
         return 1",
    )
});

/// An entry of a stream: its id, its fields and their values.
type Entry = (String, Vec<String>);

/// What [`LOOK`] returns: counts of deliveries by id, what is known of them, new letters.
type Looked = (Vec<(String, u32)>, BTreeMap<String, String>, Vec<Entry>);

fn stream_id(id: &LetterId) -> String {
    format!("{}-{}", id.number, id.nonce)
}

fn letter_id(id: &str) -> Option<LetterId> {
    let (number, nonce) = id.split_once('-')?;
    Some(LetterId { number: number.parse().ok()?, nonce: nonce.parse().ok()? })
}

/// The letter of an entry. One that somebody else has put there, or that cannot be read, becomes a
/// letter that says so: it must not stop the mail.
fn letter((id, fields): &Entry) -> Option<Letter> {
    let id = letter_id(id)?;
    let text = fields.chunks(2).find(|pair| pair[0] == "letter").map_or("", |pair| &pair[1]);
    let read: Letter = serde_json::from_str(text).unwrap_or_else(|error| {
        Letter::truncated("unknown", format!("[this letter cannot be read: {error}]"))
    });
    Some(Letter { id, ..read })
}

/// What is known of a mailbox.
struct Look {
    unsettled: Unsettled,
    /// The letters that were never delivered, as far as they were asked for.
    new: BTreeMap<LetterId, Letter>,
}

impl Mail {
    fn other(&self, problem: String, cause: Cause) -> Error {
        Error::Other(Box::new(Failure { host: self.server.host(), problem, cause }))
    }

    fn taken(&self, who: &str) -> Error {
        let problem = format!(
            "{who} of team {} is another process now; this one has lost the name",
            self.server.team()
        );
        self.other(problem, Cause::Taken)
    }

    fn mail_key(&self, name: &str) -> String {
        self.server.key(&format!("mail:{name}"))
    }

    fn deliveries_key(&self, name: &str) -> String {
        self.server.key(&format!("deliveries:{name}"))
    }

    async fn look(&self, who: &str, max_new: usize) -> Result<Look, Error> {
        check_name(who)?;
        let mut look = LOOK.prepare_invoke();
        look.key(self.mail_key(who)).key(self.deliveries_key(who)).arg(max_new);
        let (counts, known, new): Looked = self.server.run(&look).await.map_err(other)?;
        let mut unsettled = Unsettled::default();
        for (id, count) in counts {
            let Some(letter) = letter_id(&id) else { continue };
            let deliveries: Deliveries =
                known.get(&id).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            unsettled.0.insert(letter, Deliveries { count, ..deliveries });
        }
        let new: BTreeMap<LetterId, Letter> =
            new.iter().filter_map(letter).map(|letter| (letter.id, letter)).collect();
        unsettled.0.extend(new.keys().map(|id| (*id, Deliveries::default())));
        Ok(Look { unsettled, new })
    }

    async fn deliver(&self, who: &str, in_flight: &BTreeSet<LetterId>) -> Result<Received, Error> {
        let Look { mut unsettled, new } = self.look(who, MAX_NEW_LETTERS).await?;
        let (letters, dead) = unsettled.due(in_flight);
        if letters.is_empty() && dead.is_empty() {
            return Ok(Received::default());
        }
        self.names.join(who, "").await.map_err(other)?;
        unsettled.deliver(&letters, &unsettled.held(in_flight));
        let again: Vec<&LetterId> = letters.iter().filter(|id| !new.contains_key(id)).collect();
        let mut deliver = DELIVER.prepare_invoke();
        deliver
            .key(self.mail_key(who))
            .key(self.deliveries_key(who))
            .key(self.server.key(&format!("dead:{who}")))
            .key(self.names.lease_key(who))
            .arg(self.names.token())
            .arg(self.names.token())
            .arg(letters.len() - again.len());
        deliver.arg(again.len());
        for id in again {
            deliver.arg(stream_id(id));
        }
        deliver.arg(dead.len());
        for id in &dead {
            deliver.arg(stream_id(id));
        }
        let known: Vec<_> = unsettled.0.iter().filter(|(id, _)| !dead.contains(id)).collect();
        deliver.arg(2 * known.len());
        for (id, deliveries) in known {
            let text = serde_json::to_string(deliveries).unwrap_or_default();
            deliver.arg(stream_id(id)).arg(text);
        }
        let answer: Vec<Value> = self.server.run(&deliver).await.map_err(other)?;
        let [delivered, buried] = &answer[..] else { return Err(self.taken(who)) };
        let read = |value: &Value| -> Vec<Letter> {
            let entries: Vec<Entry> = from_redis_value(value.clone()).unwrap_or_default();
            entries.iter().filter_map(letter).collect()
        };
        Ok(Received { letters: read(delivered), dead: read(buried), damage: vec![] })
    }
}

fn other(failure: Failure) -> Error {
    Error::Other(Box::new(failure))
}

impl Transport for Mail {
    fn send<'a>(&'a self, to: &'a str, letter: Letter) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            check_name(to)?;
            letter.check()?;
            let text =
                serde_json::to_string(&letter).map_err(|error| Error::Other(error.into()))?;
            let mut send = SEND.prepare_invoke();
            send.key(self.server.sent_key())
                .key(self.mail_key(to))
                .arg(text)
                .arg(self.server.key("wake"))
                .arg(to)
                .arg(SENT_SECONDS);
            self.server.store(&send).await.map_err(other)
        })
    }

    fn receive<'a>(
        &'a self,
        who: &'a str,
        in_flight: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<Received, Error>> {
        self.quiet.lock().unwrap().remove(who);
        Box::pin(self.deliver(who, in_flight))
    }

    fn ack<'a>(
        &'a self,
        who: &'a str,
        ids: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if ids.is_empty() {
                return Ok(());
            }
            self.quiet.lock().unwrap().remove(who);
            let mut ack = ACK.prepare_invoke();
            ack.key(self.mail_key(who))
                .key(self.deliveries_key(who))
                .key(self.names.lease_key(who))
                .arg(self.names.token())
                .arg(MAX_LETTERS)
                .arg(MIN_KEPT_LETTERS);
            for id in ids {
                ack.arg(stream_id(id));
            }
            if self.server.store::<bool>(&ack).await.map_err(other)? {
                return Ok(());
            }
            Err(self.taken(who))
        })
    }

    fn has_mail<'a>(
        &'a self,
        who: &'a str,
        in_flight: &'a BTreeSet<LetterId>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            if let Some((known, wake)) = self.quiet.lock().unwrap().get(who)
                && known == in_flight
                && !wake.has_changed().unwrap_or(true)
            {
                return Ok(false);
            }
            // Before the look, so that nothing falls between the two.
            let wake = self.server.wake(who);
            let look = self.look(who, 1).await?;
            let (letters, dead) = look.unsettled.due(in_flight);
            if letters.is_empty() && dead.is_empty() {
                self.quiet.lock().unwrap().insert(who.into(), (in_flight.clone(), wake));
                return Ok(false);
            }
            Ok(true)
        })
    }

    fn wait<'a>(&'a self, who: &'a str, in_flight: &'a BTreeSet<LetterId>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // Made before the look, or it would miss what arrives in between.
            let mut wake = self.server.wake(who);
            loop {
                match self.has_mail(who, in_flight).await {
                    Ok(true) => return,
                    Ok(false) => {
                        // The sender lives as long as the server.
                        let _ = wake.changed().await;
                    }
                    Err(_) => return sleep(FAILURE_DELAY).await,
                }
            }
        })
    }

    fn newest<'a>(
        &'a self,
        who: &'a str,
        count: usize,
    ) -> BoxFuture<'a, Result<Vec<Letter>, Error>> {
        Box::pin(async move {
            check_name(who)?;
            static NEWEST: LazyLock<Script> = LazyLock::new(|| {
                Script::new("return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])")
            });
            let mut newest = NEWEST.prepare_invoke();
            newest.key(self.mail_key(who)).arg(count);
            let entries: Vec<Entry> = self.server.run(&newest).await.map_err(other)?;
            Ok(entries.iter().rev().filter_map(letter).collect())
        })
    }

    fn presence(&self) -> Option<&dyn Presence> {
        Some(&self.names)
    }
}
