//! What a command inherits of this program's environment, by one rule.
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};
use tokio::process::Command;

/// Nothing may ask, page or open an editor: there is nobody to answer.
const NON_INTERACTIVE: [(&str, &str); 12] = [
    ("PAGER", "cat"),
    ("GIT_PAGER", "cat"),
    ("MANPAGER", "cat"),
    ("SYSTEMD_PAGER", "cat"),
    ("EDITOR", "true"),
    ("VISUAL", "true"),
    ("GIT_EDITOR", "true"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("SSH_ASKPASS_REQUIRE", "never"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("PIP_NO_INPUT", "1"),
    ("TERM", "dumb"),
];

/// How many names of withheld variables are listed.
const MAX_LISTED: usize = 40;

/// The environment of commands: the variables that they get, and the names of those that are
/// withheld from them. Withheld is
///
/// - what holds a secret, by its name (`GITHUB_TOKEN`, `PGPASSWORD`, `DATABASE_URL`) or by the
///   shape of its value (`scheme://user:password@host`, `ghp_..`, a private key): a command that a
///   model has written could send it anywhere;
/// - what makes bash read another command than the text that was shown and judged (`BASH_ENV`,
///   `BASH_FUNC_..`, `CDPATH`), or puts code into every program (`LD_PRELOAD`);
/// - what asks a person (`SSH_ASKPASS`), since nobody can answer;
/// - what leads git to another repository than that of the folder (`GIT_DIR`), as in a git hook.
///
/// Everything else that a person has set to run programs arrives.
#[derive(Debug, Clone)]
pub struct Environment {
    variables: Vec<(OsString, OsString)>,
    withheld: Vec<String>,
}

impl Default for Environment {
    /// This program's environment as it is now.
    fn default() -> Environment {
        Environment::new(std::env::vars_os(), &[])
    }
}

impl Environment {
    /// What commands get of these variables. Those named in `passed` are never withheld.
    pub fn new<'a>(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        passed: impl IntoIterator<Item = &'a &'a str>,
    ) -> Environment {
        let passed: Vec<&OsStr> = passed.into_iter().map(OsStr::new).collect();
        let (withheld, variables): (Vec<_>, Vec<_>) =
            variables.into_iter().partition(|(name, value)| {
                !passed.contains(&name.as_os_str()) && is_withheld(name, value)
            });
        let mut withheld: Vec<String> = withheld
            .iter()
            .map(|(name, _)| name.to_string_lossy().escape_debug().collect())
            .collect();
        withheld.sort();
        Environment { variables, withheld }
    }

    /// The names of the variables that commands do not get, separated by commas; `None` when they
    /// get all.
    pub fn withheld(&self) -> Option<String> {
        let listed = &self.withheld[..self.withheld.len().min(MAX_LISTED)];
        let more = match self.withheld.len() - listed.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!listed.is_empty()).then(|| listed.join(", ") + &more)
    }

    /// The same, with a variable that is given to commands whatever its name is.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Environment {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Gives it to a command, with what keeps programs from asking.
    pub(crate) fn give(&self, command: &mut Command) {
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        command.env_clear().envs(variables).envs(NON_INTERACTIVE);
    }

    /// How many bytes it takes of what the system lets a program start with.
    pub(crate) fn bytes(&self) -> usize {
        self.variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum()
    }
}

fn is_withheld(name: &OsStr, value: &OsStr) -> bool {
    is_secret(name.as_bytes(), value.as_bytes()) || is_unsuitable(&name.to_string_lossy())
}

/// Whether a variable holds a secret, by its name or by the shape of its value.
pub(crate) fn is_secret(name: &[u8], value: &[u8]) -> bool {
    names_a_secret(&String::from_utf8_lossy(name))
        || looks_like_a_secret(&String::from_utf8_lossy(value))
}

fn names_a_secret(name: &str) -> bool {
    const WORDS: [&str; 12] = [
        "AUTH", "BEARER", "DSN", "JWT", "KEY", "KEYS", "OTP", "PASS", "PAT", "PWD", "SSHPASS",
        "TOKEN",
    ];
    /// Looked for in the name without its separators: `DB_PASSWORD1`, `npm_config__authToken`.
    const PARTS: [&str; 18] = [
        "ACCESSKEY",
        "ACCESSTOKEN",
        "APIKEY",
        "APITOKEN",
        "AUTHORIZATION",
        "AUTHTOKEN",
        "CONNECTIONSTRING",
        "CONNSTR",
        "COOKIE",
        "CREDENTIAL",
        "DATABASEUR",
        "DBUR",
        "PASSPHRASE",
        "PASSWD",
        "PASSWORD",
        "PRIVATEKEY",
        "SECRET",
        "WEBHOOK",
    ];
    /// What such a variable names is a place, not a secret: `SSH_AUTH_SOCK`.
    const PLACES: [&str; 4] = ["DIR", "FILE", "PATH", "SOCK"];
    let name = name.to_ascii_uppercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    if name == "PWD" || words.last().is_some_and(|last| PLACES.contains(last)) {
        return false;
    }
    let joined = words.concat();
    words.iter().any(|word| WORDS.contains(word)) || PARTS.iter().any(|part| joined.contains(part))
}

