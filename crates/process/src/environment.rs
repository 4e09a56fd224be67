//! What a command inherits of this program's environment.
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

/// Gives a command this program's environment, without secrets and without what makes it run other
/// code, and sets what keeps it from asking.
pub(crate) fn restrict(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_none_or(|name| is_secret(name) || runs_other_code(name)) {
            command.env_remove(name);
        }
    }
    command.envs(NON_INTERACTIVE);
}

/// Names of variables that usually hold secrets, which a command written by a model does not need.
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

/// Names of variables that make bash, or programs that it starts, run other code than the command
/// that was shown.
fn runs_other_code(name: &str) -> bool {
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
    fn secrets_are_recognised_by_name() {
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
    fn what_runs_other_code_is_recognised_by_name() {
        for name in [
            "BASH_ENV",
            "BASH_FUNC_ls%%",
            "LD_PRELOAD",
            "GIT_DIR",
            "NODE_OPTIONS",
            "DELTA_PAGER",
            "CDPATH",
        ] {
            assert!(runs_other_code(name), "{name}");
        }
        for name in ["PATH", "HOME", "LANG", "CARGO_HOME", "RUSTFLAGS", "VIRTUAL_ENV", "OLD_LD"] {
            assert!(!runs_other_code(name), "{name}");
        }
    }
}
