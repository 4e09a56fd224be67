//! # s05: knowledge that is loaded when it is needed
//!
//! How to review code, how to take a PDF apart: an agent could know a hundred such things, but not
//! all at once. In the system text they would be paid for with every request, and most are never
//! used. So the system text holds a list of names and descriptions. The tool `load_skill` brings
//! the instructions of one skill when a task calls for them, and its further files one by one.
//!
//! ```text
//! skills/*/SKILL.md --names, descriptions--> system text, once at the start
//!         |
//!         +--instructions--> load_skill --> tool result, marked `skill:NAME` and `keep`
//!         |                                    |
//!         +--further files-> load_skill        +--> after each reply: what stands in the chat
//!                            with `file`            is what counts as loaded
//! ```
//!
//! New here: system text that a lesson adds. It must not change while a conversation lasts, because
//! the prompt cache goes by the prefix, and everything after a changed word is paid for again. New
//! too: a result that is **kept**, so that compaction (s06) leaves it word for word. What is loaded
//! is a state [of the text](State::OF_TEXT): the lesson reads it off the conversation after each
//! reply, so it is right after a withdrawn prompt, in a fork and after compaction, whatever became
//! of the text.
//!
//! Terms: **skill** (the Agent Skills standard, <https://agentskills.io>: a folder with a
//! `SKILL.md`), **front matter** (the YAML between two lines `---` that names and describes it),
//! **progressive disclosure** (first the description, then the instructions, then the files).
//!
//! Run it: `cargo run --example s05_skill_loading`
//!
//! You will see the model load the skill `code-review` for a review, then one of its checklists,
//! and prove that a line of the reviewed script is dangerous.
//!
//! Try, and predict first:
//! 1. Delete the line `name:` in `skills/pdf/SKILL.md`, then the line `description:`. Who is told,
//!    and what becomes of the skill?
//! 2. Take the layer `FindLoaded` out of [`install`]. Which tests fail, and why?
//! 3. Repeat the line `load_skill` in `config/rehearsals/s05_skill_loading.yaml`. What does the
//!    second call return?
//!
//! Pitfalls: a description that says what a skill is, but not when to use it, is never followed; a
//! skill's files are outside of the working directory, so they need a guard of their own; skills
//! are instructions, so a project that brings some can steer your agent.
//!
//! A product also asks before it trusts a project's skills, limits how much of them survives
//! compaction, and runs some in a subagent (s04).
//!
//! Builds on s01. Motto: *Load knowledge when it is needed, not up front.*

use lessons::s01_loop::agent_loop;
use rungs_core::{
    Agent, Block, Chat, Context, Effect, Layer, NextAsk, Reply, Result, State, Tool, ToolError,
    ToolOutput, ToolSpec, paths,
};
use rungs_files::{front_matter, read_config};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// Where skills are, below a project or a home.
const FOLDERS: [&str; 3] = ["skills", ".agents/skills", ".claude/skills"];
/// How many skills of one folder are read.
const MAX_SKILLS: usize = 200;
/// How large a file of a skill may be, in bytes: the standard asks for small ones.
const MAX_FILE_BYTES: u64 = 100_000;
/// How many files of a skill are listed.
const MAX_FILES: usize = 200;
/// How long the standard lets a name and a description be.
const MAX_NAME_CHARS: usize = 64;
const MAX_DESCRIPTION_CHARS: usize = 1024;
/// How the origin of a loaded skill begins; the skill's name follows.
const ORIGIN: &str = "skill:";

/// A skill as it is listed.
#[derive(Debug, Clone)]
struct Skill {
    /// What it does, and when to use it.
    description: String,
    folder: PathBuf,
    /// `FILE:LINE: what is not as the standard asks`.
    faults: Vec<String>,
}

/// The skills that were found, by name, which is mostly also the name of the skill's folder.
#[derive(Debug, Clone, Default)]
pub struct Skills {
    skills: BTreeMap<String, Skill>,
    /// What was left out and why: `FILE:LINE: reason`.
    broken: Vec<String>,
}

impl Skills {
    /// Looks below these places, such as the project and the home; the first skill of a name wins.
    pub fn find(places: &[PathBuf]) -> Skills {
        let mut found = Skills::default();
        for folder in places.iter().flat_map(|place| FOLDERS.map(|folder| place.join(folder))) {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            let mut skills: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            skills.retain(|skill| skill.join("SKILL.md").exists());
            skills.sort();
            if skills.len() > MAX_SKILLS {
                let more = skills.split_off(MAX_SKILLS).len();
                let folder = folder.display();
                found.broken.push(format!("{folder}: {more} more than {MAX_SKILLS} skills"));
            }
            for folder in skills {
                match read(&folder) {
                    Ok((name, skill, _)) => found.add(name, skill),
                    Err(why) => found.broken.push(why),
                }
            }
        }
        found
    }