fn looks_like_a_secret(value: &str) -> bool {
    /// How the tokens of well-known services begin. An access key of AWS is 20 characters long.
    const TOKENS: [&str; 29] = [
        "AIza",
        "AKIA",
        "ASIA",
        "AGE-SECRET-KEY-",
        "dckr_pat_",
        "dop_v1_",
        "eyJ",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "gsk_",
        "hf_",
        "npm_",
        "pypi-",
        "rk_live_",
        "sk-",
        "sk_live_",
        "SG.",
        "shpat_",
        "whsec_",
        "xai-",
        "xapp-",
        "xoxb-",
        "xoxp-",
        "ya29.",
    ];
    /// How many characters at least follow.
    const MIN_TOKEN_REST: usize = 8;
    /// What is set with `=` or `:` within connection strings, headers, options and JSON.
    const ASSIGNED: [&str; 10] = [
        "accesskey",
        "accountkey",
        "api-key",
        "api_key",
        "apikey",
        "authorization",
        "passwd",
        "password",
        "pwd",
        "secret",
    ];
    let is_token = |word: &str| {
        let rest = TOKENS.iter().find_map(|token| word.strip_prefix(token));
        rest.is_some_and(|rest| rest.len() >= MIN_TOKEN_REST)
    };
    let lower = value.to_ascii_lowercase();
    value.split(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))).any(is_token)
        || value.contains("PRIVATE KEY-----")
        || lower.starts_with("bearer ")
        || lower.contains("hooks.slack.com/services/")
        || ["?sig=", "&sig=", "token="].iter().any(|assignment| lower.contains(assignment))
        || ASSIGNED.iter().any(|name| is_assigned(name, &lower))
        || has_password(&lower)
}

/// Whether `=` or `:` follows this name, quoted or not.
fn is_assigned(name: &str, value: &str) -> bool {
    value.match_indices(name).any(|(at, _)| {
        let rest = value[at + name.len()..].trim_start_matches(['"', '\'', '\\', ' ']);
        rest.starts_with(['=', ':'])
    })
}

/// Whether it holds a URL with a password, `scheme://user:password@host`, or with something that
/// may be one in place of a user's name, `https://token@host`; or such an address in the form of
/// Go, `user:password@tcp(host)`.
fn has_password(value: &str) -> bool {
    let urls = value.match_indices("://").map(|(at, _)| value.split_at(at));
    let mut with_password = urls.filter(|(scheme, rest)| {
        let authority = rest[3..].split(['/', '?', '#', ' ', '"', '\'']).next().unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@') else { return false };
        let password = user.split_once(':').map(|(_, password)| password);
        password.is_some_and(|password| !password.is_empty())
            || (password.is_none() && (scheme.ends_with("http") || scheme.ends_with("https")))
    });
    with_password.next().is_some() || value.contains("@tcp(") || value.contains("@unix(")
}

