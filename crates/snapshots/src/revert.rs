//! Undoing steps.
use crate::{
    Change, Error, State, Step, Store,
    objects::{self, Found},
    store::{hashes, resolve, state_now},
};
use rungs_files::{Root, Target};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

/// Which steps are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The newest one.
    Newest,
    /// This one. Its files go back to what they were before it, past whatever came after it.
    Step(u64),
    /// All of this turn and of the turns after it.
    Turn(u64),
}

/// What is to be undone, as a model or a person asks for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Selection {
    /// Undoes this step: its files go back to what they were before it, whatever came after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Undoes all steps of this turn and of the turns after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
    /// Only this file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_path: Option<String>,
}

impl Selection {
    /// What a person types: nothing, `3`, `step 3` or `turn 3`, and a file.
    ///
    /// # Errors
    /// [`Error::NoNumber`].
    pub fn parse(words: &str) -> Result<Selection, Error> {
        let words = words.trim();
        let split = |text: &'_ str| -> (String, String) {
            let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            (word.into(), rest.trim().into())
        };
        let (word, rest) = split(words);
        let is_named = matches!(&*word, "step" | "turn");
        let (number, file) = if is_named { split(&rest) } else { (word.clone(), rest) };
        let file_path = |file: &str| Some(file.to_owned()).filter(|file| !file.is_empty());
        match number.parse().ok().filter(|number| *number > 0) {
            None if is_named || number.parse::<i64>().is_ok() => {
                Err(Error::NoNumber(words.to_owned()))
            }
            None => Ok(Selection { file_path: file_path(words), ..Selection::default() }),
            turn if word == "turn" => {
                Ok(Selection { turn, file_path: file_path(&file), step: None })
            }
            step => Ok(Selection { step, file_path: file_path(&file), turn: None }),
        }
    }

    /// The steps.
    ///
    /// # Errors
    /// [`Error::StepAndTurn`].
    pub fn range(&self) -> Result<Range, Error> {
        match (self.step, self.turn) {
            (None, None) => Ok(Range::Newest),
            (Some(step), None) => Ok(Range::Step(step)),
            (None, Some(turn)) => Ok(Range::Turn(turn)),
            _ => Err(Error::StepAndTurn),
        }
    }
}

/// What would undo a range of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What becomes of each file.
    pub undos: Vec<Undo>,
}

/// A file that goes back to what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Undo {
    /// The file, absolute and free of links.
    pub path: PathBuf,
    /// The step before which it was so.
    pub step: u64,
    /// What it was.
    pub to: State,
    /// The later steps that are undone with it.
    pub later: Vec<u64>,
    /// What the newest of these steps has left, as far as that is known.
    left: Option<State>,
}

/// What has become of one file; as text, a line that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverted {
    /// The file, relative to the root if it is below it.
    pub path: PathBuf,
    /// The step before which it was so.
    pub step: u64,
    /// The later steps that were undone with it.
    pub later: Vec<u64>,
    /// What became of it.
    pub end: Outcome,
    /// Whether something else had changed it since the newest step.
    pub is_changed_since: bool,
}

/// What has become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it was.
    Restored,
    /// It is gone, as it did not exist.
    Removed,
    /// It was so already.
    Unchanged,
    /// It was left alone, since it is not below the root, or has become a link.
    Elsewhere,
}

impl Reverted {
    /// Whether the file was changed.
    pub fn is_done(&self) -> bool {
        matches!(self.end, Outcome::Restored | Outcome::Removed)
    }
}

impl fmt::Display for Reverted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, step) = (self.path.display(), self.step);
        match self.end {
            Outcome::Restored => write!(f, "{path} is as it was before step {step}")?,
            Outcome::Removed => write!(f, "{path} is removed, as before step {step}")?,
            Outcome::Unchanged => write!(f, "{path} was as before step {step} already")?,
            Outcome::Elsewhere => {
                write!(f, "{path} is left alone: it is in another directory, or a link")?
            }
        }
        if self.is_done() && !self.later.is_empty() {
            let later: Vec<String> = self.later.iter().map(u64::to_string).collect();
            let steps = if later.len() == 1 { "step" } else { "steps" };
            write!(f, "; undone with it: {steps} {}", later.join(", "))?;
        }
        if self.is_done() && self.is_changed_since {
            f.write_str("; something else had changed it since its last step")?;
        }
        Ok(())
    }
}

impl Plan {
    /// The files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.undos.iter().map(|undo| undo.path.clone()).collect()
    }
}

impl Undo {
    /// Whether something else has changed the file since the newest step.
    fn is_changed_since(&self, now: &State) -> bool {
        self.left.as_ref().is_some_and(|left| !left.is_same(now))
    }
}

