//! The folder of all sessions.
use crate::{
    Begin, Error, Fork, Record, Redactor, Result, Session, Tree, Turn, VERSION,
    export::{Transcript, html, markdown},
    record::{BEGIN, Entry, KINDS, TITLE, TURN, now},
};
use durable::{Damage, Folder, Journal, Lock, MAX_JOURNAL_BYTES};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{collections::HashSet, fmt, io::BufRead, path::PathBuf, time::Duration};

/// The file of a session in its folder. Those of children are named by their own ids.
const FILE: &str = "session.jsonl";
/// Whoever writes to a session holds the lock of this name.
const LOCK: &str = "session.owner";
/// How long to wait for a session that is in use: its owner may be ending.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// The digits of an id.
const ID_DIGITS: usize = 16;
/// How far into a line its kind stands at most: after the checksum and four numbers.
const MAX_KIND_OFFSET: usize = 200;

/// All sessions of a folder, and what no file of theirs may hold.
#[derive(Debug, Clone)]
pub struct Sessions {
    folder: Folder,
    redactor: Redactor,
}

/// What a list says of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// Its title; or how its first prompt begins.
    pub title: String,
    /// How many turns its own file holds.
    pub turns: usize,
    /// When its newest record was written, in seconds since 1970.
    pub at: u64,
    /// The session whose past it shares.
    pub fork_of: Option<String>,
    /// Whether a process writes to it.
    pub in_use: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { id, title, turns, at, .. } = self;
        write!(f, "{id}  {title} ({turns} turns, {}", ago(now().saturating_sub(*at)))?;
        if let Some(of) = &self.fork_of {
            write!(f, ", a fork of {of}")?;
        }
        write!(f, "{})", if self.in_use { ", in use" } else { "" })
    }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..=59 => "just now".into(),
        60..=3599 => format!("{} min ago", seconds / 60),
        3600..=86_399 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

type Opened = (Journal<Box<RawValue>>, Vec<Record>, Vec<String>);

impl Sessions {
    /// The sessions in this folder.
    pub fn new(folder: Folder, redactor: Redactor) -> Sessions {
        Sessions { folder, redactor }
    }

    /// Opens a session for writing; a new one when there is none of this id.
    ///
    /// # Errors
    /// [`Error::InUse`] after half a second, [`Error::NoId`], [`Error::Newer`] and [`Error::Disk`].
    pub fn open_or_create(&self, id: &str, begin: &Begin) -> Result<(Session, Tree)> {
        let (folder, lock) = self.lock(id)?;
        self.begin(&folder, FILE, id, begin, Some(lock))
    }

    fn lock(&self, id: &str) -> Result<(Folder, Lock)> {
        let folder = self.folder.folder(checked(id)?)?;
        match Lock::acquire(&folder, LOCK, LOCK_TIMEOUT) {
            Err(durable::Error::LockTimeout { .. }) => Err(Error::InUse(id.into())),
            lock => Ok((folder, lock?)),
        }
    }

    /// The file of a conversation within session `root`, such as that of a subagent.
    ///
    /// # Errors
    /// As for [`open_or_create`](Sessions::open_or_create).
    pub fn child(&self, root: &str, id: &str, begin: &Begin) -> Result<(Session, Tree)> {
        let folder = self.folder.folder(checked(root)?)?;
        self.begin(&folder, &format!("{}.jsonl", checked(id)?), id, begin, None)
    }

    fn begin(
        &self,
        folder: &Folder,
        file: &str,
        id: &str,
        begin: &Begin,
        lock: Option<Lock>,
    ) -> Result<(Session, Tree)> {
        let existed = folder.list()?.iter().any(|name| name == file);
        let (journal, records, mut faults) = open(folder, file)?;
        if existed && records.is_empty() && faults.is_empty() {
            faults.push(format!("session {id}: {file} is empty, so nothing is known of it"));
        }
        let mut tree = self.tree(id, records, faults)?;
        let (redactor, last) = (self.redactor.clone(), tree.head);
        let mut session = Session { id: id.into(), journal, redactor, last, _lock: lock };
        if tree.records.is_empty() {
            // The past of a fork ends there.
            let parent = begin.fork.as_ref().map_or(0, |fork| fork.record);
            session.last = parent;
            let records = session.append(parent, vec![Entry::new(BEGIN, begin)])?;
            tree = self.tree(id, records, tree.faults)?;
        }
        Ok((session, tree))
    }

