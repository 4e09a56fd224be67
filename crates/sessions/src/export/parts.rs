//! From records to what a person reads.
use super::{Part, diff};
use crate::{
    Tree, Turn,
    conversation::{MESSAGE, RESULT},
    record::{HEAD, TURN},
};
use serde_json::Value;
use std::collections::HashMap;

/// All that happened in this session.
pub(super) fn of(tree: &Tree) -> Vec<Part> {
    let mut reading = Reading { results: results(tree), ..Reading::default() };
    let mut before = 0;
    for record in tree.records() {
        if record.parent != before {
            reading.leave(tree, before, record.parent);
        }
        before = record.id;
        match record.kind.as_str() {
            HEAD => {
                // What comes next is new, even if it was said before.
                reading.left.clear();
                reading.parts.push(Part::Note("What came after this place was taken back.".into()));
            }
            TURN => reading.turn(record.read().as_ref()),
            MESSAGE => reading.message(&record.read().unwrap_or_default(), record.at),
            _ => {}
        }
    }
    reading.parts
}

/// The results of all calls, by the ids of the calls.
fn results(tree: &Tree) -> HashMap<String, Value> {
    let mut results = HashMap::new();
    for record in tree.records() {
        let blocks = match record.kind.as_str() {
            MESSAGE => content(&record.read().unwrap_or_default()),
            RESULT => vec![record.read().unwrap_or_default()],
            _ => continue,
        };
        for block in blocks {
            if let Some(id) = block["tool_use_id"].as_str() {
                results.insert(id.to_string(), block);
            }
        }
    }
    results
}

fn content(message: &Value) -> Vec<Value> {
    message["content"].as_array().cloned().unwrap_or_default()
}

#[derive(Default)]
struct Reading {
    parts: Vec<Part>,
    results: HashMap<String, Value>,
    /// The blocks of the branch that was left: those that the new branch begins with were shown.
    left: Vec<Value>,
    /// Where the newest turn began.
    turn_before: Option<u64>,
    turns: usize,
    replies: usize,
}

impl Reading {
    /// The next record does not follow the last one: another branch begins at `to`.
    fn leave(&mut self, tree: &Tree, from: u64, to: u64) {
        self.left.clear();
        let mut next = from;
        while next > to
            && let Some(record) = tree.get(next)
        {
            if record.kind == MESSAGE {
                self.left.extend(content(&record.read().unwrap_or_default()));
            }
            next = record.parent.min(record.id - 1);
        }
    }

    fn turn(&mut self, turn: Option<&Turn>) {
        let Some(turn) = turn.filter(|turn| self.turn_before != Some(turn.before)) else { return };
        self.turn_before = Some(turn.before);
        self.turns += 1;
        self.parts.push(Part::Heading(format!("Turn {}: {turn}", self.turns)));
    }

    fn message(&mut self, message: &Value, at: u64) {
        let mut blocks = content(message);
        blocks.retain(|block| match self.left.iter().position(|left| left == block) {
            Some(place) => {
                self.left.swap_remove(place);
                false
            }
            None => true,
        });
        let is_reply = message["role"] == "assistant" && !blocks.is_empty();
        self.replies += usize::from(is_reply);
        let time = date(at);
        let who = match is_reply {
            true => format!("Model, reply to request {} ({time})", self.replies),
            false => format!("You ({time})"),
        };
        for block in blocks {
            self.block(&block, &who);
        }
    }

    fn block(&mut self, block: &Value, who: &str) {
        let text = || block["text"].as_str().unwrap_or_default().to_string();
        let part = match block["type"].as_str().unwrap_or_default() {
            "text" if block["$origin"].is_object() => {
                let name = block["$origin"]["name"].as_str().unwrap_or_default();
                Part::Folded { title: format!("Inserted by the harness: {name}"), text: text() }
            }
            "text" => Part::Said { who: who.into(), text: text() },
            "thinking" => {
                let text = block["thinking"].as_str().unwrap_or_default().to_string();
                Part::Folded { title: "Thinking".into(), text }
            }
            "tool_use" => self.call(block),
            // It stands with its call.
            "tool_result" => return,
            "image" => match image(block) {
                Some((media_type, data)) => Part::Image(media_type, data),
                None => json(block),
            },
            _ => json(block),
        };
        self.parts.push(part);
    }

    fn call(&self, block: &Value) -> Part {
        let result = self.results.get(block["id"].as_str().unwrap_or_default());
        let (mut texts, mut images) = (vec![], vec![]);
        for part in result.map(content).unwrap_or_default() {
            match (part["text"].as_str(), image(&part)) {
                (Some(text), _) => texts.push(text.to_string()),
                (None, Some(image)) => images.push(image),
                (None, None) => texts.push(format!("{part:#}")),
            }
        }
        Part::Call {
            name: block["name"].as_str().unwrap_or_default().into(),
            input: format!("{:#}", block["input"]),
            diff: diff::of(&block["input"]),
            result: result.map(|result| (texts.join("\n"), result["is_error"] == true)),
            images,
        }
    }
}

fn json(block: &Value) -> Part {
    let kind = block["type"].as_str().unwrap_or("block");
    Part::Folded { title: format!("A block of type {kind}"), text: format!("{block:#}") }
}

/// A picture that can stand in a page: nothing but base64 text of a known kind.
fn image(block: &Value) -> Option<(String, String)> {
    let media_type = block["source"]["media_type"].as_str()?;
    let data = block["source"]["data"].as_str()?;
    let is_base64 = data.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let known = ["image/png", "image/jpeg", "image/gif", "image/webp"].contains(&media_type);
    (known && is_base64).then(|| (media_type.into(), data.into()))
}

/// A time in seconds since 1970, such as `2026-11-26 07:00:00 UTC`.
pub(super) fn date(at: u64) -> String {
    let (days, seconds) = (at / 86_400, at % 86_400);
    // Howard Hinnant's `civil_from_days`: years begin in March, so that leap days end them.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        for (at, date) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_676_399, "2026-11-26 06:59:59 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
        ] {
            assert_eq!(super::date(at), date);
        }
    }
}
