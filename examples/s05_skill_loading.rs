//! # s05: knowledge that is loaded when it is needed
//!
//! How to review code, how to take a PDF apart: an agent could know a hundred such things, but not all at once. In the
//! system text they would be paid for with every request, and most of them never used. So the system text holds only
//! names and descriptions; the tool `load_skill` brings the instructions when a task calls for them, and their further
//! files one by one when the instructions say so. That is the Agent Skills standard (<https://agentskills.io>): a folder
//! with a `SKILL.md`, whose front matter names and describes it.
//!
//! New here: system text that a lesson adds, once, at the start. It must not change while a conversation lasts, because
//! everything after a changed word would have to be paid for again.
//!
//! Run it: `cargo run --example s05_skill_loading`
//!
//! You will see the model load the skill `code-review` for a review, then one of its checklists, and find a fault.
//!
//! Try: put a skill of your own into `skills/`, or break the front matter of one and read what is reported.
//!
//! Builds on s01. Motto: *Load knowledge when it is needed, not up front.*

use lessons::s01_loop::agent_loop;
use rungs_core::{Agent, Context, Output, Result, Tool, ToolError, ToolSpec, paths, tools::args};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashSet},
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
};

/// Where skills lie below a project or a home.
const FOLDERS: [&str; 3] = ["skills", ".agents/skills", ".claude/skills"];
/// How many skills one folder may hold before the rest is left out.
const MOST: usize = 200;
/// How large a file of a skill may be, in bytes: the standard asks for small ones.
const LARGEST: u64 = 100_000;

/// A skill as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Skill {
    /// Also the name of its folder.
    pub name: String,
    /// What it does, and when to use it.
    pub description: String,
    /// Where it lies.
    pub folder: PathBuf,
}

/// The skills that were found, by name.
#[derive(Debug, Clone, Default)]
pub struct Skills {
    skills: BTreeMap<String, Skill>,
    /// What was wrong with those that were left out: `FILE:LINE: reason`.
    pub broken: Vec<String>,
}

impl Skills {
    /// Looks below these places, such as the project and the home; the first one that has a name wins.
    pub fn find(places: &[PathBuf]) -> Skills {
        let mut found = Skills::default();
        for folder in places.iter().flat_map(|place| FOLDERS.map(|folder| place.join(folder))) {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            folders.sort();
            for folder in
                folders.into_iter().filter(|folder| folder.join("SKILL.md").is_file()).take(MOST)
            {
                match read(&folder) {
                    Ok((skill, _)) => drop(found.skills.entry(skill.name.clone()).or_insert(skill)),
                    Err(why) => found.broken.push(why),
                }
            }
        }
        found
    }

    /// The section of the system text: a line for each.
    fn index(&self) -> String {
        let lines: Vec<String> =
            self.skills.values().map(|s| format!("- {}: {}", s.name, s.description)).collect();
        format!(
            "# Skills\nInstructions for certain kinds of work. When a task fits a description, call `load_skill` first, and \
             follow what it brings.\n{}",
            lines.join("\n")
        )
    }
}

/// A skill and its instructions, or `FILE:LINE: reason`.
fn read(folder: &Path) -> Result<(Skill, String), String> {
    #[derive(Deserialize)]
    struct Front {
        name: String,
        description: String,
        compatibility: Option<String>,
    }
    let file = folder.join("SKILL.md");
    let wrong = |line: usize, why: String| format!("{}:{line}: {why}", file.display());
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let (front, body) = text
        .strip_prefix("---\n")
        .and_then(|rest| {
            rest.split_once("\n---\n").or_else(|| Some((rest.strip_suffix("\n---")?, "")))
        })
        .ok_or_else(|| {
            wrong(1, "it does not begin with front matter between two lines `---`".into())
        })?;
    // The front matter begins on the second line.
    let front: Front = serde_yaml::from_str(front)
        .map_err(|e| wrong(e.location().map_or(1, |place| place.line() + 1), e.to_string()))?;
    let at = |key: &str| text.lines().position(|line| line.starts_with(key)).map_or(1, |i| i + 1);
    let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let hyphens =
        front.name.starts_with('-') || front.name.ends_with('-') || front.name.contains("--");
    let length = front.description.trim().chars().count();
    if !(1..=64).contains(&front.name.len()) || !front.name.chars().all(plain) || hyphens {
        let why = "a name has 1 to 64 characters a-z, 0-9 and single hyphens within";
        return Err(wrong(at("name:"), format!("`{}`: {why}", front.name)));
    }
    if front.name != folder_name {
        return Err(wrong(
            at("name:"),
            format!("`{}` differs from the name of its folder, `{folder_name}`", front.name),
        ));
    }
    if !(1..=1024).contains(&length) {
        return Err(wrong(
            at("description:"),
            format!("a description has 1 to 1024 characters, this one {length}"),
        ));
    }
    if front.compatibility.is_some_and(|text| text.chars().count() > 500) {
        return Err(wrong(at("compatibility:"), "it has at most 500 characters".into()));
    }
    let description = front.description.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok((Skill { name: front.name, description, folder: folder.into() }, body.trim().into()))
}