/// Whether a variable changes what the text of a command means, asks a person, or leads git away.
fn is_unsuitable(name: &str) -> bool {
    const NAMES: [&str; 29] = [
        // How bash reads a command, and which code it runs before.
        "BASH_ENV",
        "BASHOPTS",
        "BASH_COMPAT",
        "CDPATH",
        "ENV",
        "EXECIGNORE",
        "GLOBIGNORE",
        "POSIXLY_CORRECT",
        "SHELLOPTS",
        // Code in every program, whichever the command names.
        "LD_PRELOAD",
        "LD_AUDIT",
        "DYLD_INSERT_LIBRARIES",
        // A person who is asked.
        "GIT_ASKPASS",
        "GIT_SEQUENCE_EDITOR",
        "SSH_ASKPASS",
        "SUDO_ASKPASS",
        // Another repository: what `git rev-parse --local-env-vars` lists.
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
        "GIT_NAMESPACE",
    ];
    // Functions, and the settings that GIT_CONFIG_COUNT counts.
    const STARTS: [&str; 3] = ["BASH_FUNC_", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"];
    NAMES.contains(&name) || STARTS.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withheld(variables: &[(&str, &str)], passed: &[&str]) -> Option<String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Environment::new(variables, passed).withheld()
    }

    #[test]
    fn secrets_are_withheld_by_their_names() {
        for name in [
            "ANTHROPIC_API_KEY",
            "GITHUB_TOKEN",
            "aws_secret_access_key",
            "AWS_ACCESS_KEY_ID",
            "PGPASSWORD_PASSWORD",
            "PGPASSWORD",
            "MYSQL_PWD",
            "DB_PASSWD",
            "DB_PASS",
            "SSHPASS",
            "RESTIC_PASSWORD",
            "BORG_PASSPHRASE",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "REDISCLI_AUTH",
            "DOCKER_AUTH_CONFIG",
            "npm_config__authToken",
            "SESSION_COOKIE",
            "DEPLOY_PRIVATE_KEY",
            "SENTRY_DSN",
            "DATABASE_URL",
            "database_uri",
            "OPENAI_APIKEY",
            "AZURE_STORAGE_CONNECTION_STRING",
            "AZURE_DEVOPS_EXT_PAT",
            "SLACK_WEBHOOK_URL",
            "API_KEYS",
            "spring.datasource.password",
            "DB_URL",
        ] {
            assert_eq!(withheld(&[(name, "x")], &[]).as_deref(), Some(name));
        }
    }

    #[test]
    fn secrets_are_withheld_by_their_shapes() {
        for value in [
            "postgres://me:secret@db/x",
            "redis://:secret@cache:6379",
            "https://tok@example.com/x",
            "http://me:p@proxy:3128",
            "jdbc:mysql://db/x?user=me&password=p",
            "me:p@tcp(db:3306)/x",
            "Server=db;User=me;Password=p;",
            "DefaultEndpointsProtocol=https;AccountKey=abc==",
            "sk-ant-api03-abcdefgh",
            "ghp_0123456789abcdef",
            "github_pat_0123456789abcdef",
            "AKIAIOSFODNN7EXAMPLE",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "Bearer abc",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc",
            "glpat-0123456789abcdef",
            "--header Authorization: abc",
            "api-key=abc,other=1",
            "{\"user\": \"me\", \"password\" : \"p\"}",
            "{'apiKey': 'x'}",
            "export TOKEN=abc",
            "https://store.example/x?se=2030&sig=abc%3D",
            "SG.abcdefghijkl.mnop",
            "xoxb-0123456789-abc",
            "https://hooks.slack.com/services/T0/B0/x",
        ] {
            assert_eq!(withheld(&[("X", value)], &[]).as_deref(), Some("X"), "{value}");
        }
    }

    #[test]
    fn what_makes_a_command_another_one_or_asks_is_withheld() {
        for name in [
            "BASH_ENV",
            "BASH_FUNC_ls%%",
            "LD_PRELOAD",
            "GIT_DIR",
            "CDPATH",
            "ENV",
            "SSH_ASKPASS",
            "GIT_CONFIG_KEY_0",
        ] {
            assert_eq!(withheld(&[(name, "x")], &[]).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_a_person_has_set_to_run_programs_arrives() {
        for (name, value) in [
            ("PATH", "/usr/bin:/bin"),
            ("HOME", "/root"),
            ("PWD", "/tmp"),
            ("OLDPWD", "/"),
            ("LD_LIBRARY_PATH", "/opt/cuda/lib64"),
            ("GIT_SSH_COMMAND", "ssh -i ~/.ssh/id"),
            ("NODE_OPTIONS", "--max-old-space-size=4096"),
            ("JAVA_TOOL_OPTIONS", "-Xmx1g"),
            ("CUDA_VISIBLE_DEVICES", "0"),
            ("CONDA_PREFIX", "/opt/conda"),
            ("PYTHONPATH", "src"),
            ("PERL5OPT", "-Mstrict"),
            ("RUBYOPT", "-W0"),
            ("GIT_AUTHOR_NAME", "A"),
            ("SSH_AUTH_SOCK", "/tmp/agent.1"),
            ("XAUTHORITY", "/root/.Xauthority"),
            ("TOKENIZERS_PARALLELISM", "false"),
            ("MAX_TOKENS", "16000"),
            ("KEYBOARD", "us"),
            ("MONKEY", "1"),
            ("VIRTUAL_ENV", "/v"),
            ("OLD_LD", "1"),
            ("RUSTFLAGS", "--cfg x"),
            ("DOCKER_HOST", "ssh://me@host"),
            ("HTTP_PROXY", "http://proxy:3128"),
            ("NPM_CONFIG_REGISTRY", "https://example.com/npm/"),
            ("TOKEN_FILE", "/run/token"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/bus"),
            ("LS_COLORS", "*.key=01:*.pem=0"),
            ("GIT_REMOTE", "git@example.com:me/x.git"),
            ("DISK", "disk-usage-percentage"),
        ] {
            assert_eq!(withheld(&[(name, value)], &[]), None, "{name}");
        }
    }

    #[test]
    fn a_person_can_pass_a_variable_on() {
        let variables = [("A_TOKEN", "x"), ("B_TOKEN", "y"), ("C", "z")];
        assert_eq!(withheld(&variables, &["A_TOKEN", "NONE"]).as_deref(), Some("B_TOKEN"));
        let many: Vec<String> = (0..50).map(|n| format!("TOKEN_{n:02}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
        let listed = withheld(&many, &[]).unwrap();
        assert!(listed.ends_with(", TOKEN_38, TOKEN_39 and 10 more"), "{listed}");
    }

    #[test]
    fn names_and_values_need_not_be_text() {
        let name = OsString::from("X");
        let odd = OsStr::from_bytes(b"\xff\xfe").to_os_string();
        let secret = OsStr::from_bytes(b"\xff ghp_0123456789abcdef").to_os_string();
        let variables = [(name.clone(), odd.clone()), (odd, name.clone()), (name, secret)];
        let environment = Environment::new(variables, &[]);
        assert_eq!((environment.variables.len(), environment.withheld()), (2, Some("X".into())));
    }
}