impl Store {
    /// What would undo these steps, or of one file alone: then the newest step is the newest of
    /// that file. `below` is the step that does it, which does not count.
    ///
    /// # Errors
    /// [`Error::Nothing`], [`Error::NoStep`], [`Error::Pruned`], [`Error::Disk`].
    pub fn plan(
        &self,
        range: Range,
        file: Option<&Path>,
        below: Option<u64>,
    ) -> Result<Plan, Error> {
        let steps = self.steps()?;
        let wanted =
            |change: &&Change| change.is_changed() && file.is_none_or(|file| file == change.path);
        let mut earlier = steps.iter().filter(|step| below.is_none_or(|below| step.id < below));
        let counted: Vec<&Step> = earlier
            .clone()
            .filter(|step| step.files.iter().any(|change| wanted(&change)))
            .collect();
        let first = match range {
            Range::Newest => counted.last().map(|step| step.id),
            Range::Step(id) => match earlier.any(|step| step.id == id) {
                true => counted.iter().find(|step| step.id == id).map(|step| step.id),
                false => return Err(Error::NoStep(id)),
            },
            Range::Turn(turn) => counted.iter().find(|step| step.turn >= turn).map(|step| step.id),
        };
        let first = first.ok_or_else(|| Error::Nothing(nothing(range, file, counted.last())))?;
        let is_start = |step: &Step| match range {
            Range::Turn(_) => step.id >= first,
            _ => step.id == first,
        };
        let mut undos: BTreeMap<&Path, Undo> = BTreeMap::new();
        for step in counted.iter().filter(|step| step.id >= first) {
            for change in step.files.iter().filter(wanted) {
                if let Some(undo) = undos.get_mut(&*change.path) {
                    undo.later.push(step.id);
                    undo.left.clone_from(&change.after);
                } else if is_start(step) {
                    if let (Range::Turn(turn), Some(pruned)) = (range, change.pruned_turn)
                        && pruned >= turn
                    {
                        let (path, step) = (change.path.clone(), step.id);
                        return Err(Error::Pruned { path, turn, step });
                    }
                    undos.insert(
                        &change.path,
                        Undo {
                            path: change.path.clone(),
                            step: step.id,
                            to: change.before.clone(),
                            later: vec![],
                            left: change.after.clone(),
                        },
                    );
                }
            }
        }
        Ok(Plan { undos: undos.into_values().collect() })
    }

    /// Puts all files of a plan back, or none. Returns what has become of each.
    ///
    /// # Errors
    /// [`Error::NotKept`] when a file is in a state that no step holds, [`Error::Damaged`], and
    /// those of [`Root::replace_all`]. Then nothing has changed.
    pub fn revert(&self, root: &Root, plan: &Plan) -> Result<Vec<Reverted>, Error> {
        let steps = self.read()?.steps.clone();
        let held: HashSet<&str> = hashes(&steps).collect();
        let (mut reverted, mut targets, mut missing) = (vec![], vec![], vec![]);
        for undo in &plan.undos {
            let mut report = |end, is_changed_since| {
                let path = undo.path.strip_prefix(root.path()).unwrap_or(&undo.path).into();
                let (step, later) = (undo.step, undo.later.clone());
                reverted.push(Reverted { path, step, later, end, is_changed_since });
            };
            // The guard decides, as for any other writer.
            let Some(relative) = resolve(root, &undo.path)
                .ok()
                .filter(|relative| root.path().join(relative) == undo.path)
            else {
                report(Outcome::Elsewhere, false);
                continue;
            };
            let Found { state, stamp, .. } = objects::look(root, &relative)?;
            let is_changed_since = undo.is_changed_since(&state);
            if state.is_same(&undo.to) {
                report(Outcome::Unchanged, is_changed_since);
                continue;
            }
            if let State::File { hash, .. } = &state
                && !held.contains(hash.as_str())
            {
                return Err(Error::NotKept { path: undo.path.clone() });
            }
            let mut target = Target { path: relative.clone(), old: stamp, ..Target::default() };
            match &undo.to {
                State::File { hash, mode, .. } => {
                    target.content = Some(objects::fetch(self.folder(), hash)?);
                    target.mode = Some(*mode);
                    report(Outcome::Restored, is_changed_since);
                }
                State::Absent { missing_folders } => {
                    missing.push((relative, *missing_folders));
                    report(Outcome::Removed, is_changed_since);
                }
                State::Unknown => {
                    let path = undo.path.display();
                    return Err(Error::Nothing(format!("what {path} was is not known")));
                }
            }
            targets.push(target);
        }
        root.replace_all(&targets)
            .map_err(|error| Error::Path { path: error.path.into(), kind: error.kind })?;
        for (relative, missing_folders) in missing {
            root.remove_empty_folders(&relative, missing_folders);
        }
        Ok(reverted)
    }

    /// The files whose newest step has left them otherwise than they are now: something else has
    /// changed them.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn changed_since(&self, root: &Root) -> Result<Vec<PathBuf>, Error> {
        let steps = self.steps()?;
        let files = steps.iter().flat_map(|step| &step.files);
        let left: BTreeMap<&Path, Option<&State>> =
            files.map(|change| (&*change.path, change.after.as_ref())).collect();
        let below = left.into_iter().filter(|(path, _)| path.starts_with(root.path()));
        let changed = below.filter(|(path, left)| {
            left.is_some_and(|left| {
                *left != State::Unknown && !left.is_same(&state_now(root, path).0)
            })
        });
        Ok(changed.map(|(path, _)| path.to_path_buf()).collect())
    }
}

fn nothing(range: Range, file: Option<&Path>, newest: Option<&&Step>) -> String {
    let of = file.map(|file| format!(" of {}", file.display())).unwrap_or_default();
    match range {
        Range::Newest => format!("there are no snapshots{of}"),
        Range::Step(id) => format!("step {id} changed nothing{of}"),
        Range::Turn(turn) => match newest {
            Some(step) => format!(
                "there is no turn {turn}; the newest that changed something{of} is turn {}",
                step.turn
            ),
            None => format!("no turn has changed anything{of}"),
        },
    }
}
