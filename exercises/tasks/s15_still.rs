// # An answer is for what was shown
//
// build, level 3, 30 minutes. Read: examples/s15_permissions.rs, core/src/ui.rs
//
// A gate stands before every call that writes. `judge` is given: it follows links, says which file
// a call would really change, and denies what lies in the folder `closed`. While a person reads the
// question, though, the world goes on, and a link can be led to another folder.
//
// Write `act` of the layer `Gate`:
//
// 1. A call that writes nothing runs at once, and nobody is asked.
// 2. What is denied is refused (`call.refuse(why)`).
// 3. Otherwise the person is asked with `cx.choose(judged.question())`. The choice with the number
//    0 is "yes"; every other answer refuses. When nobody is there (`cx.attended()`), nobody is
//    asked, and the call is refused.
// 4. An answer is for what was shown. If the call is judged otherwise after a "yes", it does not
//    run by this answer: what holds now is shown, or refused.
//
// Run: cargo run -p rungs-exercises -- run s15_still

#[allow(unused_imports)]
use rungs_core::{Answer, Context, Effect, Layer, NextAct, Question, ToolCall, ToolResult};
use std::path::PathBuf;

/// What was found out about a call that writes.
#[derive(Debug, Clone, PartialEq)]
#[allow(dead_code)]
struct Judged {
    /// The file that it would change, free of links.
    target: PathBuf,
    /// Why it is denied, if it is.
    denied: Option<&'static str>,
}

#[allow(dead_code)]
impl Judged {
    fn question(&self) -> Question {
        Question::new(format!("May {} be changed?", self.target.display())).choice("yes")
    }
}

/// Judges a call as things are now; `None` when it writes nothing.
#[allow(dead_code)]
fn judge(call: &ToolCall, cx: &Context) -> Option<Judged> {
    let Effect::Writes(files) = cx.effect(call) else { return None };
    let path = cx.cwd().join(files.first()?);
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let target = folder.unwrap_or_default().join(path.file_name().unwrap_or_default());
    let is_closed = target.components().any(|part| part.as_os_str() == "closed");
    let denied = is_closed.then_some("nothing in `closed` may be changed");
    Some(Judged { target, denied })
}

/// Asks before each call that writes.
struct Gate;

impl Layer for Gate {
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let _ = (&call, cx, next);
        todo!("judge, ask, judge again")
    }
}

