/// What is read from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Nothing,
    Tools,
    ToolsAndSystem,
    LastRequest,
}
use Read::{LastRequest, Nothing, Tools, ToolsAndSystem};

const READ: [(&str, Read); 7] = [
    ("1. the second prompt of the same conversation", LastRequest),
    ("2. the first prompt of a new conversation with the same agent", ToolsAndSystem),
    (
        "3. the first conversation goes on with the results of thirty calls of one reply",
        LastRequest,
    ),
    ("4. it goes on, and one word of the system text is another one now", Tools),
    ("5. it goes on; the system text stays as it is since request 4", LastRequest),
    ("6. it goes on, and two tools change their places in the list", Nothing),
    ("7. it goes on, and somebody has corrected a letter in its first prompt", ToolsAndSystem),
];