    fn add(&mut self, name: String, mut skill: Skill) {
        match self.skills.get_mut(&name) {
            None => _ = self.skills.insert(name, skill),
            // Of two in one place, the one whose folder has the name.
            Some(first) if first.folder.parent() == skill.folder.parent() => {
                if skill.folder.ends_with(&name) {
                    std::mem::swap(first, &mut skill);
                }
                let (file, first) = (skill.folder.join("SKILL.md"), first.folder.display());
                self.broken.push(format!("{}: `{name}` is in {first} too", file.display()));
            }
            // The places were looked at in their order of precedence.
            Some(_) => {}
        }
    }

    /// The section of the system text: a line for each skill.
    fn index(&self) -> String {
        let mut index = "# Skills\nInstructions for certain kinds of work. When a task fits a \
            description, call `load_skill` first, and follow what it brings."
            .to_string();
        for (name, skill) in &self.skills {
            index.push_str(&format!("\n- {name}: {}", skill.description));
        }
        index
    }
}

/// Name and instructions of the skill in a folder, and how it is listed, or `FILE:LINE: reason`.
/// Only a skill without a description is of no use: of other faults the person is told.
fn read(folder: &Path) -> Result<(String, Skill, String), String> {
    let file = folder.join("SKILL.md");
    let text = read_config(&file).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{}: it is larger than {MAX_FILE_BYTES} bytes", file.display()));
    }
    let front = front_matter(&file, &text).map_err(|error| error.to_string())?;
    let mut faults: Vec<String> = front.faults.iter().map(|fault| fault.to_string()).collect();
    let at = |key: &str, why: &str| {
        let line = front.lines.get(key).unwrap_or(&1);
        format!("{}:{line}: {why}", file.display())
    };
    let field = |key: &str| {
        let words = front.fields.get(key).map(|value| value.split_whitespace().collect::<Vec<_>>());
        words.unwrap_or_default().join(" ")
    };
    let (mut name, mut description) = (field("name"), field("description"));
    if description.is_empty() {
        let why = "there is no description; add a line `description: \"what for, and when\"`";
        return Err(at("description", why));
    }
    if let Some((cut, _)) = description.char_indices().nth(MAX_DESCRIPTION_CHARS) {
        let length = description.chars().count();
        description.truncate(cut);
        let why = format!("only {MAX_DESCRIPTION_CHARS} of its {length} characters are listed");
        faults.push(at("description", &why));
    }
    let folder_name = folder.file_name().unwrap_or_default().display().to_string();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_word = |word: &str| !word.is_empty() && word.chars().all(plain);
    if name.is_empty() {
        name = folder_name;
        faults.push(at("name", &format!("there is no name, so it is called `{name}`")));
    } else if name.chars().count() > MAX_NAME_CHARS || !name.split('-').all(is_word) {
        name = name.chars().take(MAX_NAME_CHARS).collect();
        let why = "a name has 1 to 64 characters a-z, 0-9 and single hyphens within";
        faults.push(at("name", &format!("`{name}`: {why}")));
    } else if name != folder_name {
        let why = format!("`{name}` differs from the name of its folder, `{folder_name}`");
        faults.push(at("name", &why));
    }
    Ok((name, Skill { description, folder: folder.into(), faults }, front.body))
}

/// The text of a file of a skill, if it is not too large.
fn read_text(file: File) -> std::io::Result<String> {
    let mut text = String::new();
    if file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_FILE_BYTES {
        let why = format!("it is larger than {MAX_FILE_BYTES} bytes; read parts of it with bash");
        return Err(std::io::Error::other(why));
    }
    Ok(text)
}

/// The files beside the instructions, one level deep, as the standard has them. `parent` stands
/// before each name.
fn files(folder: &Path, parent: &str) -> Vec<String> {
    let mut names = vec![];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{parent}{}", entry.file_name().display());
        match entry.file_type() {
            Ok(kind) if kind.is_file() && name != "SKILL.md" => names.push(name),
            Ok(kind) if kind.is_dir() && parent.is_empty() => {
                names.extend(files(&entry.path(), &format!("{name}/")));
            }
            // Links are not followed: what they lead to is no part of the skill.
            _ => {}
        }
    }
    names.sort();
    names
}