/// What has been loaded in this conversation.
#[derive(Default)]
pub struct Loaded(Mutex<HashSet<String>>);

/// Brings a skill, or one of its files.
struct LoadSkill(Arc<Skills>);

impl Tool for LoadSkill {
    fn spec(&self) -> ToolSpec {
        ToolSpec::new(
            "load_skill",
            "Loads the instructions of a skill, or with `file` one of its further files, as named by the instructions.",
            json!({
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "The skill, as listed."},
                    "file": {"type": "string", "description": "A file of the skill, such as references/rust.md."},
                },
                "required": ["name"],
            }),
        )
    }

    async fn call(&self, input: Value, cx: &Context) -> Result<Output, ToolError> {
        #[derive(Deserialize)]
        struct Args {
            name: String,
            file: Option<String>,
        }
        let Args { name, file } = args(input)?;
        let skill = self.0.skills.get(&name).ok_or_else(|| {
            let names: Vec<&str> = self.0.skills.keys().map(|name| name.as_str()).collect();
            ToolError(format!("there is no skill `{name}`; the skills are {}", names.join(", ")))
        })?;
        if let Some(file) = file {
            // The guard of the file tools, around the skill's folder instead of the project's.
            let here = Context { agent: cx.agent.clone().at(&skill.folder) };
            let text = std::io::read_to_string(paths::open(&here, &file)?.take(LARGEST + 1));
            let text = text.map_err(|error| ToolError(format!("{file}: {error}")))?;
            if text.len() as u64 > LARGEST {
                return Err(ToolError(format!(
                    "{file}: it is larger than {LARGEST} bytes; read parts of it with bash"
                )));
            }
            return Ok(text.into());
        }
        let (_, body) = read(&skill.folder).map_err(ToolError)?;
        if !cx.local::<Loaded>().0.lock().unwrap().insert(name.clone()) {
            return Ok(
                format!("`{name}` is loaded already: its instructions stand further up.").into()
            );
        }
        let files = files(&skill.folder);
        let folder = skill.folder.display();
        Ok(format!(
            "{body}\n\n<skill_files folder=\"{folder}\">\n{}\n</skill_files>",
            files.join("\n")
        )
        .into())
    }

    fn read_only(&self) -> bool {
        true
    }
}

/// The files that lie beside the instructions, one level deep, as the standard has them.
fn files(folder: &Path) -> Vec<String> {
    // Links are not followed: what they lead to is no part of the skill.
    let entries = |folder: &Path| {
        std::fs::read_dir(folder).into_iter().flatten().flatten().collect::<Vec<_>>()
    };
    let is = |entry: &std::fs::DirEntry, file: bool| {
        entry.file_type().is_ok_and(|t| if file { t.is_file() } else { t.is_dir() })
    };
    let mut all = entries(folder);
    for below in entries(folder).into_iter().filter(|entry| is(entry, false)) {
        all.extend(entries(&below.path()));
    }
    let files = all.into_iter().filter(|entry| is(entry, true)).map(|entry| entry.path());
    let files = files.filter(|path| !path.ends_with("SKILL.md"));
    let mut names: Vec<String> = files
        .filter_map(|path| Some(path.strip_prefix(folder).ok()?.to_str()?.to_string()))
        .collect();
    names.sort();
    names
}

/// Adds the mechanism. What was found broken is said, and left out.
pub fn install(agent: Agent, skills: Skills) -> Agent {
    for broken in &skills.broken {
        agent.context().notice(format!("skill left out: {broken}"));
    }
    if skills.skills.is_empty() {
        return agent;
    }
    agent.system(skills.index()).tool(LoadSkill(Arc::new(skills)))
}

/// Where skills are looked for: the project, the person's home, and what this repository brings.
pub fn places(project: &Path) -> Vec<PathBuf> {
    let home = std::env::home_dir();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [Some(project.to_path_buf()), home, Some(root.to_path_buf())].into_iter().flatten().collect()
}

