//! Files whose change asks in every mode.
use crate::{
    Ruling,
    rule::{Rule, Source},
};
use std::sync::{Arc, LazyLock};

/// What asks whatever the rules say: files that make programs run, or that hold these rules.
pub(crate) static PROTECTED: LazyLock<Vec<Arc<Rule>>> = LazyLock::new(|| {
    const PATHS: [&str; 27] = [
        "**/.git",
        "**/.rungs",
        "**/.claude",
        "**/.vscode",
        "**/.idea",
        "**/.husky",
        "**/.ssh",
        "**/.gitconfig",
        "**/.gitmodules",
        "**/.bashrc",
        "**/.bash_profile",
        "**/.bash_login",
        "**/.bash_logout",
        "**/.profile",
        "**/.zshrc",
        "**/.zshenv",
        "**/.zprofile",
        "**/.mcp.json",
        "**/.ripgreprc",
        "**/.envrc",
        "**/.npmrc",
        "**/.cargo",
        "**/.inputrc",
        "//etc",
        "./config/permissions.yaml",
        "./config/hooks.yaml",
        "./config/mcp.yaml",
    ];
    let rules = PATHS.into_iter().filter_map(|path| {
        let reason = Some("it decides which programs run, or what is asked".to_string());
        let source = Source::new("built in", None);
        Rule::parse(Ruling::Ask, &format!("Edit({path})"), source, reason).ok()
    });
    rules.map(Arc::new).collect()
});
