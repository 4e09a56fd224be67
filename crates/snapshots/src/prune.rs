//! Removing old snapshots.
use crate::{
    Error, State, Step, Store, objects,
    store::{Steps, hashes},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    time::Duration,
};

/// How much is kept.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How old a snapshot may be.
    pub max_age: Duration,
    /// How much room all contents may take, in bytes.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// 30 days and 200 MB.
    fn default() -> Self {
        Limits { max_age: Duration::from_secs(30 * 24 * 60 * 60), max_bytes: 200_000_000 }
    }
}

/// The bytes of all contents that are kept.
pub(crate) fn size(steps: &Steps) -> u64 {
    contents(steps).into_values().map(|(size, _)| size).sum()
}

/// Of each content its size, and how many snapshots share it.
fn contents(steps: &Steps) -> HashMap<String, (u64, usize)> {
    let mut contents = HashMap::new();
    for file in steps.values().flat_map(|step| &step.files) {
        if let State::File { hash, size, .. } = &file.before {
            contents.entry(hash.clone()).or_insert((*size, 0)).1 += 1;
        }
    }
    contents
}

impl Store {
    /// Removes the snapshots that are too old, and then the oldest until the rest fits; never the
    /// newest one of a file. Also those of calls that changed nothing.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn prune(&self, now: u64) -> Result<(), Error> {
        let limits = self.limits().clone();
        self.change(|locked, steps, folder| {
            let (kept, removed) = pruned(steps, &limits, now);
            if kept == *steps {
                return Ok(());
            }
            // First the journal: a step never names a content that is gone.
            locked.compact(kept.values())?;
            *steps = kept;
            let needed: HashSet<&str> = hashes(steps).collect();
            objects::remove_all_but(folder, |hash| needed.contains(hash))?;
            if removed > 0 {
                self.notice(format!(
                    "removed {removed} snapshots that were older than {} days or beyond {} MB",
                    limits.max_age.as_secs() / (24 * 60 * 60),
                    limits.max_bytes / 1_000_000
                ));
            }
            Ok(())
        })
    }
}

/// The steps that stay, and how many snapshots of files do not.
fn pruned(steps: &Steps, limits: &Limits, now: u64) -> (Steps, usize) {
    let mut kept = steps.clone();
    // A step that is still open may yet change its files.
    kept.retain(|_, step| step.end == crate::End::Open || step.changed().next().is_some());
    let newest: BTreeMap<PathBuf, u64> = kept
        .values()
        .flat_map(|step| step.files.iter().map(|file| (file.path.clone(), step.id)))
        .collect();
    let mut contents = contents(&kept);
    let mut size = size(&kept);
    let mut removed = 0;
    // Of each file, the turn of the newest snapshot that was removed.
    let mut pruned_turns: HashMap<PathBuf, u64> = HashMap::new();
    for step in kept.values_mut() {
        let is_old = now.saturating_sub(step.at) > limits.max_age.as_secs();
        let Step { id, turn, files, .. } = step;
        files.retain_mut(|file| {
            let is_newest = newest.get(&file.path) == Some(id);
            if is_newest || !(is_old || size > limits.max_bytes) {
                if let Some(turn) = pruned_turns.remove(&file.path) {
                    file.pruned_turn = Some(turn);
                }
                return true;
            }
            if let State::File { hash, .. } = &file.before
                && let Some((bytes, shared)) = contents.get_mut(hash)
            {
                *shared -= 1;
                if *shared == 0 {
                    size -= *bytes;
                }
            }
            removed += 1;
            pruned_turns.insert(file.path.clone(), *turn);
            false
        });
    }
    kept.retain(|_, step| !step.files.is_empty());
    (kept, removed)
}