/// The agent of lesson one, with the skills that are found.
pub fn main() -> ExitCode {
    let build = async |stage: &lessons::Stage| {
        Ok(install(stage.agent(), Skills::find(&places(&stage.folder))))
    };
    lessons::run("s05_skill_loading", build, agent_loop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::{Chat, Recorder};

    fn skill(place: &Path, name: &str, text: &str) {
        let folder = place.join("skills").join(name);
        std::fs::create_dir_all(folder.join("references")).unwrap();
        std::fs::write(folder.join("SKILL.md"), text).unwrap();
        std::fs::write(folder.join("references/more.md"), "more").unwrap();
    }

    fn good(name: &str, description: &str) -> String {
        format!("---\nname: {name}\ndescription: {description}\n---\n\n# Do it\n")
    }

    #[test]
    fn the_project_wins_and_broken_skills_are_named_by_line() {
        let (project, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        skill(project.path(), "one", &good("one", "the project's"));
        skill(home.path(), "one", &good("one", "the home's"));
        skill(home.path(), "two", &good("two", "\"quoted: well\"").replace('\n', "\r\n"));
        for (name, text) in [
            ("no-front", "# hello\n".to_string()),
            ("other", good("another", "x")),
            ("Upper", good("Upper", "x")),
            ("a--b", good("a--b", "x")),
            ("empty", good("empty", "''")),
            ("long", good("long", &"x".repeat(1025))),
            ("colon", good("colon", "a: b: c")),
            ("nameless", "---\nlicense: MIT\ndescription: x\n---\n".to_string()),
        ] {
            skill(home.path(), name, &text);
        }
        let found = Skills::find(&[project.path().into(), home.path().into()]);
        let listed: Vec<_> =
            found.skills.values().map(|s| (s.name.as_str(), s.description.as_str())).collect();
        assert_eq!(listed, [("one", "the project's"), ("two", "quoted: well")]);
        let folder = home.path().join("skills");
        let broken: Vec<&str> = found
            .broken
            .iter()
            .map(|b| b.strip_prefix(folder.to_str().unwrap()).unwrap())
            .collect();
        for (broken, expected) in broken.iter().zip([
            "/Upper/SKILL.md:2: `Upper`: a name has",
            "/a--b/SKILL.md:2: `a--b`: a name has",
            "/colon/SKILL.md:3: ",
            "/empty/SKILL.md:3: a description has 1 to 1024 characters, this one 0",
            "/long/SKILL.md:3: a description has 1 to 1024 characters, this one 1025",
            "/nameless/SKILL.md:2: missing field `name`",
            "/no-front/SKILL.md:1: it does not begin",
            "/other/SKILL.md:2: `another` differs from the name of its folder, `other`",
        ]) {
            assert!(broken.starts_with(expected), "{broken}\n{expected}");
        }
        assert_eq!(broken.len(), 8);
    }

    #[tokio::test]
    async fn bodies_come_once_files_on_request_and_nothing_from_outside() {
        let dir = tempfile::tempdir().unwrap();
        skill(dir.path(), "one", &good("one", "x"));
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        let (client, _server) = lessons::rehearse(
            "scenes: [{when: ^go$, turns: [
                {call: [{load_skill: {name: one}}, {load_skill: {name: one}}, {load_skill: {name: one, file: references/more.md}},
                        {load_skill: {name: one, file: ../../secret}}, {load_skill: {name: two}}]},
                {say: \"{{ results | map(attribute='text') | join(' | ') }}\"}]}]",
        )
        .await
        .unwrap();
        let agent = install(Agent::new(client, "."), Skills::find(&[dir.path().into()]));
        let text = agent_loop(&agent, &mut Chat::new("go")).await.unwrap().text();
        let folder = dir.path().join("skills/one");
        let told: Vec<&str> = text.split(" | ").collect();
        assert_eq!(
            told[0],
            format!(
                "# Do it\n\n<skill_files folder=\"{}\">\nreferences/more.md\n</skill_files>",
                folder.display()
            )
        );
        assert_eq!(told[1], "`one` is loaded already: its instructions stand further up.");
        assert_eq!(told[2], "more");
        assert!(told[3].contains("outside"), "{}", told[3]);
        assert_eq!(told[4], "there is no skill `two`; the skills are one");
    }

    #[tokio::test]
    async fn only_names_and_descriptions_are_in_the_system_text() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let skills = Skills::find(&[root]);
        assert_eq!(skills.broken, Vec::<String>::new());
        let names: Vec<&String> = skills.skills.keys().collect();
        assert_eq!(names, ["agent-builder", "code-review", "pdf"]);
        let bodies: usize = skills.skills.values().map(|s| read(&s.folder).unwrap().1.len()).sum();
        assert!(skills.index().len() * 10 < bodies, "{} against {bodies}", skills.index().len());
        assert!(skills.index().lines().count() == 5);
    }

    #[tokio::test]
    async fn a_broken_skill_is_reported_to_the_person() {
        let dir = tempfile::tempdir().unwrap();
        skill(dir.path(), "bad", "no front matter");
        let (client, _server) =
            lessons::rehearse("scenes: [{when: ., turns: [{say: x}]}]").await.unwrap();
        let ui = Arc::new(Recorder::default());
        let agent =
            install(Agent::new(client, ".").ui(ui.clone()), Skills::find(&[dir.path().into()]));
        assert!(ui.take()[0].contains("skills/bad/SKILL.md:1: "));
        assert!(agent.specs().is_empty());
    }
}
