//! Nodes that wait for each other: which can begin now, which become ready, what would be a cycle.
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for others, or to be begun.
    Waiting,
    /// It has begun, or cannot begin.
    Busy,
    /// It is done, and nothing waits for it any more.
    Done,
}

/// A graph of dependencies. It is kept up to date change by change, so that a question costs the
/// same however many nodes there are.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: HashMap<u64, Node>,
    /// The nodes that wait for a node, also for one that does not exist yet.
    waiting: HashMap<u64, BTreeSet<u64>>,
    /// What can begin: the greatest priority first, then the smallest number.
    ready: BTreeSet<(Reverse<i64>, u64)>,
}

#[derive(Debug)]
struct Node {
    priority: i64,
    after: BTreeSet<u64>,
    phase: Phase,
}

impl Graph {
    /// Adds a node, or replaces it. The caller has asked before whether this makes a
    /// [`cycle`](Graph::cycle).
    pub(crate) fn set(&mut self, id: u64, priority: i64, after: BTreeSet<u64>, phase: Phase) {
        for before in &after {
            self.waiting.entry(*before).or_default().insert(id);
        }
        if let Some(old) = self.nodes.insert(id, Node { priority, after, phase }) {
            self.ready.remove(&(Reverse(old.priority), id));
            for before in old.after.difference(&self.nodes[&id].after) {
                self.waiting.entry(*before).or_default().remove(&id);
            }
        }
        // Only the node itself and those that wait for it can have become ready, or stopped being
        // so.
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

    /// The node of the greatest priority that can begin; of equals, the one with the smallest
    /// number.
    pub(crate) fn next(&self) -> Option<u64> {
        self.ready.first().map(|(_, id)| *id)
    }

    /// Which of these are not done.
    pub(crate) fn not_done<'a>(&self, ids: impl IntoIterator<Item = &'a u64>) -> Vec<u64> {
        ids.into_iter().filter(|id| !self.is_done(**id)).copied().collect()
    }

    /// What could begin if this were done.
    pub(crate) fn freed_by(&self, id: u64) -> Vec<u64> {
        let waits_for_it_alone = |other: &&u64| {
            self.nodes.get(other).is_some_and(|node| {
                node.phase == Phase::Waiting && self.not_done(&node.after) == [id]
            })
        };
        self.waiting.get(&id).into_iter().flatten().filter(waits_for_it_alone).copied().collect()
    }

    /// The path on which a node would wait for itself if it waited for these: from the node and
    /// back to it.
    pub(crate) fn cycle(&self, id: u64, after: &BTreeSet<u64>) -> Option<Vec<u64>> {
        let mut unvisited: Vec<u64> = after.iter().copied().collect();
        let mut reached_from: HashMap<u64, u64> =
            unvisited.iter().map(|before| (*before, id)).collect();
        while let Some(current) = unvisited.pop() {
            if current == id {
                let mut path = vec![id];
                let mut step = reached_from[&id];
                while step != id {
                    path.push(step);
                    step = reached_from[&step];
                }
                path.push(id);
                path.reverse();
                return Some(path);
            }
            let Some(node) = self.nodes.get(&current) else { continue };
            for before in &node.after {
                if !reached_from.contains_key(before) {
                    reached_from.insert(*before, current);
                    unvisited.push(*before);
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
    fn the_greatest_priority_comes_first_and_only_when_it_waits_for_nothing() {
        let mut graph = Graph::default();
        graph.set(1, 0, [].into(), Phase::Waiting);
        graph.set(2, 0, [].into(), Phase::Waiting);
        graph.set(3, 5, [1, 2].into(), Phase::Waiting);
        assert_eq!((graph.next(), graph.not_done(&[1, 2])), (Some(1), vec![1, 2]));
        graph.set(1, 0, [].into(), Phase::Done);
        assert_eq!((graph.next(), graph.freed_by(2)), (Some(2), vec![3]));
        graph.set(2, 0, [].into(), Phase::Busy);
        assert_eq!(graph.next(), None);
        graph.set(2, 0, [].into(), Phase::Done);
        assert_eq!(graph.next(), Some(3));
        // A node that was done is opened again: the nodes after it wait again.
        graph.set(1, 0, [].into(), Phase::Waiting);
        assert_eq!(graph.next(), Some(1));
        graph.set(3, 5, [].into(), Phase::Waiting);
        assert_eq!((graph.next(), graph.freed_by(1)), (Some(3), vec![]));
    }

    #[test]
    fn a_cycle_is_shown_from_end_to_end() {
        let mut graph = Graph::default();
        for id in 1..=4 {
            graph.set(id, 0, (id > 1).then(|| id - 1).into_iter().collect(), Phase::Waiting);
        }
        assert_eq!(graph.cycle(1, &[4].into()), Some(vec![1, 4, 3, 2, 1]));
        assert_eq!(graph.cycle(2, &[2].into()), Some(vec![2, 2]));
        assert_eq!(graph.cycle(4, &[1, 2].into()), None);
    }

    #[test]
    fn a_node_that_waits_for_an_unknown_one_is_not_ready() {
        let mut graph = Graph::default();
        graph.set(1, 0, [7].into(), Phase::Waiting);
        assert_eq!(graph.next(), None);
        graph.set(7, 0, [].into(), Phase::Done);
        assert_eq!(graph.next(), Some(1));
    }
}
