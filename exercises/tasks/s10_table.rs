// # The table of the protocol
//
// build, level 1, 10 minutes. Read: examples/s10_team_protocols.rs
//
// A request between two members of a team has two sides. Each is in one of four states, and six
// events can happen to it. Write the whole protocol as one function, from this description:
//
// - A side with nothing open may ask. It is then requesting; once the letter is sent, it waits;
//   when the answer comes, nothing is open any more.
// - A side with nothing open may be asked. It is then responding, until it responds.
// - Whoever has something open may run out of time. Then nothing is open.
// - All else is illegal. The error says what happened and in which state, for a model to read:
//   `illegal: Respond in state Idle`.
//
// A `match` with one line for each rule is all it needs. There is no default that lets anything
// through.
//
// Run: cargo run -p rungs-exercises -- run s10_table

use rungs_core::ToolError;

/// Where one side of a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Requesting,
    Waiting,
    Responding,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Ask,
    Sent,
    Answered,
    Asked,
    Respond,
    TimedOut,
}

/// Where this event leads.
fn after(state: State, event: Event) -> Result<State, ToolError> {
    todo!("{event:?} in {state:?}: match on both at once")
}

mod tests {
    use super::*;
    use Event::*;
    use State::*;

    const STATES: [State; 4] = [Idle, Requesting, Waiting, Responding];
    const EVENTS: [Event; 6] = [Ask, Sent, Answered, Asked, Respond, TimedOut];

    fn walk(events: &[Event]) -> Result<State, ToolError> {
        events.iter().try_fold(Idle, |state, event| after(state, *event))
    }

    #[test]
    fn who_asks() {
        assert_eq!(walk(&[Ask]), Ok(Requesting), "the letter is not sent yet");
        assert_eq!(walk(&[Ask, Sent]), Ok(Waiting), "now an answer may come");
        assert_eq!(walk(&[Ask, Sent, Answered]), Ok(Idle), "it came: nothing is open");
    }

    #[test]
    fn who_is_asked() {
        assert_eq!(walk(&[Asked]), Ok(Responding), "it owes an answer");
        assert_eq!(walk(&[Asked, Respond]), Ok(Idle), "it has given it");
    }

    #[test]
    fn time_runs_out() {
        for events in [&[Ask, TimedOut][..], &[Ask, Sent, TimedOut], &[Asked, TimedOut]] {
            assert_eq!(walk(events), Ok(Idle), "{events:?}: nobody may wait for ever");
        }
    }

    #[test]
    fn a_second_answer_is_illegal() {
        let second = walk(&[Asked, Respond, Respond]);
        let message = "illegal: Respond in state Idle";
        let why = "a member that has declined must not agree afterwards; and a model must read why";
        assert_eq!(second, Err(ToolError(message.into())), "{why}");
    }

    #[test]
    fn nothing_else_is_legal() {
        let legal = [
            (Idle, Ask),
            (Requesting, Sent),
            (Waiting, Answered),
            (Idle, Asked),
            (Responding, Respond),
            (Requesting, TimedOut),
            (Waiting, TimedOut),
            (Responding, TimedOut),
        ];
        for state in STATES {
            for event in EVENTS {
                let end = after(state, event);
                if legal.contains(&(state, event)) {
                    assert!(end.is_ok(), "{event:?} in {state:?} is a rule of the description");
                } else {
                    let message = format!("illegal: {event:?} in state {state:?}");
                    let why = "no rule allows this; what no rule allows is refused";
                    assert_eq!(end, Err(ToolError(message)), "{why}");
                }
            }
        }
    }
}
