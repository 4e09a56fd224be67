//! Choosing the model: from the environment and `.env`, by rules that can be read in one place.
use rungs_core::{
    Error, Result,
    client::{Auth, Endpoint, Format, Secret},
};
use rungs_files::{ConfigError, read_config};
use std::{
    cell::Cell,
    collections::HashMap,
    ffi::OsString,
    io::{self, Read},
    path::Path,
};

/// Asked for when nothing else is named: the everyday model of the Anthropic API.
const DEFAULT_MODEL: &str = "claude-sonnet-5-5";

/// Who will answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A real model.
    Live(Box<Endpoint>),
    /// The rehearsal, in this format.
    Rehearsal(Format),
}

/// The environment over `.env`: what is set in the environment wins, whatever its name. Nothing is
/// ever set in the process.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    environment: HashMap<String, String>,
    file: HashMap<String, String>,
}

impl crate::Stage {
    /// A setting of the person's: an environment variable, else a line of `.env`. Secrets are to be
    /// had only here, since they are erased from the environment.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.named(name)
    }

    /// The keys that this program knows. What a lesson writes to disk must not hold them.
    pub fn keys(&self) -> Vec<Secret> {
        self.settings.keys()
    }
}

impl Settings {
    /// Reads the environment and, where it exists, this `.env` file.
    ///
    /// # Errors
    /// [`Error::Config`] with the number, never the text, of a line that can't be read: it may hold
    /// a key.
    pub(crate) fn load(dotenv: &Path) -> Result<Self> {
        let text = match read_config(dotenv) {
            Err(error) if error.is_missing => String::new(),
            text => text.map_err(Error::config)?,
        };
        let file = pairs(&text).map_err(|line| {
            let why = "this line can't be read; a line is KEY=value, and a value with spaces, #, \
                       quotes or backslashes stands in single quotes";
            Error::config(ConfigError::new(dotenv, Some(line), why))
        })?;
        // What is no text becomes some that no setting takes, so that its variable is named.
        let text = |os: OsString| os.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(k, v)| (text(k), text(v))).collect();
        Ok(Settings { environment, file })
    }

    /// The first of `keys` that is set and not blank: in the environment, else in the file.
    fn get(&self, keys: &[&'static str]) -> Option<&str> {
        self.find(keys).map(|(_, value)| value)
    }

    /// The value of this name, if it is set and not blank.
    pub(crate) fn named(&self, name: &str) -> Option<String> {
        let mut values =
            [&self.environment, &self.file].into_iter().filter_map(|from| from.get(name));
        values.find(|value| !value.trim().is_empty()).map(|value| value.trim().to_string())
    }

    fn find(&self, keys: &[&'static str]) -> Option<(&'static str, &str)> {
        [&self.environment, &self.file].into_iter().find_map(|from| {
            let set = keys.iter().filter_map(|key| Some((*key, from.get(*key)?.trim())));
            set.into_iter().find(|(_, value)| !value.is_empty())
        })
    }

    /// All keys that are set, also those of providers that were not chosen.
    pub(crate) fn keys(&self) -> Vec<Secret> {
        let names = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY", "LLM_API_KEY"];
        let from = [&self.environment, &self.file];
        let set = from.iter().flat_map(|from| names.iter().filter_map(|name| from.get(*name)));
        set.map(|key| Secret::new(key.trim())).collect()
    }

    /// The names of the variables that commands get although they would be withheld:
    /// `RUNGS_COMMAND_ENV`, separated by commas or blanks.
    pub(crate) fn passed_variables(&self) -> Vec<&str> {
        let names = self.get(&["RUNGS_COMMAND_ENV"]).unwrap_or_default();
        names.split([',', ' ']).filter(|name| !name.is_empty()).collect()
    }

    /// Who will answer, by these rules: `RUNGS_PROVIDER` forces one; else a key of Anthropic, then
    /// one of the OpenAI format, then a base URL alone (a proxy or local server without keys); with
    /// nothing set, the rehearsal.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the variable and what it wants.
    pub(crate) fn choose(&self) -> Result<Choice> {
        let anthropic_key = self.get(&["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"]);
        let openai_key = self.get(&["OPENAI_API_KEY", "LLM_API_KEY"]);
        let openai_url = self.get(&["OPENAI_BASE_URL", "LLM_API_BASE"]);
        match self.get(&["RUNGS_PROVIDER"]) {
            Some("anthropic") if anthropic_key.or(self.get(&["ANTHROPIC_BASE_URL"])).is_none() => {
                Err(Error::setting(
                    "ANTHROPIC_API_KEY",
                    "RUNGS_PROVIDER=anthropic needs it (or ANTHROPIC_AUTH_TOKEN)",
                ))
            }
            Some("anthropic") => self.anthropic(),
            Some("openai") if openai_key.or(openai_url).is_none() => Err(Error::setting(
                "OPENAI_API_KEY",
                "RUNGS_PROVIDER=openai needs it (or LLM_API_KEY)",
            )),
            Some("openai") => self.openai(),
            Some("ollama") => self.ollama(),
            Some("offline") => Ok(Choice::Rehearsal(Format::Anthropic)),
            Some("offline-openai") => Ok(Choice::Rehearsal(Format::OpenAi)),
            Some(other) => Err(Error::setting(
                "RUNGS_PROVIDER",
                format!(
                    "there is no `{other}`; it is one of anthropic, openai, ollama, offline, \
                     offline-openai"
                ),
            )),
            None if anthropic_key.is_some() => self.anthropic(),
            None if openai_key.is_some() => self.openai(),
            None if self.get(&["ANTHROPIC_BASE_URL"]).is_some() => self.anthropic(),
            None if openai_url.is_some() => self.openai(),
            None => Ok(Choice::Rehearsal(Format::Anthropic)),
        }
    }

    fn anthropic(&self) -> Result<Choice> {
        let url = self
            .get(&["ANTHROPIC_BASE_URL"])
            .unwrap_or("https://api.anthropic.com")
            .trim_end_matches('/');
        let url = url.strip_suffix("/messages").unwrap_or(url);
        let model =
            self.get(&["MODEL_ID", "ANTHROPIC_MODEL", "LLM_MODEL"]).unwrap_or(DEFAULT_MODEL);
        // Some write the version into the URL, as the OpenAI format wants it.
        let mut endpoint =
            Endpoint::new(Format::Anthropic, url.strip_suffix("/v1").unwrap_or(url), model);
        let key = self.find(&["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"]);
        endpoint.auth = match key {
            Some(("ANTHROPIC_API_KEY", key)) => Auth::ApiKey(Secret::new(key)),
            Some((_, token)) => Auth::Bearer(Secret::new(token)),
            None => Auth::None,
        };
        endpoint.key_variable = Some(key.map_or("ANTHROPIC_API_KEY", |(name, _)| name));
        if let Some(version) = self.get(&["ANTHROPIC_VERSION"]) {
            endpoint.version = version.into();
        }
        self.live(endpoint)
    }

    fn openai(&self) -> Result<Choice> {
        let url =
            self.get(&["OPENAI_BASE_URL", "LLM_API_BASE"]).unwrap_or("https://api.openai.com/v1");
        let model = self.get(&["MODEL_ID", "LLM_MODEL"]).ok_or_else(|| {
            Error::setting(
                "MODEL_ID",
                format!("name the model to ask {url} for: there is no safe default in this format"),
            )
        })?;
        let url = url.trim_end_matches('/');
        let mut endpoint = Endpoint::new(
            Format::OpenAi,
            url.strip_suffix("/chat/completions").unwrap_or(url),
            model,
        );
        endpoint.key_variable = Some("OPENAI_API_KEY");
        if let Some((name, key)) = self.find(&["OPENAI_API_KEY", "LLM_API_KEY"]) {
            endpoint.auth = Auth::Bearer(Secret::new(key));
            endpoint.key_variable = Some(name);
        }
        self.live(endpoint)
    }

    fn ollama(&self) -> Result<Choice> {
        let model = self.get(&["MODEL_ID", "LLM_MODEL"]).ok_or_else(|| {
            Error::setting(
                "MODEL_ID",
                "RUNGS_PROVIDER=ollama needs the name of a pulled model (`ollama list` shows them)",
            )
        })?;
        self.live(Endpoint::new(Format::OpenAi, "http://localhost:11434/v1", model))
    }

    fn live(&self, mut endpoint: Endpoint) -> Result<Choice> {
        if let Some(tokens) = self.get(&["MAX_TOKENS"]) {
            let tokens: u32 =
                tokens.replace('_', "").parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                    Error::setting(
                        "MAX_TOKENS",
                        format!("`{tokens}` is no number of tokens from 1 on"),
                    )
                })?;
            endpoint.max_tokens = Some(tokens);
        }
        Ok(Choice::Live(Box::new(endpoint)))
    }
}

