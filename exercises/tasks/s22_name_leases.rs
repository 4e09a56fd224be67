// # A name is a lease
//
// build, level 2, 25 minutes. Read: examples/s22_production_mailbox.rs
//
// Each mailbox has one reader: the process that has the name. Processes die without a word, so a
// name is a lease: it ends by itself unless it is renewed. Write what the server does, without
// looking at `crates/redis/src/names.rs`. The server has one clock, whose time is `now`; a process
// is known by a token that no other has.
//
// - `join` takes a name that is free. For the process that has it already this is a renewal.
// - `renew` makes the lease last for `LEASE` from now on. A process whose lease has ended may still
//   renew it, as long as nobody else has taken the name. Else it has lost it.
// - `may_ack` says whether a process may acknowledge letters of the name: whoever has lost it to
//   another process may not, for these letters are the other one's now.
// - `leave` gives a name back at once. It must not take it from another process.
//
// Run: cargo run -p rungs-exercises -- run s22_name_leases

/// How long a name stays with a process that says nothing more, in seconds.
#[allow(dead_code)]
const LEASE: u64 = 15;

/// The names of a team.
#[derive(Default)]
struct Names {
    // What must be kept for each name?
}

#[allow(unused_variables)]
impl Names {
    /// Takes a name; whether that worked.
    fn join(&mut self, name: &str, token: u64, now: u64) -> bool {
        todo!("take a name that is free")
    }

    /// Renews a lease; false when the name is another process's.
    fn renew(&mut self, name: &str, token: u64, now: u64) -> bool {
        todo!("let the lease last")
    }

    /// Whether this process may acknowledge letters of the name.
    fn may_ack(&self, name: &str, token: u64, now: u64) -> bool {
        todo!("who has lost a name may not")
    }

    /// Gives a name back.
    fn leave(&mut self, name: &str, token: u64) {
        todo!("give it back")
    }
}

mod tests {
    use super::*;

    const OLD: u64 = 11;
    const NEW: u64 = 22;

    fn held() -> Names {
        let mut names = Names::default();
        assert!(names.join("ann", OLD, 100), "the name is free");
        names
    }

    #[test]
    fn a_name_has_one_process() {
        let mut names = held();
        assert!(!names.join("ann", NEW, 101), "two readers of one mailbox do the work twice");
        assert!(names.join("bob", NEW, 101), "another name is another matter");
        assert!(names.join("ann", OLD, 102), "it has the name already");
    }

    #[test]
    fn the_name_of_a_dead_process_is_free_after_the_lease() {
        let mut names = held();
        assert!(!names.join("ann", NEW, 100 + LEASE - 1), "it may only be slow");
        let why = "nothing was heard of it for the whole lease";
        assert!(names.join("ann", NEW, 100 + LEASE), "{why}");
    }

    #[test]
    fn whoever_renews_keeps_the_name() {
        let mut names = held();
        for now in (105..200).step_by(5) {
            assert!(names.renew("ann", OLD, now), "it renews in time");
            assert!(!names.join("ann", NEW, now + LEASE - 1), "at {now} the lease was renewed");
        }
    }

    #[test]
    fn joining_again_is_a_renewal() {
        let mut names = held();
        assert!(names.join("ann", OLD, 110), "it has the name: it may join once more");
        assert!(!names.join("ann", NEW, 100 + LEASE), "the lease ends {LEASE} s after 110");
    }

    #[test]
    fn a_slow_process_finds_that_it_has_lost_the_name() {
        let mut names = held();
        assert!(names.join("ann", NEW, 100 + LEASE), "the old one has slept");
        assert!(!names.renew("ann", OLD, 120), "it must hear that it is no member any more");
        let why = "a renewal that is refused must not lengthen the other one's lease either";
        assert!(names.join("ann", OLD, 100 + 2 * LEASE), "{why}");
    }

    #[test]
    fn who_has_lost_a_name_acknowledges_nothing() {
        let mut names = held();
        assert!(names.may_ack("ann", OLD, 110), "it has the name");
        assert!(!names.may_ack("ann", NEW, 110), "this one has not");
        assert!(names.join("ann", NEW, 100 + LEASE), "the lease of the old one has ended");
        let why = "the new process works on these letters; if the old one acknowledges them now, \
                   and the new one dies, they are lost";
        assert!(!names.may_ack("ann", OLD, 120), "{why}");
        assert!(names.may_ack("ann", NEW, 120), "it has the name");
    }

    #[test]
    fn a_slow_process_whose_name_nobody_has_taken_goes_on() {
        let mut names = held();
        let late = 100 + 3 * LEASE;
        let why = "its work is done, and nobody else has begun it";
        assert!(names.may_ack("ann", OLD, late), "{why}");
        assert!(names.renew("ann", OLD, late), "nobody has taken the name");
        assert!(!names.join("ann", NEW, late + 1), "it has it again");
    }

    #[test]
    fn whoever_leaves_gives_the_name_back_at_once() {
        let mut names = held();
        names.leave("ann", OLD);
        assert!(names.join("ann", NEW, 101), "nobody has to wait for the end of the lease");
        names.leave("ann", OLD);
        let why = "the old process has nothing to give back any more: it would take the name from \
                   the new one";
        assert!(!names.join("ann", OLD, 102), "{why}");
        assert!(names.may_ack("ann", NEW, 102), "{why}");
    }
}
