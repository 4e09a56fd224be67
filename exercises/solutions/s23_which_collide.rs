/// What a trial merge of two branches finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Merges,
    Conflicts,
}
use Found::{Conflicts, Merges, Nothing};

const PAIRS: [(&str, &str, Found); 8] = [
    ("dear", "cheap", Conflicts),
    ("dear", "too-dear", Merges),
    ("dear", "last", Merges),
    ("dear", "rename", Merges),
    ("dear", "first-new", Nothing),
    ("drop", "edit", Conflicts),
    ("rename", "edit", Nothing),
    ("rename", "last", Merges),
];
