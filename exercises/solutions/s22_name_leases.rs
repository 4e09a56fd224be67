use std::collections::BTreeMap;

/// How long a name stays with a process that says nothing more, in seconds.
const LEASE: u64 = 15;

/// The names of a team.
#[derive(Default)]
struct Names {
    /// For each name the token of its process, and the time at which its lease ends.
    holders: BTreeMap<String, (u64, u64)>,
}

impl Names {
    /// Takes a name; whether that worked.
    fn join(&mut self, name: &str, token: u64, now: u64) -> bool {
        let is_others = |(holder, end): &(u64, u64)| *holder != token && now < *end;
        if self.holders.get(name).is_some_and(is_others) {
            return false;
        }
        self.holders.insert(name.into(), (token, now + LEASE));
        true
    }

    /// Renews a lease; false when the name is another process's.
    fn renew(&mut self, name: &str, token: u64, now: u64) -> bool {
        match self.holders.get_mut(name) {
            Some((holder, end)) if *holder == token => {
                *end = now + LEASE;
                true
            }
            _ => false,
        }
    }

    /// Whether this process may acknowledge letters of the name.
    fn may_ack(&self, name: &str, token: u64, _now: u64) -> bool {
        // Not the clock decides, but whether anybody else has the letters.
        self.holders.get(name).is_some_and(|(holder, _)| *holder == token)
    }

    /// Gives a name back.
    fn leave(&mut self, name: &str, token: u64) {
        if self.holders.get(name).is_some_and(|(holder, _)| *holder == token) {
            self.holders.remove(name);
        }
    }
}