/// The skills whose instructions the model has before it.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Loaded(BTreeSet<String>);

impl State for Loaded {
    const NAME: &'static str = "skills_loaded";
    const OF_TEXT: bool = true;
}

/// Finds out after each reply, which is before the next tool runs, what is loaded.
struct FindLoaded;

impl Layer for FindLoaded {
    async fn ask(&self, chat: &mut Chat, cx: &Context, next: NextAsk<'_>) -> Result<Reply> {
        // First the reply: compaction further in may remove a skill.
        let reply = next.run(chat, cx).await?;
        let origins = chat.blocks().filter_map(|block| block.origin());
        let names = origins.filter_map(|origin| origin.name.strip_prefix(ORIGIN));
        let loaded = Loaded(names.map(String::from).collect());
        chat.update(|state: &mut Loaded| *state = loaded);
        Ok(reply)
    }
}

/// Brings a skill, or one of its files.
struct LoadSkill(Arc<Skills>);

/// Loads the instructions of a skill, or with `file` one of its further files, as named by the
/// instructions.
#[derive(Deserialize, JsonSchema)]
struct LoadSkillInput {
    /// The skill, as listed.
    name: String,
    /// A file of the skill, such as references/rust.md.
    file: Option<String>,
}

impl Tool for LoadSkill {
    type Input = LoadSkillInput;

    fn spec(&self) -> ToolSpec {
        ToolSpec::of::<LoadSkillInput>("load_skill")
    }

    fn effect(&self, _: &LoadSkillInput) -> Effect {
        Effect::Reads
    }

    async fn call(&self, input: LoadSkillInput, cx: &Context) -> Result<ToolOutput, ToolError> {
        let LoadSkillInput { name, file } = input;
        let Some(skill) = self.0.skills.get(&name) else {
            let names = self.0.skills.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(ToolError(format!("there is no skill `{name}`; the skills are {names}")));
        };
        if let Some(file) = file {
            // The guard of the file tools, around the skill's folder instead of the project's.
            let inside = cx.agent.clone().in_dir(&skill.folder).context();
            let text = read_text(paths::open(&inside, &file)?);
            return Ok(text.map_err(|error| ToolError(format!("{file}: {error}")))?.into());
        }
        let (.., instructions) = read(&skill.folder).map_err(ToolError)?;
        // Two calls of one reply come here without a request between them.
        if !cx.update(|loaded: &mut Loaded| loaded.0.insert(name.clone())) {
            let text = format!("`{name}` is loaded already: its instructions stand further up.");
            return Ok(text.into());
        }
        let (folder, mut files) = (skill.folder.display(), files(&skill.folder, ""));
        if files.len() > MAX_FILES {
            let more = files.split_off(MAX_FILES).len();
            files.push(format!("[{more} more files]"));
        }
        let files = files.join("\n");
        let text =
            format!("{instructions}\n\n<skill_files folder=\"{folder}\">\n{files}\n</skill_files>");
        Ok(ToolOutput(vec![Block::kept(format!("{ORIGIN}{name}"), text)]))
    }
}

/// Adds the mechanism. What is wrong with a skill is reported; a broken one is left out.
pub fn install(agent: Agent, skills: Skills) -> Agent {
    for broken in &skills.broken {
        agent.context().notice(format!("skill left out: {broken}"));
    }
    for fault in skills.skills.values().flat_map(|skill| &skill.faults) {
        agent.context().notice(format!("skill loaded, but {fault}"));
    }
    if skills.skills.is_empty() {
        return agent;
    }
    agent.system(skills.index()).tool(LoadSkill(Arc::new(skills))).wrap(FindLoaded)
}

