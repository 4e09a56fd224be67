//! What keeps the code of a student away from the network, where it is graded.
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Variables that programs look for a proxy in; this one refuses every connection.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"];
const NOWHERE: &str = "http://127.0.0.1:9";
const LOCAL: &str = "127.0.0.1,localhost";

/// Begins a program in a network of its own, in which there is only loopback.
const UNSHARE: [&str; 6] =
    ["--map-root-user", "--net", "--", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""];

/// How far a program is kept from the network.
#[derive(Debug)]
pub(crate) enum Isolation {
    /// Not at all: the student's own machine.
    None,
    /// It sees loopback and nothing else.
    Namespace { home: PathBuf },
    /// Only what asks for a proxy is kept from it.
    Proxies { home: PathBuf },
}

impl Isolation {
    /// The best that this machine has; `home` is an empty folder.
    pub(crate) fn best(home: &Path) -> Self {
        let mut probe = Command::new("unshare");
        probe.args(UNSHARE).arg("true");
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let home = home.to_path_buf();
        match probe.status() {
            Ok(status) if status.success() => Isolation::Namespace { home },
            _ => Isolation::Proxies { home },
        }
    }

    /// What a report says of it.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Isolation::None => "as it is",
            Isolation::Namespace { .. } => "none: tests run in a network namespace of their own",
            Isolation::Proxies { .. } => {
                "proxies that lead nowhere; a program that ignores them reaches the network, since \
                 `unshare --net` or `ip` does not work here"
            }
        }
    }

    /// Whether cargo must do without the network as well.
    pub(crate) fn offline(&self) -> bool {
        !matches!(self, Isolation::None)
    }

    /// This program, kept from the network and from the variables of whoever grades.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let home = match self {
            Isolation::None => return Command::new(program),
            Isolation::Namespace { home } | Isolation::Proxies { home } => home,
        };
        let mut command = match self {
            Isolation::Namespace { .. } => Command::new("unshare"),
            _ => Command::new(program),
        };
        if let Isolation::Namespace { .. } = self {
            command.args(UNSHARE).arg(program);
        }
        let kept = ["PATH", "LANG", "TMPDIR"].into_iter();
        let kept: Vec<_> = kept.filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
        command.env_clear().envs(kept).env("HOME", home);
        command
            .envs(PROXIES.map(|name| (name, NOWHERE)))
            .env("NO_PROXY", LOCAL)
            .env("no_proxy", LOCAL);
        command
    }
}
