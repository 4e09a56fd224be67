//! What a command inherits.
use tokio::process::Command;

/// Nothing that asks, pages or opens an editor: there is nobody to answer.
const SET: [(&str, &str); 12] = [
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

/// Gives it this program's environment without secrets and without what steers it.
pub fn tame(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_none_or(|name| is_secret(name) || steers(name)) {
            command.env_remove(name);
        }
    }
    command.envs(SET);
}

/// Names that mostly hold secrets: a command that a model writes has no business with them.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 9] = [
        "KEY",
        "APIKEY",
        "TOKEN",
        "SECRET",
        "SECRETS",
        "PASSWORD",
        "PASSWD",
        "CREDENTIAL",
        "CREDENTIALS",
    ];
    name.to_ascii_uppercase().split('_').any(|word| WORDS.contains(&word))
}

/// Names that make bash or the programs below it run other code than the command that was shown.
fn steers(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "BASH_ENV",
        "ENV",
        "SHELLOPTS",
        "BASHOPTS",
        "POSIXLY_CORRECT",
        "PROMPT_COMMAND",
        "CDPATH",
        "GLOBIGNORE",
        "LESSOPEN",
        "LESSCLOSE",
        "PERL5OPT",
        "RUBYOPT",
        "RIPGREP_CONFIG_PATH",
        "SSH_ASKPASS",
    ];
    const STARTS: [&str; 4] = ["BASH_FUNC_", "LD_", "DYLD_", "GIT_"];
    const ENDS: [&str; 2] = ["_OPTIONS", "PAGER"];
    NAMES.contains(&name)
        || STARTS.iter().any(|start| name.starts_with(start))
        || ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "ANTHROPIC_API_KEY",
            "GITHUB_TOKEN",
            "aws_secret_access_key",
            "PGPASSWORD_PASSWORD",
            "DB_PASSWD",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in
            ["PATH", "HOME", "KEYBOARD", "MONKEY", "SSH_AUTH_SOCK", "TOKENIZERS_PARALLELISM"]
        {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn what_steers_is_known_by_its_name() {
        for name in [
            "BASH_ENV",
            "BASH_FUNC_ls%%",
            "LD_PRELOAD",
            "GIT_DIR",
            "NODE_OPTIONS",
            "DELTA_PAGER",
            "CDPATH",
        ] {
            assert!(steers(name), "{name}");
        }
        for name in ["PATH", "HOME", "LANG", "CARGO_HOME", "RUSTFLAGS", "VIRTUAL_ENV", "OLD_LD"] {
            assert!(!steers(name), "{name}");
        }
    }
}
