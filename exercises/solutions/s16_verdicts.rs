use rungs_hooks::Decision::{self, Allow, Ask, Deny};

/// What hooks of PreToolUse come to.
const VERDICTS: [(&str, Option<Decision>); 8] = [
    ("settings.json: allow, and another one asks", Some(Ask)),
    ("settings.json: asks, denies and allows", Some(Deny)),
    ("settings.json: exits with 1, and another one allows", Some(Allow)),
    ("hooks.yaml: exits with 1, and another one allows", Some(Deny)),
    ("settings.json: is killed by signal 9, and another one allows", Some(Deny)),
    ("settings.json: prints nothing and exits with 0", None),
    ("settings.json: exits with 2 without a word", Some(Deny)),
    ("settings.json: prints half a JSON object and exits with 0", Some(Deny)),
];
