/// Two calls, and whether they overlap.
const OVERLAP: [(&str, &str, bool); 9] = [
    ("reads", "reads", true),
    ("reads", "writes a", false),
    ("writes a", "writes b", true),
    ("writes a", "writes link", false),
    ("writes sub", "writes sub/x", false),
    ("writes a", "writes A", false),
    ("delegates", "delegates", true),
    ("runs a command", "reads", false),
    ("changes the harness", "changes the harness", false),
];
