/// How many messages the conversation has after each command.
const MESSAGES: [(&str, usize); 8] = [
    ("three", 12),
    (":rewind", 8),
    ("two", 12),
    (":rewind here", 8),
    (":fork", 8),
    ("one", 12),
    (":rewind 2", 4),
    (":resume FIRST", 8),
];