    /// Opens a session that exists.
    ///
    /// # Errors
    /// [`Error::Missing`], and those of [`open_or_create`](Sessions::open_or_create).
    pub fn open(&self, id: &str) -> Result<(Session, Tree)> {
        self.check_exists(id)?;
        self.open_or_create(id, &Begin::new("main", ""))
    }

    /// A session as it is now, whoever writes to it.
    ///
    /// # Errors
    /// As for [`open`](Sessions::open), but it may be in use.
    pub fn read(&self, id: &str) -> Result<Tree> {
        self.check_exists(id)?;
        let (_, records, faults) = open(&self.folder.folder(id)?, FILE)?;
        self.tree(id, records, faults)
    }

    /// The conversations within a session, in the order in which they began.
    ///
    /// # Errors
    /// As for [`read`](Sessions::read).
    pub fn children(&self, root: &str) -> Result<Vec<Tree>> {
        self.check_exists(root)?;
        let folder = self.folder.folder(root)?;
        let mut children = vec![];
        for name in folder.list()? {
            let id = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
            if let Some(id) = id
                && is_id(id)
            {
                let (_, records, faults) = open(&folder, &format!("{id}.jsonl"))?;
                children.push(self.tree(id, records, faults)?);
            }
        }
        children.sort_by_key(|tree| tree.records.first().map(|record| record.at));
        Ok(children)
    }

    /// A new session of this id, which shares the past of another one up to a record.
    ///
    /// # Errors
    /// [`Error::NoRecord`], and those of [`open`](Sessions::open).
    pub fn fork(&self, of: &str, at: u64, id: &str, mut begin: Begin) -> Result<(Session, Tree)> {
        if self.read(of)?.get(at).is_none() {
            return Err(Error::NoRecord { id: of.into(), record: at });
        }
        begin.fork = Some(Fork { session: of.into(), record: at });
        self.open_or_create(id, &begin)
    }

