//! What a file of `tasks/` holds: a head, code with a gap or a fault, and the tests.

/// The line that parts a student's code from the tests.
pub(crate) const TESTS: &str = "mod tests {";

/// What an exercise asks of the student.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The central piece of a mechanism, from a stub.
    Build,
    /// A harness that is subtly wrong.
    Repair,
    /// A model server that misbehaves on purpose.
    Drill,
    /// Constants that say what will happen.
    Predict,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Build, Kind::Repair, Kind::Drill, Kind::Predict];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Build => "build",
            Kind::Repair => "repair",
            Kind::Drill => "drill",
            Kind::Predict => "predict",
        }
    }
}

/// The head of a task.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) title: String,
    pub(crate) kind: Kind,
    /// From 1 to 3.
    pub(crate) level: u8,
    pub(crate) minutes: u32,
    /// Files to read first, from the root of the repository.
    pub(crate) read: Vec<String>,
    /// What is to be done.
    pub(crate) text: Vec<String>,
}

const FORM: &str = "`// KIND, level N, M minutes. Read: FILE, FILE`";

impl Head {
    /// Reads the `//` lines that a task of this name begins with.
    ///
    /// # Errors
    /// Says what is missing, and the form that it should have.
    pub(crate) fn read(name: &str, source: &str) -> Result<Head, String> {
        let lines = source.lines().map_while(|line| line.strip_prefix("//"));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        let [title, "", facts, "", text @ ..] = &lines[..] else {
            return Err(format!("the head must begin with `// # Title`, `//`, {FORM} and `//`"));
        };
        let Some(title) = title.strip_prefix("# ") else {
            return Err(format!("the first line is `// {title}`, not `// # Title`"));
        };
        let facts =
            Facts::read(facts).ok_or(format!("the third line is `// {facts}`, not {FORM}"))?;
        let run = format!("Run: cargo run -p rungs-exercises -- run {name}");
        let [text @ .., "", last] = text else {
            return Err(format!("the head must end with `//` and `// {run}`"));
        };
        if *last != run {
            return Err(format!("the head ends with `// {last}`, not with `// {run}`"));
        }
        if text.iter().all(|line| line.is_empty()) {
            return Err("the head does not say what is to be done".into());
        }
        let Facts { kind, level, minutes, read } = facts;
        let text = text.iter().map(|line| line.to_string()).collect();
        Ok(Head { title: title.into(), kind, level, minutes, read, text })
    }
}

struct Facts {
    kind: Kind,
    level: u8,
    minutes: u32,
    read: Vec<String>,
}

impl Facts {
    fn read(line: &str) -> Option<Facts> {
        let (first, read) = line.split_once(". Read: ")?;
        let [kind, level, minutes] = first.split(", ").collect::<Vec<_>>()[..] else {
            return None;
        };
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
        let level = level.strip_prefix("level ")?.parse().ok()?;
        let minutes = minutes.strip_suffix(" minutes")?.parse().ok()?;
        let read = read.split(", ").map(String::from).collect();
        ((1..=3).contains(&level) && minutes > 0).then_some(Facts { kind, level, minutes, read })
    }
}

/// The code of a file, and its tests, from the line [`TESTS`] on: nothing if there is no such line.
pub(crate) fn split(source: &str) -> (&str, &str) {
    let mut place = 0;
    for line in source.split_inclusive('\n') {
        if line.starts_with(TESTS) {
            return source.split_at(place);
        }
        place += line.len();
    }
    (source, "")
}

/// A student's code, or a solution, with the tests of the task: whatever tests it brings itself
/// are left out.
pub(crate) fn with_given_tests(code: &str, task: &str) -> String {
    let (code, (_, tests)) = (split(code).0.trim_end(), split(task));
    format!("{code}\n\n{tests}")
}

/// The names of the test functions of a task, in their order.
pub(crate) fn test_names(task: &str) -> Vec<String> {
    let mut names = vec![];
    let mut is_test = false;
    for line in split(task).1.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some(function) = function.filter(|_| is_test) {
            names.extend(function.split('(').next().map(String::from));
            is_test = false;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "\
// # Two words
//
// repair, level 2, 15 minutes. Read: a.rs, b/c.rs
//
// What is to
// be done.
//
// Run: cargo run -p rungs-exercises -- run s01_two

code();

mod tests {
    #[test]
    fn one() {}
    fn helper() {}
    #[tokio::test(flavor = \"multi_thread\")]
    async fn two() {}
}
";

    #[test]
    fn a_head_is_read_and_one_that_lacks_something_is_refused() {
        let head = Head::read("s01_two", TASK).unwrap();
        let expected = Head {
            title: "Two words".into(),
            kind: Kind::Repair,
            level: 2,
            minutes: 15,
            read: vec!["a.rs".into(), "b/c.rs".into()],
            text: vec!["What is to".into(), "be done.".into()],
        };
        assert_eq!(head, expected);
        for (from, to, why) in [
            ("# Two", "Two", "the first line is"),
            ("repair", "mend", "the third line is"),
            ("level 2", "level 4", "the third line is"),
            ("15 minutes", "0 minutes", "the third line is"),
            (". Read: a.rs, b/c.rs", "", "the third line is"),
            ("// What is to\n// be done.\n", "//\n", "does not say what is to be done"),
            ("run s01_two", "run s01_three", "the head ends with"),
            ("//\n// repair", "// repair", "the head must begin"),
        ] {
            assert!(TASK.contains(from), "{from}");
            let fault = Head::read("s01_two", &TASK.replacen(from, to, 1)).unwrap_err();
            assert!(fault.contains(why), "{from}: {fault}");
        }
    }

    #[test]
    fn code_is_put_together_with_the_given_tests() {
        let (code, tests) = split(TASK);
        assert!(code.ends_with("code();\n\n") && tests.starts_with(self::TESTS), "{code}{tests}");
        let own = "better();\nmod tests { #[test] fn cheat() {} }\n";
        assert_eq!(with_given_tests(own, TASK), format!("better();\n\n{tests}"));
        assert_eq!(with_given_tests("better();", TASK), format!("better();\n\n{tests}"));
        assert_eq!(split("no tests"), ("no tests", ""));
        assert_eq!(test_names(TASK), ["one", "two"]);
    }
}
