// # Tasks of a line
//
// build, level 1, 15 minutes. Read: examples/s23_worktree_advanced.rs
//
// A prompt such as `add a test | write the docs` is a list of tasks: each is done by an agent of
// its own, in a worktree of its own, at the same time. But a bar is also a pipe of the shell, and
// people write about commands. What is taken apart by mistake does harm, and what is not costs one
// more prompt. So:
//
// - ` | ` parts tasks: a bar with a space on each side.
// - A prompt with `'`, `"` or a backtick, or of several lines, is never taken apart.
// - Neither is one with an empty part. One task alone is no list.
//
// Write `tasks`, without looking at the function of that name in the lesson.
//
// Run: cargo run -p rungs-exercises -- run s23_tasks_of_a_line

/// The tasks of a prompt; none when it is no list of tasks.
fn tasks(prompt: &str) -> Option<Vec<String>> {
    let _ = prompt;
    todo!("take a list of tasks apart, and nothing else")
}

mod tests {
    use super::*;

    fn parted(prompt: &str) -> Option<String> {
        tasks(prompt).map(|tasks| tasks.join("+"))
    }

    #[test]
    fn a_bar_between_spaces_parts_tasks() {
        let two = "add a test | write the docs";
        let why = "two tasks, each without the spaces at the bar";
        assert_eq!(parted(two), Some("add a test+write the docs".into()), "{why}");
        let three = "  one |  two   words | three ";
        let why = "spaces around a task do not belong to it, those within it do";
        assert_eq!(parted(three), Some("one+two   words+three".into()), "{why}");
    }

    #[test]
    fn one_task_is_no_list() {
        for prompt in ["add a test", "", "   "] {
            assert_eq!(parted(prompt), None, "{prompt:?} goes to the model as it is");
        }
    }

    #[test]
    fn a_bar_without_its_spaces_parts_nothing() {
        for prompt in ["a|b", "a |b", "a| b", "a || b"] {
            assert_eq!(parted(prompt), None, "{prompt:?} may be a pipe or an `or`");
        }
    }

    #[test]
    fn a_prompt_with_code_in_it_is_left_alone() {
        for prompt in ["run `ls | wc`", "say 'a | b'", "print \"a | b\"", "it's one | two"] {
            let why = "with a quote in it nobody can tell a pipe from a list";
            assert_eq!(parted(prompt), None, "{prompt:?}: {why}");
        }
    }

    #[test]
    fn several_lines_are_a_text() {
        for prompt in ["a | b\nc | d", "first\none | two"] {
            assert_eq!(parted(prompt), None, "{prompt:?} may be a table, or a script");
        }
        let why = "a line break at the end is no second line";
        assert_eq!(parted("one | two\n"), Some("one+two".into()), "{why}");
    }

    #[test]
    fn an_empty_part_is_no_task() {
        for prompt in ["a | ", " | b", "a |  | b", "|", " | "] {
            let why = "an agent without a task would be started";
            assert_eq!(parted(prompt), None, "{prompt:?}: {why}");
        }
    }
}