    /// The sessions, the newest first: roots only, and without those in which nothing was said.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn list(&self) -> Result<Vec<Summary>> {
        let mut list = vec![];
        for id in self.ids()? {
            match self.summary(&id) {
                Ok(summary) => list.extend(summary),
                // It must not hide the others.
                Err(error) => {
                    let title = format!("cannot be read: {error}");
                    list.push(Summary { title, ..Summary::new(id) });
                }
            }
        }
        list.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        Ok(list)
    }

    /// Writes the [`Transcript`] of this session as `session-ID.md` and `session-ID.html` into a
    /// folder. Returns their paths.
    ///
    /// # Errors
    /// As for [`read`](Sessions::read).
    pub fn export(
        &self,
        id: &str,
        about: Vec<(String, String)>,
        to: &Folder,
    ) -> Result<[PathBuf; 2]> {
        let redacted = |text: String| self.redactor.text(&text).into_owned();
        let about = about.into_iter().map(|(title, text)| (title, redacted(text))).collect();
        let transcript = Transcript::new(&self.read(id)?, &self.children(id)?, about);
        let names = [format!("session-{id}.md"), format!("session-{id}.html")];
        to.write(&names[0], markdown(&transcript).as_bytes())?;
        to.write(&names[1], html(&transcript).as_bytes())?;
        Ok(names.map(|name| to.path().join(name)))
    }

    fn summary(&self, id: &str) -> Result<Option<Summary>> {
        let folder = self.folder.folder(id)?;
        let bytes = folder.read(FILE, MAX_JOURNAL_BYTES)?.unwrap_or_default();
        let Some(summary) = Summary::read(id.into(), &bytes) else { return Ok(None) };
        let in_use = self.is_in_use(&summary.id)?;
        Ok(Some(Summary { in_use, ..summary }))
    }

    /// Whether a process, this one included, writes to the session.
    ///
    /// # Errors
    /// [`Error::NoId`] and [`Error::Disk`].
    pub fn is_in_use(&self, id: &str) -> Result<bool> {
        let folder = self.folder.folder(checked(id)?)?;
        Ok(Lock::try_acquire(&folder, LOCK)?.is_none())
    }

    /// The id of the session that is meant: an id, the begin of one, or a title; without a name the
    /// newest one that no process writes to.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Ambiguous`], [`Error::NoneFree`] and [`Error::NoneYet`].
    pub fn find(&self, name: &str) -> Result<String> {
        if is_id(name) && self.ids()?.iter().any(|id| id == name) {
            return Ok(name.into());
        }
        let list = self.list()?;
        if name.is_empty() && list.is_empty() {
            return Err(Error::NoneYet);
        }
        if name.is_empty() {
            // A killed owner leaves no lock; but a program that it was starting has it until that
            // runs, some milliseconds later.
            let newest = list.first().filter(|newest| self.lock(&newest.id).is_ok());
            let free = newest.or_else(|| list.iter().find(|session| !session.in_use));
            return free.map(|session| session.id.clone()).ok_or(Error::NoneFree);
        }
        let ids = |is_meant: &dyn Fn(&Summary) -> bool| -> Vec<String> {
            list.iter().filter(|s| is_meant(s)).map(|s| s.id.clone()).collect()
        };
        let mut found = ids(&|summary| summary.title.eq_ignore_ascii_case(name));
        if found.is_empty() {
            found = ids(&|summary| summary.id.starts_with(name));
        }
        match found.as_slice() {
            [] => Err(Error::Missing(name.into())),
            [_] => Ok(found.remove(0)),
            _ => Err(Error::Ambiguous { name: name.into(), ids: found }),
        }
    }

    fn ids(&self) -> Result<Vec<String>> {
        let names = self.folder.list()?.into_iter();
        Ok(names.filter_map(|name| name.into_string().ok()).filter(|name| is_id(name)).collect())
    }

    fn check_exists(&self, id: &str) -> Result<()> {
        let known = self.ids()?.iter().any(|known| known == checked(id).unwrap_or_default());
        if known { Ok(()) } else { Err(checked(id).err().unwrap_or(Error::Missing(id.into()))) }
    }

    /// With the records of the sessions whose past it shares.
    fn tree(&self, id: &str, own: Vec<Record>, mut faults: Vec<String>) -> Result<Tree> {
        let begin = begin_of(id, &own)?;
        let head = own.last().map_or(0, |record| record.id);
        let (mut records, mut visited) = (own, HashSet::from([id.to_string()]));
        let mut fork = begin.as_ref().and_then(|begin| begin.fork.clone());
        let mut limit = u64::MAX;
        while let Some(Fork { session, record }) = fork.take() {
            limit = limit.min(record);
            if !visited.insert(session.clone()) {
                faults.push(format!("session {session} is a fork of itself"));
                break;
            }
            let read = self
                .check_exists(&session)
                .and_then(|()| open(&self.folder.folder(&session)?, FILE));
            match read {
                Ok((_, past, more)) => {
                    fork = begin_of(&session, &past)?.and_then(|begin| begin.fork);
                    records.extend(past.into_iter().filter(|record| record.id <= limit));
                    faults.extend(more);
                }
                Err(error) => faults.push(format!("the past that {id} shares is gone: {error}")),
            }
        }
        let is_unknown = |record: &&Record| !KINDS.contains(&record.kind.as_str());
        match records.iter().filter(is_unknown).count() {
            0 => {}
            count => faults.push(format!(
                "session {id}: {count} records of a newer version stay in its file, unread"
            )),
        }
        records.sort_by_key(|record| record.id);
        records.dedup_by_key(|record| record.id);
        Ok(Tree { id: id.into(), begin, faults, records, head })
    }
}

