use crate::{LetterId, MAX_DELIVERIES};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How often letters are delivered together before the one that is to blame is looked for.
const MAX_DELIVERIES_TOGETHER: u32 = 2;
/// How often a letter is given up alone at least before it becomes a dead letter: one turn can fail
/// for any reason.
const MIN_GIVEN_UP_ALONE: u32 = 2;

/// How a letter was delivered so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deliveries {
    /// How often.
    pub count: u32,
    /// How many letters the reader had before it after the last one.
    pub together: usize,
    /// How often it was given up alone before that.
    pub alone: u32,
}

impl Deliveries {
    /// How many letters were given up together after the last delivery, when the reader still has
    /// so many before it.
    fn given_up(self, held: usize) -> usize {
        self.together.saturating_sub(held).max(1)
    }

    /// How often it was given up alone, the last time included.
    fn given_up_alone(self, held: usize) -> u32 {
        self.alone + u32::from(self.count > 0 && self.given_up(held) == 1)
    }
}

/// The letters of one mailbox that are not settled, and how each was delivered so far: what a
/// [`Transport`](crate::Transport) decides by. It reads no clock and no storage.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Unsettled(pub BTreeMap<LetterId, Deliveries>);

impl Unsettled {
    /// How many of these letters the reader has before it.
    pub fn held<'a>(&'a self, in_flight: &'a BTreeSet<LetterId>) -> Vec<LetterId> {
        self.0.keys().filter(|id| in_flight.contains(id)).copied().collect()
    }

    /// Notes that these letters are delivered once more, while the reader still has the others
    /// before it.
    pub fn deliver(&mut self, ids: &[LetterId], others: &[LetterId]) {
        for id in ids {
            if let Some(deliveries) = self.0.get_mut(id) {
                deliveries.alone = deliveries.given_up_alone(others.len());
                deliveries.count += 1;
            }
        }
        for id in ids.iter().chain(others) {
            if let Some(deliveries) = self.0.get_mut(id) {
                deliveries.together = ids.len() + others.len();
            }
        }
    }

    /// The letters to be delivered now, and the dead letters.
    ///
    /// One letter can make every turn fail, and those beside it are not to blame. So letters that
    /// were delivered together and given up again and again are delivered in smaller and smaller
    /// parts, and nothing else meanwhile: what is sound gets acknowledged, and in the end a letter
    /// that was given up alone is a dead letter.
    pub fn due(&self, in_flight: &BTreeSet<LetterId>) -> (Vec<LetterId>, Vec<LetterId>) {
        let (mut fresh, mut suspects, mut dead) = (vec![], vec![], vec![]);
        let held = self.held(in_flight).len();
        for (id, deliveries) in &self.0 {
            let count = deliveries.count;
            if in_flight.contains(id) {
                if count > MAX_DELIVERIES_TOGETHER {
                    return (vec![], vec![]);
                }
            } else if count < MAX_DELIVERIES_TOGETHER {
                fresh.push(*id);
            } else if count >= MAX_DELIVERIES
                && deliveries.given_up(held) == 1
                && deliveries.given_up_alone(held) >= MIN_GIVEN_UP_ALONE
            {
                dead.push(*id);
            } else {
                suspects.push((*id, deliveries.given_up(held)));
            }
        }
        let Some((_, given_up)) = suspects.first() else { return (fresh, dead) };
        let part = (given_up / 2).max(1);
        (suspects.iter().take(part).map(|(id, _)| *id).collect(), dead)
    }
}
