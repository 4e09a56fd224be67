/// After each command: the content of a, the content of b, whether there is a c.
const AFTER: [(&str, &str, bool); 4] = [
    ("two", "one", true),    // :revert 2
    ("four", "two", true),   // :revert
    ("three", "two", false), // :revert turn 2
    ("one", "one", false),   // :revert turn 1
];
