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
    use {Event::*, State::*};
    match (state, event) {
        (Idle, Ask) => Ok(Requesting),
        (Requesting, Sent) => Ok(Waiting),
        (Waiting, Answered) => Ok(Idle),
        (Idle, Asked) => Ok(Responding),
        (Responding, Respond) => Ok(Idle),
        (Requesting | Waiting | Responding, TimedOut) => Ok(Idle),
        (state, event) => Err(ToolError(format!("illegal: {event:?} in state {state:?}"))),
    }
}
