use serde_json::Value;

/// How a hook has ended.
#[derive(Debug)]
enum End {
    /// By itself.
    Exited { status: i32, out: String, err: String },
    /// By a signal of this number, such as 9.
    Killed { signal: i32 },
    /// It was stopped, since it took too long.
    TimedOut,
}

/// What becomes of what it was asked about.
#[derive(Debug, PartialEq)]
enum Answer {
    GoOn,
    /// The call runs; the person reads this line.
    Warn(String),
    /// Does not happen; the model reads this reason.
    Block(String),
}

/// The answer of a hook that has ended like this. `guards`: whether it stands before something that
/// it could forbid, such as a call of a tool.
fn answer(end: &End, guards: bool) -> Answer {
    let failure = match end {
        End::Exited { status: 0, out, .. } if !out.starts_with('{') => return Answer::GoOn,
        End::Exited { status: 0, out, .. } => match decision(out) {
            Ok(answer) => return answer,
            Err(why) => why,
        },
        End::Exited { status: 2, err, .. } => return block(err),
        End::Exited { status, err, .. } => format!("it ended with status {status}: {err}"),
        End::Killed { signal } => format!("it was killed by signal {signal}"),
        End::TimedOut => "it took too long".into(),
    };
    let line = format!("the hook failed: {failure}");
    if guards { Answer::Block(line) } else { Answer::Warn(line) }
}

/// The answer that stands in what a hook has printed; or why there is none.
fn decision(out: &str) -> Result<Answer, String> {
    let json: Value = serde_json::from_str(out).map_err(|why| why.to_string())?;
    match &json["decision"] {
        Value::Null => Ok(Answer::GoOn),
        decision if decision == "approve" => Ok(Answer::GoOn),
        decision if decision == "block" => Ok(block(json["reason"].as_str().unwrap_or_default())),
        other => Err(format!("there is no decision {other}")),
    }
}

fn block(reason: &str) -> Answer {
    Answer::Block(if reason.is_empty() { "no reason given".into() } else { reason.into() })
}
