//! What happens to a call that no rule decides.
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What becomes of a call. The stricter is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ruling {
    /// It may run.
    Allow,
    /// A person is asked.
    Ask,
    /// It may not run.
    Deny,
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ruling::Allow => "allow",
            Ruling::Ask => "ask",
            Ruling::Deny => "deny",
        })
    }
}

/// How much is asked. Deny rules bind in every mode, and so do the rules that ask: no mode turns
/// them into "allow".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Reading is allowed, the rest asks.
    #[default]
    Default,
    /// Changes of files below the working directory are allowed too.
    AcceptEdits,
    /// Only reading: changes of files are denied, also where a rule allows them.
    Plan,
    /// As `Default`; the caller lets a model decide what would ask, and asks where it cannot.
    Auto,
    /// What would ask is denied.
    DontAsk,
    /// What no rule decides is allowed.
    Bypass,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 6] =
        [Mode::Default, Mode::AcceptEdits, Mode::Plan, Mode::Auto, Mode::DontAsk, Mode::Bypass];

    /// Its name, as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Default => "default",
            Mode::AcceptEdits => "accept-edits",
            Mode::Plan => "plan",
            Mode::Auto => "auto",
            Mode::DontAsk => "dont-ask",
            Mode::Bypass => "bypass",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = String;

    /// Reads a mode's name, also in the spelling of Claude Code (`acceptEdits`,
    /// `bypassPermissions`).
    fn from_str(text: &str) -> Result<Mode, String> {
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        Ok(match plain.to_ascii_lowercase().as_str() {
            "default" | "manual" => Mode::Default,
            "acceptedits" => Mode::AcceptEdits,
            "plan" => Mode::Plan,
            "auto" => Mode::Auto,
            "dontask" => Mode::DontAsk,
            "bypass" | "bypasspermissions" => Mode::Bypass,
            _ => {
                let names = Mode::ALL.map(Mode::name).join(", ");
                return Err(format!("there is no mode {text:?} (there are: {names})"));
            }
        })
    }
}
