//! Agents, told apart.
use crate::paint::{AGENTS, Colour};
use std::sync::Mutex;
use unicode_width::UnicodeWidthStr;

/// The agents that have said something, in this order.
#[derive(Default)]
pub(crate) struct Speakers(Mutex<Vec<String>>);

/// How the lines of an agent begin.
pub(crate) struct Speaker {
    /// As far to the right as it is far from the main agent.
    pub indent: String,
    /// Nothing for the main agent, else its name without the main agent's.
    pub name: String,
    pub colour: Colour,
}

impl Speakers {
    /// The agent of this name, such as `main/writer`. One that speaks again looks as before.
    pub(crate) fn get(&self, name: &str) -> Speaker {
        let Some((_, short)) = name.split_once('/') else {
            return Speaker { indent: String::new(), name: String::new(), colour: Colour::Prompt };
        };
        let mut known = self.0.lock().unwrap();
        let place = known.iter().position(|other| other == short).unwrap_or_else(|| {
            known.push(short.into());
            known.len() - 1
        });
        let indent = "  ".repeat(1 + short.matches('/').count());
        Speaker { indent, name: short.into(), colour: Colour::Agent(place % AGENTS.len()) }
    }
}

impl Speaker {
    /// How many columns stand before its text.
    pub(crate) fn width(&self) -> usize {
        match self.name.width() {
            0 => 0,
            name => self.indent.len() + name + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_have_a_name_a_place_and_a_colour_of_their_own() {
        let speakers = Speakers::default();
        let look = |name: &str| {
            let speaker = speakers.get(name);
            (speaker.indent.len(), speaker.name.clone(), speaker.colour, speaker.width())
        };
        assert_eq!(look("main"), (0, String::new(), Colour::Prompt, 0));
        assert_eq!(look("main/ann"), (2, "ann".into(), Colour::Agent(0), 6));
        assert_eq!(look("main/ann/log-2"), (4, "ann/log-2".into(), Colour::Agent(1), 14));
        assert_eq!(look("main/ann"), (2, "ann".into(), Colour::Agent(0), 6));
    }
}