mod tests {
    use super::*;
    use rehearsal::{call, say, scene};
    use rungs_core::{Event, Recorder, Ui, tools};
    use rungs_exercises::support::{Play, play, results};
    use serde_json::json;
    use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc};

    /// A person, whose answers are prepared, and what happens while each question is open.
    #[derive(Clone)]
    struct Person {
        screen: Arc<Recorder>,
        is_there: bool,
        meanwhile: Arc<dyn Fn() + Send + Sync>,
    }

    impl Ui for Person {
        fn show(&self, event: &Event, cx: &Context) {
            self.screen.show(event, cx);
        }

        async fn choose(&self, question: Question, cx: &Context) -> Answer {
            let answer = self.screen.choose(question, cx).await;
            (self.meanwhile)();
            answer
        }

        fn attended(&self) -> bool {
            self.is_there
        }
    }

    fn person(answers: impl IntoIterator<Item = Answer>) -> Person {
        let (screen, meanwhile) = (Recorder::answering(answers), Arc::new(|| {}));
        Person { screen, is_there: true, meanwhile }
    }

    fn yes() -> Answer {
        Answer::Choice(0)
    }

    /// Lets the link `here` lead to this folder.
    fn lead(dir: &Path, to: &str) {
        let _ = fs::remove_file(dir.join("here"));
        symlink(to, dir.join("here")).unwrap();
    }

    /// A model that writes `here/file`, before this person; the result of the call, and how often
    /// the person was asked.
    async fn write(person: impl FnOnce(&Path) -> Person) -> (Play, String, usize) {
        let input = json!({"file_path": "here/file", "content": "x"});
        let turns = [call("write", input), say("done")];
        let mut screen = None;
        let play = play([scene("^go$", turns)], |agent, dir| {
            for name in ["open", "other", "closed"] {
                fs::create_dir(dir.join(name)).unwrap();
            }
            lead(dir, "open");
            let person = person(dir);
            screen = Some(person.screen.clone());
            tools::all(agent).ui(person).wrap(Gate)
        })
        .await;
        let (_, chat) = play.ask("go").await;
        let said = results(&chat.messages()[2]).concat();
        let asked = screen.unwrap().take().iter().filter(|line| line.contains(": asks ")).count();
        (play, said, asked)
    }

    fn exists(play: &Play, file: &str) -> bool {
        play.dir.path().join(file).exists()
    }

    #[tokio::test]
    async fn a_yes_lets_a_call_run_and_a_no_does_not() {
        let (play, said, asked) = write(|_| person([yes()])).await;
        assert!(exists(&play, "open/file"), "the person said yes: {said}");
        assert_eq!(asked, 1, "one question, one answer");
        let (play, said, asked) = write(|_| person([Answer::No("not now".into())])).await;
        assert!(!exists(&play, "open/file") && asked == 1, "the person said no: {said}");
    }

    #[tokio::test]
    async fn what_writes_nothing_runs_unasked() {
        let turns = [call("glob", json!({"pattern": "*"})), say("done")];
        let nobody = person([]);
        let screen = nobody.screen.clone();
        let play = play([scene("^go$", turns)], |agent, dir| {
            fs::write(dir.join("notes"), "").unwrap();
            tools::all(agent).ui(nobody).wrap(Gate)
        })
        .await;
        let (_, chat) = play.ask("go").await;
        let said = results(&chat.messages()[2]).concat();
        assert!(said.contains("notes"), "a search changes nothing: {said}");
        let asked = screen.take().iter().any(|line| line.contains(": asks "));
        assert!(!asked, "a question that is not needed teaches people not to read questions");
    }

    #[tokio::test]
    async fn what_is_denied_is_not_asked() {
        let closed = |dir: &Path| {
            lead(dir, "closed");
            person([yes()])
        };
        let (play, said, asked) = write(closed).await;
        assert!(!exists(&play, "closed/file"), "a rule denies it, so no answer can allow it");
        assert_eq!(asked, 0, "nobody is asked about what is denied anyway: {said}");
        assert!(said.contains("closed"), "the model must read why: {said}");
    }

    #[tokio::test]
    async fn without_a_person_nothing_is_written() {
        let nobody = |_: &Path| Person { is_there: false, ..person([yes()]) };
        let (play, said, _) = write(nobody).await;
        let written = exists(&play, "open/file");
        assert!(!written, "what would be asked is refused when nobody is there: {said}");
    }

    #[tokio::test]
    async fn a_link_that_is_led_into_a_closed_folder_meanwhile_opens_nothing() {
        let attack = |dir: &Path| {
            let dir = dir.to_path_buf();
            Person { meanwhile: Arc::new(move || lead(&dir, "closed")), ..person([yes(), yes()]) }
        };
        let (play, said, _) = write(attack).await;
        assert!(
            !exists(&play, "closed/file"),
            "the person said yes to open/file, and closed/file was written: {said}\nBetween the \
             question and the answer the link was led elsewhere. Judge again."
        );
    }

    #[tokio::test]
    async fn a_link_that_is_led_to_another_file_meanwhile_is_a_new_question() {
        let attack = |dir: &Path| {
            let dir = dir.to_path_buf();
            let meanwhile = Arc::new(move || lead(&dir, "other"));
            Person { meanwhile, ..person([yes(), Answer::No(String::new())]) }
        };
        let (play, said, asked) = write(attack).await;
        let written = exists(&play, "other/file");
        assert!(!written, "a yes to open/file is no yes to other/file ({asked} questions): {said}");
    }
}
