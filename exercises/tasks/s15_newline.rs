// # An allow rule that a newline passes
//
// repair, level 2, 25 minutes. Read: examples/s15_permissions.rs
//
// This gate lets commands run that begin like a rule: `git log` allows `git log -n 3`. A user
// reports:
//
//   "I allowed `ls` and `git log`, nothing else. A README had instructions in it, and now there is
//   a file in my folder that neither of them makes. The log shows one command, and it begins
//   with `ls`."
//
// A command is a program for bash, not a text with a beginning. Change `allows` so that nothing
// runs but the commands that the rules name. It need not understand bash: what it does not
// understand, it does not allow. The plain commands in the tests must still pass.
//
// Every command that `allows` lets through is run by the tests, with a real bash, in a folder of
// its own.
//
// Run: cargo run -p rungs-exercises -- run s15_newline

/// Whether one of these rules allows this command. A rule holds the first words of a command; any
/// words may follow.
fn allows(rules: &[&str], command: &str) -> bool {
    rules.iter().any(|rule| command.starts_with(rule))
}

mod tests {
    use super::*;
    use std::{fs, process::Command};

    const RULES: [&str; 3] = ["ls", "git log", "wc -l"];

    /// Whether bash makes the file `MARK` of this command.
    fn leaves_a_mark(command: &str) -> bool {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes"), "a\n").unwrap();
        let mut bash = Command::new("bash");
        let bash = bash.args(["--norc", "--noprofile", "-c", command]).current_dir(dir.path());
        bash.output().unwrap();
        dir.path().join("MARK").exists()
    }

    /// Commands that must not pass, and really would do something else.
    fn refused(commands: &[&str], why: &str) {
        for command in commands {
            let passes = allows(&RULES, command);
            assert!(!passes || !leaves_a_mark(command), "{command:?} made a file: {why}");
            assert!(!passes, "{command:?} must not pass: {why}");
        }
    }

    #[test]
    fn plain_commands_pass() {
        for command in ["ls", "ls -l", "ls  -l notes", "git log -n 3 --oneline", "wc -l notes"] {
            assert!(allows(&RULES, command), "{command:?} is what the rules are for");
        }
        assert!(allows(&RULES, " ls -a "), "white space around a command changes nothing");
        assert!(allows(&RULES, "ls src/main.rs v1.2_x"), "names of files have such characters");
    }

    #[test]
    fn other_commands_do_not_pass() {
        for command in ["rm notes", "git push", "git", "wc notes", "", " "] {
            assert!(!allows(&RULES, command), "no rule names {command:?}");
        }
    }

    #[test]
    fn a_rule_ends_at_a_word() {
        for command in ["lsof", "ls-files", "git logs", "wc -lc notes"] {
            assert!(
                !allows(&RULES, command),
                "{command:?} begins like a rule, and is another word"
            );
        }
    }

    #[test]
    fn a_second_command_does_not_pass() {
        refused(
            &["ls\ntouch MARK", "ls; touch MARK", "ls&&touch MARK", "ls -l & touch MARK"],
            "bash runs two commands here, and the second one is not allowed",
        );
        refused(
            &["ls nothing || touch MARK", "ls | tee MARK", "ls |& tee MARK", "ls;touch MARK"],
            "there are many ways to begin a second command",
        );
    }

    #[test]
    fn a_command_inside_of_a_word_does_not_pass() {
        refused(
            &["ls $(touch MARK)", "ls `touch MARK`", "ls \"$(touch MARK)\"", "ls <(touch MARK)"],
            "bash runs what stands inside before it runs `ls`",
        );
        refused(
            &["ls ${x:=$(touch MARK)}", "ls $((a[$(touch MARK)]))", "ls ~+$(touch MARK)"],
            "a substitution may stand in many places",
        );
    }

    #[test]
    fn a_redirection_does_not_pass() {
        refused(
            &["ls > MARK", "ls >>MARK", "ls &> MARK", "ls notes 2> MARK", "ls >| MARK"],
            "a redirection writes a file, whatever the command does",
        );
    }

    #[test]
    fn what_changes_the_command_does_not_pass() {
        for command in ["PATH=. ls", "ls {a,b}", "ls *", "ls 'a b'", "ls \\\n-l", "ls #x", "! ls"] {
            assert!(
                !allows(&RULES, command),
                "{command:?} may be harmless, but one must know bash to say so: what is not \
                 understood is not allowed"
            );
        }
    }
}
