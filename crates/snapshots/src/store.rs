//! The steps, on disk.
use crate::{
    Author, Change, End, Error, Limits, State, Step,
    objects::{self, Found},
};
use durable::{Folder, Journal, LockedJournal, Update};
use rungs_files::{PathErrorKind, Root};
use std::{
    collections::{BTreeMap, HashSet},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

const JOURNAL: &str = "steps.jsonl";

/// The steps and the contents in one folder. Several processes can share it; clones are the same
/// store.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    pub(crate) folder: Folder,
    pub(crate) limits: Limits,
    inner: Mutex<Inner>,
    notices: Mutex<Vec<String>>,
}

pub(crate) struct Inner {
    journal: Journal<Step>,
    pub(crate) steps: Steps,
}

pub(crate) type Steps = BTreeMap<u64, Step>;

/// The content of a file, none where there was no file.
pub(crate) type Content = Option<Vec<u8>>;

/// A step that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Its number.
    pub id: u64,
    /// Its turn.
    pub turn: u64,
    before: Vec<Content>,
}

/// What a step has made of one file.
#[derive(Debug, PartialEq)]
pub struct Contents {
    /// The file, absolute and free of links.
    pub path: PathBuf,
    /// What it held before.
    pub before: Content,
    /// What it holds now.
    pub after: Content,
}

