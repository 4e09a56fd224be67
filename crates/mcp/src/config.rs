//! Which servers there are: `config/mcp.yaml`, the person's own, and `.mcp.json` of a project.
use crate::names::{hash, server_fault};
use rungs_files::{ConfigError, parse_yaml, read_config};
use rungs_process::Environment;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// How long a call may be silent unless the configuration says otherwise. Progress of the server
/// and the time of a person's answer begin it anew.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The tokens that the schemas of all tools may cost in each request, before they are deferred.
const DEFAULT_MAX_SCHEMA_TOKENS: usize = 10_000;

/// What is configured.
#[derive(Debug, Default)]
pub struct Config {
    /// The servers by name, which is also their order.
    pub servers: BTreeMap<String, ServerConfig>,
    /// The tokens that schemas may cost in each request, before they are deferred.
    pub max_schema_tokens: usize,
    /// What was left out, and why: a line each.
    pub left_out: Vec<String>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerConfig {
    /// How it is reached.
    pub endpoint: Endpoint,
    /// How long it may be silent within a call.
    pub timeout: Duration,
    /// Whether its hints, such as that a tool only reads, are believed.
    pub trusted: bool,
    /// Whether it comes from the project, so that it is started only once a person has agreed.
    pub is_projects: bool,
}

/// How a server is reached. Values may hold `${NAME}` and `${NAME:-default}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Endpoint {
    /// A program on this machine, spoken to by its standard input and output.
    Stdio {
        /// The program.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables beside those that all commands get.
        env: BTreeMap<String, String>,
    },
    /// Streamable HTTP.
    Http {
        /// Where.
        url: String,
        /// Headers of every request.
        headers: BTreeMap<String, String>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    #[serde(default)]
    servers: BTreeMap<String, Entry>,
    max_schema_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct Project {
    #[serde(rename = "mcpServers", default)]
    servers: BTreeMap<String, ProjectEntry>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Entry {
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    trusted: bool,
    #[serde(default)]
    disabled: bool,
    timeout_seconds: Option<u64>,
}

/// As [`Entry`], for a file that other programs read too, with fields of their own.
#[derive(Deserialize)]
struct ProjectEntry {
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

impl Config {
    /// Reads both files; one that is missing configures nothing. The person's own wins where both
    /// name a server.
    ///
    /// # Errors
    /// Names file and line when the person's own file is wrong. What is wrong in the project's is
    /// left out, and said.
    pub fn load(own: &Path, project: &Path) -> Result<Config, ConfigError> {
        let mut config =
            Config { max_schema_tokens: DEFAULT_MAX_SCHEMA_TOKENS, ..Config::default() };
        if let Some(text) = read_if_there(own)? {
            let Own { servers, max_schema_tokens } = match text.trim() {
                "" => Own { servers: BTreeMap::new(), max_schema_tokens: None },
                _ => parse_yaml(own, &text)?,
            };
            config.max_schema_tokens = max_schema_tokens.unwrap_or(DEFAULT_MAX_SCHEMA_TOKENS);
            for (name, entry) in servers {
                if !entry.disabled {
                    let server = server(&name, entry, false);
                    let server = server.map_err(|why| ConfigError::new(own, None, why))?;
                    config.servers.insert(name, server);
                }
            }
        }
        if let Err(error) = config.add_project(project) {
            config.left_out.push(error.to_string());
        }
        Ok(config)
    }

    fn add_project(&mut self, file: &Path) -> Result<(), ConfigError> {
        let Some(text) = read_if_there(file)? else { return Ok(()) };
        for (name, entry) in parse_yaml::<Project>(file, &text)?.servers {
            let ProjectEntry { command, args, env, url, headers } = entry;
            let entry = Entry { command, args, env, url, headers, ..Entry::default() };
            let file = file.display();
            match server(&name, entry, true) {
                _ if self.servers.contains_key(&name) => {
                    self.left_out.push(format!("{file}: {name} is configured by yourself already"))
                }
                Ok(server) => {
                    self.servers.insert(name, server);
                }
                Err(why) => self.left_out.push(format!("{file}: {why}")),
            }
        }
        Ok(())
    }
}

fn read_if_there(file: &Path) -> Result<Option<String>, ConfigError> {
    match read_config(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_missing => Ok(None),
        Err(error) => Err(error),
    }
}

fn server(name: &str, entry: Entry, is_projects: bool) -> Result<ServerConfig, String> {
    if let Some(fault) = server_fault(name) {
        return Err(fault);
    }
    let Entry { command, args, env, url, headers, trusted, timeout_seconds, .. } = entry;
    let endpoint = match (command, url) {
        (Some(command), None) if !command.trim().is_empty() => {
            Endpoint::Stdio { command, args, env }
        }
        (None, Some(url)) => Endpoint::Http { url, headers },
        _ => return Err(format!("the server `{name}` needs either `command` or `url`")),
    };
    let timeout =
        timeout_seconds.map_or(DEFAULT_TIMEOUT, |seconds| Duration::from_secs(seconds.max(1)));
    Ok(ServerConfig { endpoint, timeout, trusted, is_projects })
}

impl ServerConfig {
    /// What the person agrees to when a project's server is to be started.
    pub(crate) fn describe(&self) -> String {
        match &self.endpoint {
            Endpoint::Stdio { command, args, env } => {
                let set: Vec<String> = env.iter().map(|(k, v)| format!("{k}={v} ")).collect();
                let args: String = args.iter().map(|arg| format!(" {arg:?}")).collect();
                format!("{}{command}{args}", set.concat())
            }
            Endpoint::Http { url, headers } => {
                let names: Vec<&str> = headers.keys().map(String::as_str).collect();
                let with = match names.is_empty() {
                    true => String::new(),
                    false => format!(" with the headers {}", names.join(", ")),
                };
                format!("{url}{with}")
            }
        }
    }

    /// Another one for every other way to reach it, in every other project.
    pub(crate) fn fingerprint(&self, name: &str, project: &Path) -> String {
        let parts = serde_json::to_string(&(name, project, &self.endpoint));
        hash(parts.unwrap_or_default().as_bytes())
    }
}

/// Replaces `${NAME}` by the variable's value, `${NAME:-default}` by that or the default.
///
/// # Errors
/// Names a variable that commands do not get and that has no default.
pub(crate) fn expand(text: &str, environment: &Environment) -> Result<String, String> {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inside, behind)) = after.split_once('}') else { break };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let Some(value) = environment.get(name).or(default) else {
            return Err(format!(
                "the variable {name} is not set, or withheld from commands; RUNGS_COMMAND_ENV \
                 names those that they may have"
            ));
        };
        expanded.push_str(before);
        expanded.push_str(value);
        rest = behind;
    }
    Ok(expanded + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(own: &str, project: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let (own_file, project_file) = (folder.path().join("a.yaml"), folder.path().join("b.json"));
        std::fs::write(&own_file, own).unwrap();
        std::fs::write(&project_file, project).unwrap();
        let loaded = Config::load(&own_file, &project_file);
        let short = |text: String| text.replace(&folder.path().display().to_string(), "");
        let mut config = loaded.map_err(|error| short(error.to_string()))?;
        config.left_out = config.left_out.into_iter().map(short).collect();
        Ok(config)
    }

    #[test]
    fn both_files_are_read_and_the_persons_own_wins() {
        let own = "servers:\n  a: {command: x, args: [-v], trusted: true, timeout_seconds: 5}\n  \
                   b: {url: 'https://b.example/mcp'}\n  c: {command: off, disabled: true}\n";
        let project = r#"{"mcpServers": {"a": {"command": "evil", "trusted": true},
            "p": {"type": "stdio", "command": "npx", "args": ["-y", "p"], "trusted": true},
            "p__q": {"command": "x"}, "n": {}}}"#;
        let config = load(own, project).unwrap();
        let names: Vec<&str> = config.servers.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "b", "p"]);
        assert!(config.servers["a"].trusted && !config.servers["a"].is_projects);
        assert_eq!(config.servers["a"].timeout, Duration::from_secs(5));
        assert!(!config.servers["p"].trusted && config.servers["p"].is_projects);
        assert_eq!(config.servers["p"].describe(), "npx \"-y\" \"p\"");
        assert_eq!(config.left_out.len(), 3, "{:?}", config.left_out);
        assert_eq!(config.left_out[0], "/b.json: a is configured by yourself already");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (own, error) in [
            ("servers:\n  a:\n    comand: x\n", "/a.yaml:3: "),
            ("servers:\n  a__b: {command: x}\n", "/a.yaml: \"a__b\" cannot name a server"),
            ("servers:\n  a: {}\n", "/a.yaml: the server `a` needs either `command` or `url`"),
            ("servers:\n  a: {command: x, url: y}\n", "/a.yaml: the server `a` needs either"),
        ] {
            let found = load(own, "{}").unwrap_err();
            assert!(found.starts_with(error), "{found}");
        }
        let config = load("", "{").unwrap();
        assert!(config.left_out[0].starts_with("/b.json:"), "{:?}", config.left_out);
        let folder = tempfile::tempdir().unwrap();
        let nothing = Config::load(&folder.path().join("x"), &folder.path().join("y")).unwrap();
        assert!(nothing.servers.is_empty() && nothing.left_out.is_empty());
    }

    #[test]
    fn variables_come_from_what_commands_get() {
        let variables = [("HOME", "/me"), ("GITHUB_TOKEN", "secret")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let environment = Environment::new(variables, &[]);
        let expand = |text| expand(text, &environment);
        assert_eq!(expand("${HOME}/x ${NO:-y} $HOME ${").unwrap(), "/me/x y $HOME ${");
        assert!(expand("${GITHUB_TOKEN}").unwrap_err().contains("GITHUB_TOKEN"));
    }

    #[test]
    fn a_change_of_how_a_server_is_reached_is_another_server() {
        let config = |args| {
            let own = format!("servers:\n  a: {{command: x, args: [{args}]}}\n");
            load(&own, "{}").unwrap().servers["a"].clone()
        };
        let (one, other) = (config("1"), config("2"));
        let here = Path::new("/here");
        assert_eq!(one.fingerprint("a", here), config("1").fingerprint("a", here));
        assert_ne!(one.fingerprint("a", here), other.fingerprint("a", here));
        assert_ne!(one.fingerprint("a", here), one.fingerprint("a", Path::new("/there")));
    }
}