/// Stands for `$` while `.env` is parsed: the parser would put variables in the place of `$name`,
/// and a key may hold any character. No text holds this one.
const DOLLAR: &str = "\u{ffff}";

/// The pairs of a `.env` file, or the number of the line that can't be read.
fn pairs(text: &str) -> Result<HashMap<String, String>, usize> {
    let (text, number) = (text.replace('$', DOLLAR) + "\n", Cell::new(0));
    let mut pairs = HashMap::new();
    for pair in dotenvy::from_read_iter(LineByLine { text: text.as_bytes(), number: &number }) {
        match pair {
            Ok((key, value)) => pairs.insert(key, value.replace(DOLLAR, "$")),
            // A value in quotes may have several lines; the first one is named.
            Err(dotenvy::Error::LineParse(entry, _)) => {
                return Err(number.get() + 1 - entry.lines().count().max(1));
            }
            Err(_) => return Err(number.get()),
        };
    }
    Ok(pairs)
}

/// A text that is read line by line, so that the number of the newest line is known.
struct LineByLine<'a> {
    text: &'a [u8],
    number: &'a Cell<usize>,
}

impl Read for LineByLine<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = self.text.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let (now, later) = self.text.split_at(line.len().min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.number.set(self.number.get() + usize::from(now.ends_with(b"\n")));
        self.text = later;
        Ok(now.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Settings {
        let environment = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Settings { environment, file: HashMap::new() }
    }

    fn live(pairs: &[(&str, &str)]) -> Endpoint {
        match settings(pairs.iter().copied()).choose() {
            Ok(Choice::Live(endpoint)) => *endpoint,
            other => panic!("{other:?}"),
        }
    }

    fn refused(pairs: &[(&str, &str)]) -> String {
        settings(pairs.iter().copied()).choose().unwrap_err().to_string()
    }

    #[test]
    fn nothing_set_is_the_rehearsal() {
        assert_eq!(Settings::default().choose().unwrap(), Choice::Rehearsal(Format::Anthropic));
        let blank = settings([("ANTHROPIC_API_KEY", "  "), ("RUNGS_PROVIDER", "")]);
        assert_eq!(blank.choose().unwrap(), Choice::Rehearsal(Format::Anthropic));
        let offline = settings([("ANTHROPIC_API_KEY", "k"), ("RUNGS_PROVIDER", "offline-openai")]);
        assert_eq!(offline.choose().unwrap(), Choice::Rehearsal(Format::OpenAi));
    }

    #[test]
    fn keys_models_and_urls() {
        let e = live(&[("ANTHROPIC_API_KEY", "k"), ("OPENAI_API_KEY", "o")]);
        assert_eq!(
            (&*e.base_url, &*e.model, e.auth),
            ("https://api.anthropic.com", DEFAULT_MODEL, key("k"))
        );
        let e = live(&[
            ("ANTHROPIC_AUTH_TOKEN", "t"),
            ("ANTHROPIC_BASE_URL", "http://x/v1/"),
            ("LLM_MODEL", "m"),
        ]);
        assert_eq!(
            (&*e.base_url, &*e.model, e.auth),
            ("http://x", "m", Auth::Bearer(Secret::new("t")))
        );
        let e = live(&[
            ("LLM_API_KEY", "k"),
            ("LLM_API_BASE", "http://x/v1/"),
            ("LLM_MODEL", "a"),
            ("MODEL_ID", "b"),
        ]);
        assert_eq!((e.format, &*e.base_url, &*e.model), (Format::OpenAi, "http://x/v1", "b"));
        let e = live(&[("ANTHROPIC_BASE_URL", "http://127.0.0.1:4000"), ("MAX_TOKENS", "64_000")]);
        assert_eq!((e.auth, e.max_tokens), (Auth::None, Some(64_000)));
        let e =
            live(&[("RUNGS_PROVIDER", "ollama"), ("MODEL_ID", "qwen3"), ("OPENAI_API_KEY", "k")]);
        assert_eq!((&*e.base_url, e.auth), ("http://localhost:11434/v1", Auth::None));
    }

    fn key(k: &str) -> Auth {
        Auth::ApiKey(Secret::new(k))
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(refused(&[("OPENAI_API_KEY", "k")]).starts_with("MODEL_ID: name the model"));
        assert!(refused(&[("RUNGS_PROVIDER", "ollama")]).starts_with("MODEL_ID: "));
        assert!(refused(&[("RUNGS_PROVIDER", "anthropic")]).starts_with("ANTHROPIC_API_KEY: "));
        assert!(refused(&[("RUNGS_PROVIDER", "openai")]).starts_with("OPENAI_API_KEY: "));
        assert!(
            refused(&[("RUNGS_PROVIDER", "gemini")]).contains("one of anthropic, openai, ollama")
        );
        assert!(
            refused(&[("ANTHROPIC_API_KEY", "k"), ("MAX_TOKENS", "many")])
                .starts_with("MAX_TOKENS: `many`")
        );
    }

    /// What this `.env` file gives for `KEY`, or the error.
    fn dotenv(text: impl AsRef<[u8]>) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".env");
        std::fs::write(&file, text).unwrap();
        match Settings::load(&file) {
            Ok(settings) => Ok(settings.file.get("KEY").cloned().unwrap_or_default()),
            Err(error @ Error::Config { .. }) => {
                Err(error.to_string().replace(&file.display().to_string(), ".env"))
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_value_is_taken_as_it_is_written() {
        for (text, value) in [
            ("KEY=ab$cd$1ef", "ab$cd$1ef"),
            ("KEY=\"ab$cd ${HOME}\"", "ab$cd ${HOME}"),
            ("KEY='ab$cd\\$'", "ab$cd\\$"),
            ("KEY=$", "$"),
            ("HOME=x\nKEY=$HOME", "$HOME"),
            ("KEY=x ", "x"),
            ("KEY=x # a remark", "x"),
            ("KEY=a#b", "a#b"),
            ("export KEY = \"a # b\"\r\n", "a # b"),
            ("\u{feff}KEY=x", "x"),
            ("KEY=\"one\ntwo\"\nOTHER=x\n", "one\ntwo"),
            ("KEY=", ""),
            ("# KEY=x\n\n", ""),
            ("", ""),
        ] {
            assert_eq!(dotenv(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_broken_line_is_named_by_number_and_never_shown() {
        for (text, line) in [
            ("# mine\nMODEL_ID=x\nKEY=sk-secret with spaces\n", 3),
            ("KEY=x\nno pair with secret\nOTHER=y\n", 2),
            ("a\na\na\n", 1),
            ("A=x\nKEY=\"secret\nOTHER=secret\n", 2),
            ("A=\"1\n2\"\n\nKEY='secret", 4),
            ("A=x\n\nKEY=sk\\secret\n", 3),
            ("KEY=\"a\\$secret\"", 1),
            ("A=x\n=secret", 2),
        ] {
            let error = dotenv(text).unwrap_err();
            assert!(
                error.starts_with(&format!(".env:{line}: this line can't be read; ")),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
        let not_utf8 = dotenv(b"A=x\nKEY=secret\xff\n").unwrap_err();
        assert!(not_utf8.starts_with(".env:2: it is not UTF-8 from byte 11 "), "{not_utf8}");
    }

    #[test]
    fn the_environment_wins_over_the_file_whatever_its_name() {
        let file = HashMap::from([("ONE".to_string(), "file".to_string())]);
        let mut settings = Settings { file, ..Settings::default() };
        assert_eq!(settings.get(&["ONE", "OTHER"]), Some("file"));
        // The file's key does not come before the environment's token.
        settings.environment.insert("OTHER".into(), "set".into());
        assert_eq!(settings.get(&["ONE", "OTHER"]), Some("set"));
        assert!(Settings::load(Path::new("/none")).is_ok());
    }
}
