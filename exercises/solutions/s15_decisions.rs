#[allow(unused_imports)]
use rungs_permissions::Ruling::{self, Allow, Ask, Deny};

/// The commands, each with what becomes of it.
const DECISIONS: [(&str, Ruling); 10] = [
    ("ls -l | sort", Ask),
    ("git push origin main", Ask),
    ("ls; rm notes", Deny),
    ("rm -i", Deny),
    ("echo 'rm notes'", Allow),
    ("echo \"$(rm notes)\"", Deny),
    ("ls\necho done", Allow),
    ("echo x > closed/notes", Deny),
    ("timeout 5 rm notes", Deny),
    ("ls $HOME", Ask),
];