fn is_id(id: &str) -> bool {
    id.len() == ID_DIGITS && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn checked(id: &str) -> Result<&str> {
    if is_id(id) { Ok(id) } else { Err(Error::NoId(id.into())) }
}

/// Opens a journal and reads it. Damage is set aside, and what is intact is kept.
fn open(folder: &Folder, file: &str) -> Result<Opened> {
    let opened = match Journal::<Box<RawValue>>::open(folder, file) {
        Err(durable::Error::Damaged { .. }) => Journal::salvage(folder, file),
        opened => opened,
    };
    let (journal, update) = opened?;
    let mut faults: Vec<String> = update.quarantined.iter().map(ToString::to_string).collect();
    if update.quarantined.is_some_and(|lost| lost.damage != Damage::Torn) {
        let back = "if a rewind is among what is lost, turns that were taken back may be back";
        faults.push(format!("{file}: {back}"));
    }
    let mut records = vec![];
    for line in update.records {
        match serde_json::from_str::<Record>(line.get()) {
            Ok(record) if record.id > 0 => records.push(record),
            _ => faults.push(format!("{file}: a line that is no record was left out")),
        }
    }
    Ok((journal, records, faults))
}

fn begin_of(id: &str, records: &[Record]) -> Result<Option<Begin>> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Some(record) = records.iter().find(|record| record.kind == BEGIN) else { return Ok(None) };
    match record.read::<Version>() {
        Some(Version { version }) if version > VERSION => {
            Err(Error::Newer { id: id.into(), version })
        }
        _ => Ok(record.read()),
    }
}

impl Summary {
    fn new(id: String) -> Summary {
        let title = String::new();
        Summary { id, title, turns: 0, at: 0, fork_of: None, in_use: false }
    }

    /// What the lines that matter to it say. Others are not parsed: they are the largest.
    fn read(id: String, mut bytes: &[u8]) -> Option<Summary> {
        #[derive(Deserialize)]
        struct Line {
            data: Record,
        }
        let parse = |line: &[u8]| serde_json::from_slice::<Line>(line).ok().map(|line| line.data);
        let mut summary = Summary::new(id);
        let (mut label, mut newest, mut line) = (String::new(), vec![], vec![]);
        // Reading a slice does not fail.
        while bytes.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
            let kind = kind_of(&line);
            let is = |known: &str| kind == known.as_bytes();
            summary.turns += usize::from(is(TURN));
            if is(BEGIN) || is(TITLE) || (is(TURN) && label.is_empty()) {
                let record = parse(&line);
                let record = record.as_ref();
                if let Some(begin) = record.and_then(Record::read::<Begin>) {
                    summary.fork_of = begin.fork.map(|fork| fork.session);
                } else if let Some(turn) = record.and_then(Record::read::<Turn>) {
                    label = turn.label;
                } else if let Some(title) = record.and_then(Record::read::<String>) {
                    summary.title = title;
                }
            }
            std::mem::swap(&mut newest, &mut line);
            line.clear();
        }
        summary.at = parse(&newest).map_or(0, |record| record.at);
        if summary.title.is_empty() {
            summary.title = label;
        }
        (summary.turns > 0 || summary.fork_of.is_some()).then_some(summary)
    }
}

/// The kind of the record in this line, which stands before its data.
fn kind_of(line: &[u8]) -> &[u8] {
    const KEY: &[u8] = br#""kind":""#;
    let head = &line[..line.len().min(MAX_KIND_OFFSET)];
    let Some(key) = head.windows(KEY.len()).position(|part| part == KEY) else { return &[] };
    let rest = &head[key + KEY.len()..];
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or_default();
    &rest[..end]
}
