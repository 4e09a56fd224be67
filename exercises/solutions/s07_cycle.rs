use std::collections::{BTreeMap, BTreeSet};

/// What each task waits for.
type Waits = BTreeMap<u64, BTreeSet<u64>>;

/// The tasks along a cycle that this change would close.
fn cycle(waits: &Waits, id: u64, after: &BTreeSet<u64>) -> Option<Vec<u64>> {
    // What is reached is entered here before it is visited, so each task is visited once.
    let mut reached_from: BTreeMap<u64, u64> = after.iter().map(|next| (*next, id)).collect();
    let mut unvisited: Vec<u64> = after.iter().copied().collect();
    while let Some(current) = unvisited.pop() {
        if current == id {
            return Some(path(&reached_from, id));
        }
        for next in waits.get(&current).into_iter().flatten() {
            if !reached_from.contains_key(next) {
                reached_from.insert(*next, current);
                unvisited.push(*next);
            }
        }
    }
    None
}

/// The way from a task back to itself.
fn path(reached_from: &BTreeMap<u64, u64>, id: u64) -> Vec<u64> {
    let mut path = vec![id];
    let mut step = reached_from[&id];
    while step != id {
        path.push(step);
        step = reached_from[&step];
    }
    path.push(id);
    path.reverse();
    path
}
