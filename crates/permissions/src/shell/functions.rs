//! Which functions call which, to find fork bombs that are spread over several.
use std::collections::{HashMap, HashSet};

/// How many calls are remembered.
const MAX_CALLS: usize = 200;

#[derive(Default)]
pub(super) struct Functions {
    /// The calls without arguments, of each function: whom, and whether as a process of its own.
    calls: HashMap<String, Vec<(String, bool)>>,
    count: usize,
}

impl Functions {
    pub(super) fn call(&mut self, function: &str, calls: &str, is_spawned: bool) {
        self.count += 1;
        if self.count <= MAX_CALLS {
            self.calls.entry(function.into()).or_default().push((calls.into(), is_spawned));
        }
    }

    /// Whether a function starts itself at least twice, also by way of others, as processes.
    pub(super) fn have_bomb(&self) -> bool {
        self.calls.iter().any(|(function, calls)| {
            let back = calls.iter().filter(|(name, _)| self.reaches(name, function));
            let spawned: Vec<bool> = back.map(|(_, is_spawned)| *is_spawned).collect();
            spawned.len() > 1 && spawned.contains(&true)
        })
    }

    fn reaches(&self, from: &str, to: &str) -> bool {
        let mut known = HashSet::new();
        let mut todo = vec![from];
        while let Some(name) = todo.pop() {
            if name == to {
                return true;
            }
            if known.insert(name) {
                let calls = self.calls.get(name).into_iter().flatten();
                todo.extend(calls.map(|(name, _)| name.as_str()));
            }
        }
        false
    }
}
