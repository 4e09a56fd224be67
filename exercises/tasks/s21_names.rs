// # Whose tool is it
//
// build, level 2, 25 minutes. Read: examples/s21_mcp_runtime.rs
//
// Tools of MCP servers get names under which the model calls them, and by which rules judge them.
// The protocol has no name spaces, and a server calls its tools whatever it likes. Write both
// functions, without looking at `crates/mcp/src/names.rs`:
//
// - `check_server` refuses what cannot name a server: 1 to 30 letters, digits, `-` and `_` can.
//   `__` parts server and tool, so no server's name may let anybody doubt where it begins or ends.
// - `qualified` makes `mcp__SERVER__TOOL`. Model APIs take 1 to 64 letters, digits, `_` and `-`. A
//   tool whose name they would refuse gets another one; no two tools of a server get the same,
//   unless the server computes your hash in order to bring that about.
//
// Letters and digits are those of ASCII. `std::hash::DefaultHasher` is good enough for a hash here.
//
// Run: cargo run -p rungs-exercises -- run s21_names

/// How long the name of a tool may be, in bytes.
#[allow(dead_code)]
const MAX_NAME_BYTES: usize = 64;

/// Whether this can name a server; why not, if it cannot.
fn check_server(name: &str) -> Result<(), String> {
    let _ = name;
    todo!("refuse what cannot name a server")
}

/// The name under which the model calls a tool of a server.
fn qualified(server: &str, tool: &str) -> String {
    let _ = (server, tool);
    todo!("a name that APIs take, and that no other tool has")
}

mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The server that a name tells, as a rule for all tools of a server reads it.
    fn server_of(name: &str) -> &str {
        let rest = name.strip_prefix("mcp__").expect("the names begin with `mcp__`");
        rest.split("__").next().unwrap_or(rest)
    }

    fn is_taken_by_apis(name: &str) -> bool {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        (1..=MAX_NAME_BYTES).contains(&name.len()) && name.chars().all(is_plain)
    }

    #[test]
    fn a_plain_name_is_kept() {
        assert_eq!(check_server("market"), Ok(()), "letters can name a server");
        let why = "a plain and short name is what the server says, with its own name before it";
        assert_eq!(qualified("market", "price"), "mcp__market__price", "{why}");
        let why = "a tool may have `__` in its name: the server ends at the first one";
        assert_eq!(qualified("market", "price__old"), "mcp__market__price__old", "{why}");
    }

    #[test]
    fn what_can_name_a_server_is_told_apart() {
        let long = "x".repeat(30);
        for name in ["a", "git-hub", "my_server", "A1", &long] {
            assert_eq!(check_server(name), Ok(()), "{name:?} is plain");
        }
        for name in ["", "a b", "a/b", "ä", "a.b", &"x".repeat(31)] {
            assert!(check_server(name).is_err(), "{name:?} is no name that APIs take");
        }
        for name in ["a__b", "__a", "a__"] {
            let why = "a rule for the server `a` would cover its tools";
            assert!(check_server(name).is_err(), "{name:?}: {why}");
        }
        for (name, tool) in [("a_", "b"), ("_a", "b")] {
            assert!(
                check_server(name).is_err(),
                "{name:?} with the tool {tool:?} is `mcp__{name}__{tool}`: which of the `_` belong \
                 to the server?"
            );
        }
    }

    #[test]
    fn every_name_tells_its_server() {
        for server in ["a", "a_b", "a-b", "market"] {
            for tool in ["x", "_x", "__x", "read/file", "日本", ""] {
                let name = qualified(server, tool);
                assert_eq!(server_of(&name), server, "{name} is a tool of {server:?}");
            }
        }
    }

    #[test]
    fn all_names_are_such_that_apis_take_them() {
        let long = "very_long".repeat(20);
        for tool in ["read.file", "read file", "日本", "", &long, "a\nb"] {
            let name = qualified("server", tool);
            assert!(is_taken_by_apis(&name), "an API refuses {name:?}, and with it the request");
        }
    }

    #[test]
    fn no_two_tools_of_a_server_become_one() {
        let mut tools: Vec<String> =
            ["read.file", "read/file", "read file", "read_file", "日本", "日曜", "", "_", "__"]
                .map(String::from)
                .into();
        for i in 0..300 {
            tools.push(format!("{}{i}", "a very long name ".repeat(6)));
            tools.push(format!("{}{i}", "x".repeat(80)));
            tools.push(format!("tool.{i}"));
            tools.push(format!("tool_{i}"));
        }
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for tool in tools {
            let name = qualified("server", &tool);
            if let Some(other) = named.insert(name.clone(), tool.clone()) {
                panic!(
                    "{other:?} and {tool:?} are both {name:?}: the model calls the one and gets \
                     the other"
                );
            }
        }
    }

    #[test]
    fn a_tool_keeps_its_name() {
        let names = [(); 2].map(|()| qualified("server", "read.file"));
        let why = "a name that differs from start to start breaks rules, history and the cache";
        assert_eq!(names[0], names[1], "{why}");
    }
}