impl Store {
    /// Opens the store in this folder of a program's state, removes what is beyond the limits, and
    /// looks for steps that were cut off. [`take_notices`](Store::take_notices) says what was
    /// found.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn open(folder: &Folder, limits: Limits) -> Result<Store, Error> {
        let opened = match Journal::open(folder, JOURNAL) {
            Err(durable::Error::Damaged { .. }) => Journal::salvage(folder, JOURNAL),
            other => other,
        };
        let (journal, update) = opened?;
        let notices = update.quarantined.iter().map(ToString::to_string).collect();
        let steps = update.records.into_iter().map(|step: Step| (step.id, step)).collect();
        let store = Store(Arc::new(Shared {
            folder: folder.clone(),
            limits,
            inner: Mutex::new(Inner { journal, steps }),
            notices: Mutex::new(notices),
        }));
        store.find_interrupted()?;
        store.prune(now())?;
        Ok(store)
    }

    /// What a person should know, a line each. Each is returned once.
    pub fn take_notices(&self) -> Vec<String> {
        mem::take(&mut *self.0.notices.lock().unwrap())
    }

    pub(crate) fn notice(&self, line: String) {
        self.0.notices.lock().unwrap().push(line);
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.0.folder
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Keeps what these files are, before they are changed. `turn` is that to which the step
    /// belongs; none stands for a new one. When this returns, all of it is on the disk.
    ///
    /// # Errors
    /// When a path leads out of the root, or what is there cannot be kept: then it must not be
    /// changed. A file that has steps of another root is left out: it is changed from there.
    pub fn begin(
        &self,
        root: &Root,
        turn: Option<u64>,
        author: &Author,
        paths: &[PathBuf],
    ) -> Result<Begun, Error> {
        let mut files: Vec<Change> = vec![];
        let mut before = vec![];
        for path in paths {
            let relative = match resolve(root, path) {
                // It was changed in another directory, and cannot be from here.
                Err(_) if self.is_of_another_root(root, path)? => continue,
                resolved => resolved?,
            };
            let path = root.path().join(&relative);
            if files.iter().any(|file| file.path == path) {
                continue;
            }
            let Found { state, content, .. } = objects::look(root, &relative)?;
            files.push(Change { path, before: state, after: None, pruned_turn: None });
            before.push(content);
        }
        self.change(|locked, steps, folder| {
            let held: HashSet<&str> = hashes(steps).collect();
            for (file, content) in files.iter().zip(&before) {
                // One that no step names may not be on the disk yet, whoever has written it; and
                // somebody may have removed one that a step names.
                if let (State::File { hash, .. }, Some(content)) = (&file.before, content)
                    && !(held.contains(hash.as_str()) && objects::fetch(folder, hash).is_ok())
                {
                    objects::keep(folder, hash, content)?;
                }
            }
            // Steps that changed nothing give their numbers to those that come next.
            let newest = steps.values().rev().find(|step| step.changed().next().is_some());
            let newest = newest.map_or((0, 0), |step| (step.id, step.turn));
            let (id, turn) = (newest.0 + 1, turn.unwrap_or(newest.1 + 1));
            let step = Step {
                id,
                turn,
                at: now(),
                author: author.clone(),
                root: root.path().into(),
                files,
                end: End::Open,
            };
            locked.append(&step)?;
            steps.insert(id, step);
            Ok(Begun { id, turn, before })
        })
    }

    fn is_of_another_root(&self, root: &Root, path: &Path) -> Result<bool, Error> {
        let steps = &self.read()?.steps;
        let mut others = steps.values().filter(|step| step.root != root.path());
        Ok(others.any(|step| step.files.iter().any(|file| file.path == path)))
    }

    /// Records what the files of a step are now. Returns the contents of those that are not as they
    /// were before it.
    ///
    /// # Errors
    /// [`Error::Disk`]; the step counts as interrupted then.
    pub fn end(&self, root: &Root, begun: Begun) -> Result<Vec<Contents>, Error> {
        let step = self.read()?.steps.get(&begun.id).cloned();
        let mut step = step.ok_or(Error::NoStep(begun.id))?;
        let mut contents = vec![];
        for (file, before) in step.files.iter_mut().zip(begun.before) {
            let (state, after) = state_now(root, &file.path);
            file.after = Some(state);
            if file.is_changed() {
                contents.push(Contents { path: file.path.clone(), before, after });
            }
        }
        step.end = End::Recorded;
        self.put(step)?;
        if self.size() > self.limits().max_bytes {
            self.prune(now())?;
        }
        Ok(contents)
    }

    /// The steps, the oldest first.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn steps(&self) -> Result<Vec<Step>, Error> {
        Ok(self.read()?.steps.values().cloned().collect())
    }

    /// What can be undone, of one file or of all, by turn and the newest first, at most so many
    /// steps; and which files something else has changed since their newest step.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn listing(&self, root: &Root, file: Option<&Path>, max: usize) -> Result<String, Error> {
        let is_wanted = |path: &PathBuf| file.is_none_or(|file| file == path);
        let mut steps = self.steps()?;
        steps.retain(|step| step.changed().any(|change| is_wanted(&change.path)));
        let mut changed = self.changed_since(root)?;
        changed.retain(is_wanted);
        Ok(crate::listing::by_turn(&steps, max, now()) + &crate::listing::changed(&changed, root))
    }

    /// Looks for steps that a killed program, or a call that was dropped, has left without an end.
    fn find_interrupted(&self) -> Result<(), Error> {
        let steps = self.steps()?;
        for mut step in steps.into_iter().filter(|step| step.end == End::Open) {
            let root = Root::open(&step.root);
            for file in &mut step.files {
                let state = root.as_ref().map(|root| state_now(root, &file.path).0);
                file.after = Some(state.unwrap_or(State::Unknown));
            }
            step.end = End::Interrupted;
            let changed = step.changed().count();
            if changed > 0 {
                self.notice(format!(
                    "step {} ({}) was cut off: of its files, {changed} of {} are not as before; \
                     reverting step {} puts them back",
                    step.id,
                    step.in_words(),
                    step.files.len(),
                    step.id
                ));
            }
            self.put(step)?;
        }
        Ok(())
    }

    fn put(&self, step: Step) -> Result<(), Error> {
        self.change(|locked, steps, _| {
            locked.append(&step)?;
            steps.insert(step.id, step);
            Ok(())
        })
    }

    /// The bytes of all contents that are kept.
    fn size(&self) -> u64 {
        crate::prune::size(&self.0.inner.lock().unwrap().steps)
    }

    /// The steps with what other processes have added.
    pub(crate) fn read(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        let mut guard = self.0.inner.lock().unwrap();
        let Inner { journal, steps } = &mut *guard;
        if let Some((mut locked, update)) = journal.lock_if_new()? {
            self.take_in(&mut locked, steps, update)?;
        }
        Ok(guard)
    }

    /// Changes the steps, with everybody else locked out.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut LockedJournal<'_, Step>, &mut Steps, &Folder) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Inner { journal, steps } = &mut *self.0.inner.lock().unwrap();
        let (mut locked, update) = journal.lock()?;
        self.take_in(&mut locked, steps, update)?;
        change(&mut locked, steps, &self.0.folder)
    }

    fn take_in(
        &self,
        locked: &mut LockedJournal<'_, Step>,
        steps: &mut Steps,
        update: Update<Step>,
    ) -> Result<(), Error> {
        if update.reset {
            steps.clear();
        }
        steps.extend(update.records.into_iter().map(|step| (step.id, step)));
        if let Some(quarantined) = &update.quarantined {
            self.notice(quarantined.to_string());
        }
        if update.rewound {
            locked.compact(steps.values())?;
            self.notice("the list of snapshots was removed or replaced, and was put back".into());
        }
        Ok(())
    }
}

/// The names of the contents that the steps need.
pub(crate) fn hashes(steps: &Steps) -> impl Iterator<Item = &str> {
    steps.values().flat_map(|step| &step.files).filter_map(|file| match &file.before {
        State::File { hash, .. } => Some(hash.as_str()),
        _ => None,
    })
}

/// Where a path really leads, relative to the root.
pub(crate) fn resolve(root: &Root, path: &Path) -> Result<PathBuf, Error> {
    let known = path.strip_prefix(root.path()).ok();
    match path.to_str() {
        Some(text) => {
            root.resolve(text).map_err(|error| Error::Path { path: path.into(), kind: error.kind })
        }
        // A name that is no UTF-8 cannot be asked for by a model; it comes from an earlier step.
        None => match known {
            Some(relative) => Ok(relative.into()),
            None => Err(Error::Path { path: path.into(), kind: PathErrorKind::Outside }),
        },
    }
}

/// What a file is now, and its content; unknown when that cannot be read.
pub(crate) fn state_now(root: &Root, path: &Path) -> (State, Content) {
    let found = path.strip_prefix(root.path()).ok().map(|relative| objects::look(root, relative));
    match found {
        Some(Ok(found)) => (found.state, found.content),
        _ => (State::Unknown, None),
    }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
