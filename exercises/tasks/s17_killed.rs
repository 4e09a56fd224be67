// # Killed at every step
//
// drill, level 3, 35 minutes. Read: examples/s17_session_management.rs, restored.rs
//
// A program works through a list of calls and keeps a journal. The drill kills it: before a line of
// the journal is written, after each byte of it, before a call runs, right after it. Then another
// program reads the journal, says what is known of each call, goes on with those that have not
// begun, and is killed as well.
//
// Write both halves. `work` runs the calls in their order, each of them once, and writes into the
// journal whatever `known` will need. When `append` or `run` returns `Err(Killed)`, the program is
// dead, and `work` returns it at once. `known` reads the whole journal and says of one call:
//
// - `Ended`: it has run.
// - `NotBegun`: it has not run, and may be made without a look.
// - `Unknown`: it may have run. That is allowed for the one call at which a program was killed.
//
// A wrong answer lets a model make a call twice, or leave it out. Mind what a torn line can look
// like, and what stands behind it later.
//
// Run: cargo run -p rungs-exercises -- run s17_killed

/// The program has been killed.
#[derive(Debug)]
struct Killed;

/// What the program runs on.
trait Machine {
    /// Writes a line into the journal, with a newline behind it, and flushes it.
    fn append(&mut self, line: &str) -> Result<(), Killed>;
    /// Runs a call.
    fn run(&mut self, call: &str) -> Result<(), Killed>;
}

/// What is known of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(dead_code)]
enum Known {
    Ended,
    NotBegun,
    Unknown,
}

/// Runs these calls, one after the other. The journal may hold lines of a program that was killed.
fn work(machine: &mut impl Machine, calls: &[&str]) -> Result<(), Killed> {
    let _ = (machine, calls);
    todo!("run the calls; write down what you will want to know")
}

/// What a journal says about a call.
fn known(journal: &str, call: &str) -> Known {
    let _ = (journal, call);
    todo!("find out whether it has begun, and whether it has ended")
}

mod tests {
    use super::*;

    const CALLS: [&str; 4] = ["build", "build all", "push", "end"];

    /// A machine that kills its program after so many steps.
    #[derive(Default)]
    struct Simulated {
        journal: String,
        ran: Vec<String>,
        steps_left: usize,
    }

    impl Simulated {
        fn step(&mut self) -> Result<(), Killed> {
            self.steps_left = self.steps_left.checked_sub(1).ok_or(Killed)?;
            Ok(())
        }
    }

    impl Machine for Simulated {
        fn append(&mut self, line: &str) -> Result<(), Killed> {
            for letter in line.chars().chain(['\n']) {
                self.step()?;
                self.journal.push(letter);
            }
            self.step()
        }

        fn run(&mut self, call: &str) -> Result<(), Killed> {
            self.step()?;
            self.ran.push(call.into());
            self.step()
        }
    }

    /// Compares what is known with what has happened, after so many deaths.
    fn check(machine: &Simulated, deaths: usize, told: &str) {
        let (journal, ran) = (&machine.journal, &machine.ran);
        let mut unknown = 0;
        for call in CALLS {
            let count = ran.iter().filter(|other| *other == call).count();
            assert!(count <= 1, "{told}: `{call}` has run {count} times: {ran:?}\n{journal}");
            match known(journal, call) {
                Known::Ended => {
                    let why = "you say that it has run, and it has not: nobody will ever make it";
                    assert_eq!(count, 1, "{told}: `{call}`: {why}. The journal:\n{journal}");
                }
                Known::NotBegun => {
                    let why = "you say that it has not run, and it has: it will be made twice";
                    assert_eq!(count, 0, "{told}: `{call}`: {why}. The journal:\n{journal}");
                }
                Known::Unknown => unknown += 1,
            }
        }
        assert!(
            unknown <= deaths,
            "{told}: {unknown} calls are unknown, and a program dies at one:\n{journal}"
        );
    }

    /// Runs what has not begun, until it is done or killed after so many steps.
    fn go_on(machine: &mut Simulated, steps: usize) -> bool {
        let left: Vec<&str> = CALLS
            .into_iter()
            .filter(|call| known(&machine.journal, call) == Known::NotBegun)
            .collect();
        machine.steps_left = steps;
        work(machine, &left).is_ok()
    }

    #[test]
    fn without_a_death_all_calls_run_in_their_order() {
        let mut machine = Simulated::default();
        assert!(go_on(&mut machine, usize::MAX), "nobody was killed");
        assert_eq!(machine.ran, CALLS, "each call once, in their order");
        check(&machine, 0, "nobody was killed");
    }

    #[test]
    fn a_program_that_is_killed_leaves_the_truth() {
        for steps in 0.. {
            let mut machine = Simulated::default();
            let is_done = go_on(&mut machine, steps);
            check(&machine, 1, &format!("killed after {steps} steps"));
            if is_done {
                break;
            }
        }
    }

    #[test]
    fn a_second_program_goes_on_and_is_killed_as_well() {
        for first in 0.. {
            let mut begun = Simulated::default();
            let is_done = go_on(&mut begun, first);
            for second in 0.. {
                let (journal, ran) = (begun.journal.clone(), begun.ran.clone());
                let mut machine = Simulated { journal, ran, steps_left: 0 };
                let is_done = go_on(&mut machine, second);
                let told = format!("killed after {first} steps, and its successor after {second}");
                check(&machine, 2, &told);
                if is_done {
                    break;
                }
            }
            if is_done {
                break;
            }
        }
    }
}