/// Where skills are looked for: the project, the person's home, and this repository.
pub fn places(project: &Path) -> Vec<PathBuf> {
    let mut places = vec![project.to_path_buf()];
    places.extend(std::env::home_dir());
    places.push(env!("CARGO_MANIFEST_DIR").into());
    places
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
    use lessons::testing::{Play, play, results};
    use rehearsal::{Turn, call, calls, say, say_results, scene};
    use rungs_core::{Message, tools};
    use serde_json::{Value, json};
    use std::time::Duration;

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
    fn the_project_wins_and_broken_skills_are_named() {
        let (project, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        skill(project.path(), "one", &good("one", "the project's"));
        skill(home.path(), "one", &good("one", "the home's"));
        skill(home.path(), "two", &good("two", "\"quoted: well\"").replace('\n', "\r\n"));
        for (name, text) in [
            ("no-front", "# hello\n".to_string()),
            ("empty", good("empty", "''")),
            ("list", good("list", "[a, b]")),
            ("huge", good("huge", "x") + &"x".repeat(MAX_FILE_BYTES as usize)),
            ("larger", good("larger", "x") + &"x".repeat(10_000_000)),
            ("twice", good("two", "the same name")),
        ] {
            skill(home.path(), name, &text);
        }
        std::fs::create_dir_all(home.path().join("skills/odd/SKILL.md")).unwrap();
        let found = Skills::find(&[project.path().into(), home.path().into()]);
        assert_eq!(listed(&found), [("one", "the project's"), ("two", "quoted: well")]);
        assert_eq!(faults(&found), Vec::<String>::new());
        let no_description =
            "there is no description; add a line `description: \"what for, and when\"`";
        let folder = home.path().join("skills").display().to_string();
        assert_eq!(
            below(&folder, &found.broken),
            [
                format!("empty/SKILL.md:3: {no_description}"),
                "huge/SKILL.md: it is larger than 100000 bytes".into(),
                "larger/SKILL.md: it is larger than 1000000 bytes, the most that is read".into(),
                format!("list/SKILL.md:3: {no_description}"),
                "no-front/SKILL.md:1: it does not begin with front matter between two lines `---`"
                    .into(),
                "odd/SKILL.md: this is a folder, and a file is needed".into(),
                format!("twice/SKILL.md: `two` is in {folder}/two too"),
            ]
        );
    }

    fn listed(found: &Skills) -> Vec<(&str, &str)> {
        found.skills.iter().map(|(name, s)| (name.as_str(), s.description.as_str())).collect()
    }

    fn faults(found: &Skills) -> Vec<String> {
        found.skills.values().flat_map(|skill| skill.faults.clone()).collect()
    }

    /// Reports without the folder that they begin with.
    fn below<'a>(folder: &str, reports: &'a [String]) -> Vec<&'a str> {
        reports.iter().map(|report| &report[folder.len() + 1..]).collect()
    }

    #[test]
    fn what_is_not_as_the_standard_asks_is_reported_and_loaded() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a--b", good("a--b", "x")),
            ("colon", good("colon", "Use for: a: b")),
            ("compatible", good("compatible", &format!("x\ncompatibility: {}", "x".repeat(501)))),
            ("hint", good("hint", "x\nargument-hint: [file] - name\nKeywords: a: b")),
            ("long", good("long", &"x".repeat(1025))),
            ("nameless", "---\nlicense: MIT\ndescription: x\n---\n".to_string()),
            ("other", good("another", "x")),
            ("open", "---\nname: open\ndescription: x\n\n# Do it\n".to_string()),
        ] {
            skill(dir.path(), name, &text);
        }
        let found = Skills::find(&[dir.path().into()]);
        assert_eq!(found.broken, Vec::<String>::new());
        let long = "x".repeat(1024);
        assert_eq!(
            listed(&found),
            [
                ("a--b", "x"),
                ("another", "x"),
                ("colon", "Use for: a: b"),
                ("compatible", "x"),
                ("hint", "x"),
                ("long", long.as_str()),
                ("nameless", "x"),
                ("open", "x"),
            ]
        );
        let faults = faults(&found);
        let faults = below(&dir.path().join("skills").display().to_string(), &faults);
        let expected = [
            "a--b/SKILL.md:2: `a--b`: a name has 1 to 64 characters a-z, 0-9 and single hyphens",
            "other/SKILL.md:2: `another` differs from the name of its folder, `other`",
            "colon/SKILL.md:3: this is no strict YAML, so it was read line by line (",
            "hint/SKILL.md:4: this is no strict YAML, so it was read line by line (",
            "long/SKILL.md:3: only 1024 of its 1025 characters are listed",
            "nameless/SKILL.md:1: there is no name, so it is called `nameless`",
            "open/SKILL.md:4: no line `---` ends the front matter; it is taken to end here",
        ];
        assert_eq!(faults.len(), expected.len());
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}\n{expected}");
        }
    }

    #[test]
    fn skills_beyond_the_limit_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..MAX_SKILLS + 2 {
            skill(dir.path(), &format!("s{n}"), &good(&format!("s{n}"), "x"));
        }
        let found = Skills::find(&[dir.path().into()]);
        let broken = format!("{}: 2 more than 200 skills", dir.path().join("skills").display());
        assert_eq!((found.skills.len(), found.broken), (MAX_SKILLS, vec![broken]));
        let fifo = dir.path().join("skills/s0/SKILL.md");
        std::fs::remove_file(&fifo).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let found = Skills::find(&[dir.path().into()]);
        let no_file = "this is a pipe, a socket or a device, and a file is needed";
        assert_eq!(found.broken[1], format!("{}: {no_file}", fifo.display()));
    }

    fn load(input: Value) -> (&'static str, Value) {
        ("load_skill", input)
    }

    /// An agent with the skill `one`, and what its instructions are.
    async fn with_skill(scenes: impl IntoIterator<Item = (&str, Vec<Turn>)>) -> (Play, String) {
        let scenes = scenes.into_iter().map(|(when, turns)| scene(when, turns));
        let play = play(scenes, |agent, dir| {
            skill(dir, "one", &good("one", "x"));
            install(agent, Skills::find(&[dir.into()]))
        })
        .await;
        let folder = play.dir.path().join("skills/one");
        let files = "references/more.md\n</skill_files>";
        let folder = folder.display();
        (play, format!("# Do it\n\n<skill_files folder=\"{folder}\">\n{files}"))
    }

    const LOADED: &str = "`one` is loaded already: its instructions stand further up.";

    #[tokio::test]
    async fn instructions_come_once_files_on_request_and_nothing_from_outside() {
        let turns = vec![
            calls([
                load(json!({"name": "one"})),
                load(json!({"name": "one"})),
                load(json!({"name": "one", "file": "references/more.md"})),
                load(json!({"name": "one", "file": "../../secret"})),
                load(json!({"name": "one", "file": "large.md"})),
                load(json!({"name": "two"})),
            ]),
            say("done"),
        ];
        let (play, body) = with_skill([("^go$", turns)]).await;
        std::fs::write(play.dir.path().join("secret"), "secret").unwrap();
        let large = "x".repeat(MAX_FILE_BYTES as usize + 1);
        std::fs::write(play.dir.path().join("skills/one/large.md"), large).unwrap();
        let body = body.replace("references", "large.md\nreferences");
        let (_, chat) = play.ask("go").await;
        assert_eq!(
            results(&chat.messages()[2]),
            [
                body.as_str(),
                LOADED,
                "more",
                "../../secret: it is outside the working directory",
                "large.md: it is larger than 100000 bytes; read parts of it with bash",
                "there is no skill `two`; the skills are one",
            ]
        );
        let kept: Vec<&str> =
            chat.blocks().filter_map(Block::origin).filter(|o| o.keep).map(|o| &*o.name).collect();
        assert_eq!(kept, ["environment", "skill:one"]);
    }

    #[tokio::test]
    async fn of_many_files_the_first_are_listed() {
        let turns = vec![call("load_skill", json!({"name": "one"})), say_results()];
        let (play, _) = with_skill([("^go$", turns)]).await;
        for n in 0..MAX_FILES + 50 {
            std::fs::write(play.dir.path().join(format!("skills/one/a{n:03}")), "").unwrap();
        }
        let (answer, _) = play.ask("go").await;
        assert!(answer.ends_with("\na199\n[51 more files]\n</skill_files>"), "{answer}");
    }

    /// Scenes whose names are prompts: each loads the skill and says what came of it.
    fn loading<const N: usize>(prompts: [&str; N]) -> [(&str, Vec<Turn>); N] {
        let turns = || vec![call("load_skill", json!({"name": "one"})), say_results()];
        prompts.map(|prompt| (prompt, turns()))
    }

    #[tokio::test]
    async fn a_withdrawn_prompt_leaves_nothing_loaded() {
        let [again] = loading(["^again$"]);
        let refused = || json!({"status": 400, "message": "no"});
        let first = vec![say("never").fault(refused())];
        let later = vec![call("load_skill", json!({"name": "one"})), say("never").fault(refused())];
        let (play, body) = with_skill([("^first$", first), ("^later$", later), again]).await;
        for prompt in ["first", "later"] {
            let mut chat = Chat::default();
            play.run(&mut chat, prompt).await.unwrap_err();
            assert!(!chat.messages().iter().any(|message| message.text().contains(&body)));
            assert_eq!(play.run(&mut chat, "again").await.unwrap().text(), body);
        }
        // The last request of the prompt `later` did carry the skill.
        assert!(play.bodies()[4]["messages"].to_string().contains("# Do it"));
    }

    #[tokio::test]
    async fn a_skill_whose_result_was_lost_with_its_turn_loads_again() {
        let wait = ("bash", json!({"command": "sleep 60"}));
        let lost = vec![calls([load(json!({"name": "one"})), wait]), say("never")];
        let [again] = loading(["^again$"]);
        let (play, body) = with_skill([("^lost$", lost), again]).await;
        let agent = play.agent.clone().tool(tools::Bash);
        let mut chat = Chat::default();
        let loaded = async {
            while !play.ui.take().iter().any(|line| line.contains(&body)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            end = agent.run(&mut chat, "lost", agent_loop) => panic!("{end:?}"),
            () = loaded => {}
        }
        assert!(!chat.open_calls().is_empty());
        let reply = agent.run(&mut chat, "again", agent_loop).await.unwrap();
        assert_eq!(reply.text(), body);
    }

    #[tokio::test]
    async fn a_fork_has_what_was_loaded_before_it_and_a_new_chat_has_nothing() {
        let (play, body) = with_skill(loading(["^one$", "^two$", "^three$"])).await;
        let empty = Chat::default();
        let mut early = empty.fork();
        let mut chat = empty;
        assert_eq!(play.run(&mut chat, "one").await.unwrap().text(), body);
        let mut fork = chat.fork();
        assert_eq!(play.run(&mut chat, "two").await.unwrap().text(), LOADED);
        assert_eq!(play.run(&mut fork, "two").await.unwrap().text(), LOADED);
        assert_eq!(play.run(&mut early, "two").await.unwrap().text(), body);
        assert_eq!(play.ask("three").await.0, body);
        // A file brings both back, the text and what counts as loaded.
        let file = serde_json::to_string(&chat).unwrap();
        let mut read: Chat = serde_json::from_str(&file).unwrap();
        assert_eq!(play.run(&mut read, "three").await.unwrap().text(), LOADED);
    }

    #[tokio::test]
    async fn after_compaction_a_skill_is_loaded_if_its_text_was_kept() {
        let (play, body) = with_skill(loading(["^one$", "^two$", "^three$"])).await;
        let (_, mut chat) = play.ask("one").await;
        let kept: Vec<Block> =
            chat.blocks().filter(|b| b.origin().is_some_and(|o| o.keep)).cloned().collect();
        chat.compact([Message { content: kept, ..Message::empty() }]);
        assert_eq!(play.run(&mut chat, "two").await.unwrap().text(), LOADED);
        chat.compact([Message::user("all is gone")]);
        assert_eq!(play.run(&mut chat, "three").await.unwrap().text(), body);
    }

    #[tokio::test]
    async fn a_subagent_loads_for_itself() {
        let (play, body) = with_skill(loading(["^one$", "^two$"])).await;
        play.ask("one").await;
        let child = play.agent.child("helper", &[]);
        let reply = child.run(&mut Chat::default(), "two", agent_loop).await.unwrap();
        assert_eq!(reply.text(), body);
    }

    #[test]
    fn only_names_and_descriptions_are_in_the_system_text() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let skills = Skills::find(&[root]);
        assert_eq!((&skills.broken, faults(&skills)), (&vec![], vec![]));
        let names: Vec<&String> = skills.skills.keys().collect();
        assert_eq!(names, ["agent-builder", "code-review", "pdf"]);
        let bodies: usize = skills.skills.values().map(|s| read(&s.folder).unwrap().2.len()).sum();
        assert!(skills.index().len() * 10 < bodies, "{} against {bodies}", skills.index().len());
        assert_eq!(skills.index().lines().count(), 5);
    }

    #[tokio::test]
    async fn a_broken_skill_is_reported_to_the_person() {
        let play = play([scene(".", [say("x")])], |agent, dir| {
            skill(dir, "bad", "no front matter");
            install(agent, Skills::find(&[dir.into()]))
        })
        .await;
        let file = play.dir.path().join("skills/bad/SKILL.md");
        let why = "it does not begin with front matter between two lines `---`";
        let notice = format!("main: notice skill left out: {}:1: {why}", file.display());
        assert_eq!(play.ui.take(), [notice]);
        assert!(play.agent.specs().is_empty());
        let (answer, _) = play.ask("go").await;
        assert_eq!((answer.as_str(), play.bodies()[0].get("system")), ("x", None));
    }
}
