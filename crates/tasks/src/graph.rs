//! Things that wait for each other: what can begin now, what becomes free, what would be a circle.
//!
//! Everything is kept up to date change by change, so that asking costs nothing however many there are:
//!
//! ```
//! use rungs_tasks::{Graph, Phase};
//!
//! let mut graph = Graph::default();
//! graph.set(1, 0, [], Phase::Waiting);
//! graph.set(2, 9, [1], Phase::Waiting);
//! assert_eq!(graph.next(), Some(1));
//! assert_eq!(graph.freed_by(1), [2]);
//! assert_eq!(graph.circle(1, [2]), Some(vec![1, 2, 1]));
//! graph.set(1, 0, [], Phase::Done);
//! assert_eq!(graph.next(), Some(2));
//! ```
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It waits: for others, or to be begun.
    Waiting,
    /// It has begun, or can't be.
    Busy,
    /// It is done: what waits for it need wait no longer.
    Done,
}

/// Things by number, and what they wait for.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<u64, Node>,
    /// Who waits for a thing; also for one that is not there yet.
    waiting: HashMap<u64, BTreeSet<u64>>,
    /// What can begin, the most urgent first, then the oldest.
    ready: BTreeSet<(Reverse<i64>, u64)>,
}

#[derive(Debug)]
struct Node {
    priority: i64,
    after: BTreeSet<u64>,
    phase: Phase,
}

impl Graph {
    /// Adds a thing, or changes all that is known of it. Whether it makes a [`circle`](Graph::circle) is asked before.
    pub fn set(
        &mut self,
        id: u64,
        priority: i64,
        after: impl IntoIterator<Item = u64>,
        phase: Phase,
    ) {
        let after: BTreeSet<u64> = after.into_iter().collect();
        for before in &after {
            self.waiting.entry(*before).or_default().insert(id);
        }
        if let Some(old) = self.nodes.insert(id, Node { priority, after, phase }) {
            self.ready.remove(&(Reverse(old.priority), id));
            for before in old.after.difference(&self.nodes[&id].after) {
                self.waiting.entry(*before).or_default().remove(&id);
            }
        }
        // Only the thing itself and those that wait for it can have become ready, or stopped being so.
        let mut touched = vec![id];
        touched.extend(self.waiting.get(&id).into_iter().flatten());
        for id in touched {
            let Some(node) = self.nodes.get(&id) else { continue };
            let key = (Reverse(node.priority), id);
            if node.phase == Phase::Waiting && node.after.iter().all(|before| self.is_done(*before))
            {
                self.ready.insert(key);
            } else {
                self.ready.remove(&key);
            }
        }
    }

    fn is_done(&self, id: u64) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.phase == Phase::Done)
    }

    /// The most urgent thing that can begin; of equals, the one with the smallest number.
    pub fn next(&self) -> Option<u64> {
        self.ready.first().map(|(_, id)| *id)
    }

    /// Which of these are not done.
    pub fn open<'a>(&self, ids: impl IntoIterator<Item = &'a u64>) -> Vec<u64> {
        ids.into_iter().filter(|id| !self.is_done(**id)).copied().collect()
    }

    /// What could begin if this were done.
    pub fn freed_by(&self, id: u64) -> Vec<u64> {
        let waits_for_it_alone = |other: &&u64| {
            self.nodes
                .get(other)
                .is_some_and(|node| node.phase == Phase::Waiting && self.open(&node.after) == [id])
        };
        self.waiting.get(&id).into_iter().flatten().filter(waits_for_it_alone).copied().collect()
    }

    /// The way on which a thing would come to wait for itself, if it waited for these: from it and back to it.
    pub fn circle(&self, id: u64, after: impl IntoIterator<Item = u64>) -> Option<Vec<u64>> {
        let mut look: Vec<u64> = after.into_iter().collect();
        let mut from: HashMap<u64, u64> = look.iter().map(|before| (*before, id)).collect();
        while let Some(at) = look.pop() {
            if at == id {
                let mut way = vec![id, from[&id]];
                while let Some(last) = way.last().copied().filter(|last| *last != id) {
                    way.push(from[&last]);
                }
                way.reverse();
                return Some(way);
            }
            for before in self.nodes.get(&at).into_iter().flat_map(|node| &node.after) {
                if !from.contains_key(before) {
                    from.insert(*before, at);
                    look.push(*before);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_things_come_first_and_only_when_nothing_holds_them() {
        let mut graph = Graph::default();
        graph.set(1, 0, [], Phase::Waiting);
        graph.set(2, 0, [], Phase::Waiting);
        graph.set(3, 5, [1, 2], Phase::Waiting);
        assert_eq!((graph.next(), graph.open(&[1, 2])), (Some(1), vec![1, 2]));
        graph.set(1, 0, [], Phase::Done);
        assert_eq!((graph.next(), graph.freed_by(2)), (Some(2), vec![3]));
        graph.set(2, 0, [], Phase::Busy);
        assert_eq!(graph.next(), None);
        graph.set(2, 0, [], Phase::Done);
        assert_eq!(graph.next(), Some(3));
        // What was done is taken up again: who waits for it waits again.
        graph.set(1, 0, [], Phase::Waiting);
        assert_eq!(graph.next(), Some(1));
        graph.set(3, 5, [], Phase::Waiting);
        assert_eq!((graph.next(), graph.freed_by(1)), (Some(3), vec![]));
    }

    #[test]
    fn a_circle_is_shown_from_end_to_end() {
        let mut graph = Graph::default();
        for id in 1..=4 {
            graph.set(id, 0, (id > 1).then(|| id - 1), Phase::Waiting);
        }
        assert_eq!(graph.circle(1, [4]), Some(vec![1, 4, 3, 2, 1]));
        assert_eq!(graph.circle(2, [2]), Some(vec![2, 2]));
        assert_eq!(graph.circle(4, [1, 2]), None);
    }

    #[test]
    fn what_waits_for_something_unknown_is_not_ready() {
        let mut graph = Graph::default();
        graph.set(1, 0, [7], Phase::Waiting);
        assert_eq!(graph.next(), None);
        graph.set(7, 0, [], Phase::Done);
        assert_eq!(graph.next(), Some(1));
    }
}
