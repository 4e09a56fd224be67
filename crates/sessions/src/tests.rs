use super::*;
use durable::Folder;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};
use tempfile::TempDir;

type Talk = Conversation<String, Value>;

const ONE: &str = "0000000000000001";
const TWO: &str = "0000000000000002";
const THREE: &str = "0000000000000003";

/// A folder in memory where possible: what is tried here does not depend on the disk.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn sessions(dir: &TempDir) -> Sessions {
    let folder = Folder::open(dir.path(), "sessions").unwrap();
    Sessions::new(folder, Redactor::new(["the-own-key".to_string()]))
}

fn begin() -> Begin {
    Begin::new("main", "/w")
}

fn now(messages: &[&str], states: &[(&str, u32)]) -> Now<String, Value> {
    Now {
        messages: messages.iter().map(|text| Arc::new(text.to_string())).collect(),
        states: states.iter().map(|(name, state)| (name.to_string(), (*state).into())).collect(),
    }
}

fn told(talk: &Talk) -> (Vec<String>, BTreeMap<String, Value>) {
    (talk.messages().map(|message| message.to_string()).collect(), talk.states().clone())
}

fn create(sessions: &Sessions, id: &str) -> Talk {
    Talk::new(sessions.open_or_create(id, &begin()).unwrap())
}

fn open(sessions: &Sessions, id: &str) -> Talk {
    Talk::new(sessions.open(id).unwrap())
}

fn turn(sessions: &Sessions, talk: &mut Talk, prompt: &str, after: &Now<String, Value>) {
    let before = now(
        &[&told(talk).0.iter().map(String::as_str).collect::<Vec<_>>()[..], &[prompt]].concat(),
        &[],
    );
    let states = talk.states().clone();
    talk.begin_turn(prompt, &Now { states, ..before }).unwrap();
    talk.end_turn(sessions, false, after).unwrap();
}

fn file(dir: &TempDir, id: &str) -> PathBuf {
    dir.path().join("sessions").join(id).join("session.jsonl")
}

/// Puts something else in one place of a state.
fn change(state: &mut Value, random: &mut fastrand::Rng) {
    let Value::Object(map) = state else {
        *state = json!({"a": {"b": state}});
        return;
    };
    let key = random.choice(["a", "b", "c"]).unwrap();
    match random.u8(0..5) {
        0 => drop(map.remove(key)),
        1 => drop(map.insert(key.into(), Value::Null)),
        2 => drop(map.insert(key.into(), json!([null, random.u8(..)]))),
        _ => change(map.entry(key).or_insert(json!({})), random),
    }
}

#[test]
fn whatever_is_done_to_a_conversation_comes_back() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let rounds = if std::env::var_os("LONG").is_some() { 2000 } else { 12 };
    for round in 0..rounds {
        let dir = folder();
        let sessions = sessions(&dir);
        let mut talk = Some(create(&sessions, ONE));
        let mut current = now(&[], &[]);
        for step in 0..random.usize(1..30) {
            let messages = &mut current.messages;
            match random.u8(0..7) {
                0..=2 => messages.push(Arc::new(format!("{step}"))),
                3 => {
                    if let Some(last) = messages.last_mut() {
                        Arc::make_mut(last).push_str(" joined");
                    }
                }
                4 => messages.truncate(random.usize(0..=messages.len())),
                5 => *messages = vec![Arc::new("summary".into())],
                _ => {
                    let name = random.u8(0..3).to_string();
                    match random.u8(0..3) {
                        0 => drop(current.states.remove(&name)),
                        1 => drop(current.states.insert(name, random.u32(0..3).into())),
                        _ => {
                            let state = current.states.entry(name).or_insert(json!({}));
                            change(state, &mut random);
                        }
                    }
                }
            }
            if random.u8(0..4) == 0 {
                talk.as_mut().unwrap().begin_turn("a prompt", &current).unwrap();
            }
            talk.as_mut().unwrap().sync(&current).unwrap();
            if random.u8(0..5) == 0 {
                drop(talk.take());
                talk = Some(open(&sessions, ONE));
            }
            let texts = current.messages.iter().map(|message| message.to_string()).collect();
            let expected = (texts, current.states.clone());
            assert_eq!(told(talk.as_ref().unwrap()), expected, "round {round}, step {step}");
            let tree = sessions.read(ONE).unwrap();
            let path = tree.path(tree.head()).into_iter().filter(|record| record.kind == "message");
            let read: Vec<String> = path.map(|record| record.read().unwrap()).collect();
            assert_eq!(read, expected.0, "round {round}, step {step}");
        }
    }
}

#[test]
fn a_state_that_grows_costs_its_growth_only() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    let (mut current, mut growth, mut size) = (now(&["go"], &[]), vec![], 0);
    for n in 0..200 {
        let files = current.states.entry("files".into()).or_insert(json!({"value": {}}));
        files["value"][format!("file{n}")] = json!({"size": n, "modified": [n, n]});
        talk.sync(&current).unwrap();
        let before = std::mem::replace(&mut size, fs::metadata(file(&dir, ONE)).unwrap().len());
        growth.push(size - before);
    }
    assert!(growth[199] < growth[1] + 20, "{growth:?}");
    drop(talk);
    assert_eq!(told(&open(&sessions, ONE)).1, current.states);
}

#[test]
fn a_rewind_takes_back_turns_and_states_and_reaches_behind_a_rewritten_history() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    turn(&sessions, &mut talk, "one", &now(&["one", "1"], &[("plan", 1)]));
    turn(&sessions, &mut talk, "two", &now(&["one", "1", "two", "2"], &[("plan", 2)]));
    talk.save("here").unwrap();
    // Room is made in the middle of a turn.
    talk.begin_turn("three", &now(&["one", "1", "two", "2", "three"], &[("plan", 2)])).unwrap();
    talk.sync(&now(&["summary", "three"], &[])).unwrap();
    talk.end_turn(&sessions, false, &now(&["summary", "three", "3"], &[])).unwrap();
    turn(&sessions, &mut talk, "four", &now(&["summary", "three", "3", "four", "4"], &[]));

    let labels = |turns: Vec<Turn>| turns.into_iter().map(|t| t.label).collect::<Vec<_>>();
    assert_eq!(labels(talk.rewind(&sessions, "").unwrap()), ["four"]);
    assert_eq!(told(&talk), told_of(&["summary", "three", "3"], &[]));
    assert_eq!(labels(talk.rewind(&sessions, "2").unwrap()), ["three", "two"]);
    assert_eq!(told(&talk), told_of(&["one", "1"], &[("plan", 1)]));
    // What was taken back is not gone.
    talk.rewind(&sessions, "here").unwrap();
    assert_eq!(told(&talk), told_of(&["one", "1", "two", "2"], &[("plan", 2)]));
    drop(talk);
    let mut talk = open(&sessions, ONE);
    assert_eq!(told(&talk), told_of(&["one", "1", "two", "2"], &[("plan", 2)]));
    let error = talk.rewind(&sessions, "3").unwrap_err().to_string();
    assert_eq!(error, format!("session {ONE} has 2 turns to take back, and no place `3`"));
    assert_eq!(labels(talk.rewind(&sessions, "2").unwrap()), ["two", "one"]);
    assert_eq!(told(&talk), told_of(&[], &[]));
}

fn told_of(messages: &[&str], states: &[(&str, u32)]) -> (Vec<String>, BTreeMap<String, Value>) {
    let now = now(messages, states);
    (messages.iter().map(|text| text.to_string()).collect(), now.states)
}

#[test]
fn a_withdrawn_prompt_is_no_turn_also_when_it_joined_an_unanswered_one() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    // The first turn fails, and its prompt stays.
    turn(&sessions, &mut talk, "one", &now(&["one"], &[("a", 1)]));
    talk.begin_turn("bad", &now(&["one bad"], &[("a", 1)])).unwrap();
    talk.end_turn(&sessions, true, &now(&["one"], &[("a", 1)])).unwrap();
    assert_eq!(told(&talk), told_of(&["one"], &[("a", 1)]));
    drop(talk);
    let mut talk = open(&sessions, ONE);
    assert_eq!(told(&talk), told_of(&["one"], &[("a", 1)]));
    let turns = talk.rewind(&sessions, "1").unwrap();
    assert_eq!((turns.len(), turns[0].label.as_str()), (1, "one"));
    assert_eq!(told(&talk), told_of(&[], &[]));
}

#[test]
fn a_turn_in_which_nothing_is_said_is_none() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    turn(&sessions, &mut talk, "one", &now(&["one", "1"], &[]));
    talk.begin_turn("", &now(&["one", "1"], &[])).unwrap();
    talk.end_turn(&sessions, false, &now(&["one", "1"], &[])).unwrap();
    assert_eq!(sessions.read(ONE).unwrap().turns(talk.head()).len(), 1);
    // One that is woken has its turn when something comes.
    talk.begin_turn("", &now(&["one", "1"], &[])).unwrap();
    talk.sync(&now(&["one", "1", "mail"], &[])).unwrap();
    assert_eq!(sessions.read(ONE).unwrap().turns(talk.head()).len(), 2);
}

#[test]
fn a_fork_shares_the_past_and_nothing_else() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut one = create(&sessions, ONE);
    let past = "a long past ".repeat(10_000);
    turn(&sessions, &mut one, "one", &now(&["one", &past], &[("plan", 1)]));
    drop(sessions.fork(ONE, one.head(), TWO, begin()).unwrap());
    let mut two = open(&sessions, TWO);
    assert_eq!(told(&two), told_of(&["one", &past], &[("plan", 1)]));
    turn(&sessions, &mut one, "two", &now(&["one", &past, "two", "2"], &[("plan", 2)]));
    turn(&sessions, &mut two, "three", &now(&["one", &past, "three", "3"], &[("plan", 3)]));
    drop(sessions.fork(TWO, two.head(), THREE, begin()).unwrap());
    let mut three = open(&sessions, THREE);
    turn(&sessions, &mut three, "four", &now(&["one", &past, "three", "3", "four", "4"], &[]));
    drop((one, two, three));

    let read = |id| told(&open(&sessions, id));
    assert_eq!(read(ONE), told_of(&["one", &past, "two", "2"], &[("plan", 2)]));
    assert_eq!(read(TWO), told_of(&["one", &past, "three", "3"], &[("plan", 3)]));
    assert_eq!(read(THREE), told_of(&["one", &past, "three", "3", "four", "4"], &[]));
    for id in [TWO, THREE] {
        assert!(fs::metadata(file(&dir, id)).unwrap().len() < 2000, "the past was copied");
    }
    // A rewind leads into the past that is shared, and a fork from there into that of the first.
    let mut three = open(&sessions, THREE);
    assert_eq!(three.rewind(&sessions, "3").unwrap().len(), 3);
    assert_eq!(told(&three), told_of(&[], &[]));
    turn(&sessions, &mut three, "new", &now(&["new", "n"], &[]));
    drop(three);
    assert_eq!(read(THREE), told_of(&["new", "n"], &[]));
    assert_eq!(read(ONE).0.len(), 4);
    let missing = sessions.fork(ONE, 999, THREE, begin()).unwrap_err().to_string();
    assert_eq!(missing, format!("session {ONE} has no record 999"));
}

#[test]
fn a_file_that_was_cut_at_any_byte_is_resumed_and_goes_on() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    let whole = ["one", "1", "two", "2"];
    turn(&sessions, &mut talk, "one", &now(&whole[..2], &[("a", 1)]));
    turn(&sessions, &mut talk, "two", &now(&whole, &[("a", 2)]));
    drop(talk);
    let bytes = fs::read(file(&dir, ONE)).unwrap();
    let every = if std::env::var_os("LONG").is_some() { 1 } else { 29 };
    for cut in (0..bytes.len()).step_by(every) {
        let dir = folder();
        let sessions = super::tests::sessions(&dir);
        fs::create_dir_all(file(&dir, ONE).parent().unwrap()).unwrap();
        fs::write(file(&dir, ONE), &bytes[..cut]).unwrap();
        let (session, tree) = sessions.open(ONE).unwrap();
        let is_torn = cut > 0 && bytes[cut - 1] != b'\n';
        assert!(
            !is_torn || tree.faults[0].contains("session.jsonl.torn-1"),
            "{cut}: {:?}",
            tree.faults
        );
        let mut talk = Talk::new((session, tree));
        let known = told(&talk).0;
        assert_eq!(known, whole[..known.len()], "{cut}");
        let next = now(&[&whole[..known.len()], &["next", "n"]].concat(), &[]);
        turn(&sessions, &mut talk, "next", &next);
        drop(talk);
        let talk = open(&sessions, ONE);
        assert_eq!(told(&talk).0.len(), known.len() + 2, "{cut}");
        assert!(sessions.read(ONE).unwrap().faults.is_empty(), "{cut}");
    }
}

#[test]
fn a_line_damaged_in_the_middle_is_named_and_the_rest_is_usable() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    turn(&sessions, &mut talk, "one", &now(&["one", "first answer"], &[]));
    turn(&sessions, &mut talk, "two", &now(&["one", "first answer", "two", "2"], &[("a", 2)]));
    drop(talk);
    let text = fs::read_to_string(file(&dir, ONE)).unwrap();
    let line = 1 + text.lines().position(|line| line.contains("first answer")).unwrap();
    fs::write(file(&dir, ONE), text.replace("first answer", "first AnsweR")).unwrap();
    let (session, tree) = sessions.open(ONE).unwrap();
    let expected = format!("session.jsonl:{line}: wrong checksum; ");
    assert!(tree.faults[0].contains(&expected), "{:?}", tree.faults);
    let damaged = fs::read_to_string(file(&dir, ONE).with_extension("jsonl.damaged-1")).unwrap();
    assert!(damaged.contains("first AnsweR"));
    let mut talk = Talk::new((session, tree));
    assert_eq!(told(&talk), told_of(&["one", "two", "2"], &[("a", 2)]));
    turn(&sessions, &mut talk, "three", &now(&["one", "two", "2", "three", "3"], &[("a", 2)]));
    drop(talk);
    assert_eq!(told(&open(&sessions, ONE)).0, ["one", "two", "2", "three", "3"]);
}

#[test]
fn every_line_can_be_damaged_and_nothing_panics() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    turn(&sessions, &mut talk, "one", &now(&["one", "1"], &[("a", 1)]));
    turn(&sessions, &mut talk, "two", &now(&["one", "1", "two", "2"], &[("a", 2)]));
    drop(sessions.fork(ONE, talk.head(), TWO, begin()).unwrap());
    drop(talk);
    let bytes = fs::read(file(&dir, ONE)).unwrap();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').count();
    for line in 0..lines {
        let mut all: Vec<Vec<u8>> =
            bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let middle = all[line].len() / 2;
        all[line][middle] ^= 1;
        fs::write(file(&dir, ONE), all.concat()).unwrap();
        let fork = sessions.read(TWO).unwrap();
        assert!(!fork.faults.is_empty(), "line {line}");
        let (session, tree) = sessions.open(ONE).unwrap();
        // Setting aside happens once, and then it is said once.
        assert!(tree.faults.is_empty(), "line {line}: {:?}", tree.faults);
        let talk = Talk::new((session, tree));
        assert!(told(&talk).0.len() >= 3, "line {line}: {:?}", told(&talk));
    }
}

#[test]
fn what_a_newer_version_wrote_is_kept_or_refused() {
    let dir = folder();
    let sessions = sessions(&dir);
    let (mut session, _) = sessions.open_or_create(ONE, &begin()).unwrap();
    let entry = |kind: &str, data: Value| record::Entry::new(kind, &data);
    let entries = vec![
        entry("message", json!("one")),
        entry("hologram", json!({"depth": 3})),
        entry("message", json!({"of": "another shape"})),
        entry("message", json!("two")),
    ];
    session.append(1, entries).unwrap();
    drop(session);
    let (session, tree) = sessions.open(ONE).unwrap();
    let fault = format!("session {ONE}: 1 records of a newer version stay in its file, unread");
    assert_eq!(tree.faults, [fault]);
    let mut talk = Talk::new((session, tree));
    assert_eq!(told(&talk).0, ["one", "two"]);
    turn(&sessions, &mut talk, "three", &now(&["one", "two", "three"], &[]));
    assert!(fs::read_to_string(file(&dir, ONE)).unwrap().contains("hologram"));

    let newer = Begin { version: 2, ..begin() };
    drop(sessions.open_or_create(TWO, &newer).unwrap_err());
    let before = fs::read(file(&dir, TWO)).unwrap();
    let refused = sessions.open(TWO).unwrap_err().to_string();
    assert!(refused.starts_with(&format!("session {TWO} has format 2, and this program knows 1")));
    assert_eq!(fs::read(file(&dir, TWO)).unwrap(), before);
}

#[test]
fn what_a_conversation_has_become_is_written_once_by_whoever_comes_first() {
    let dir = folder();
    let (all, current) = (sessions(&dir), Current::default());
    let open = || all.open_or_create(ONE, &begin());
    current.set_next(ONE, now(&["a"], &[]));
    current.set_next(ONE, now(&["a", "b"], &[]));
    let known = current.with(ONE, open, |talk: &mut Talk| Ok(told(talk))).unwrap();
    assert_eq!(known, told_of(&["a", "b"], &[]));
    current.with(ONE, open, |talk| talk.sync(&now(&["a", "b", "c"], &[]))).unwrap();
    let before = fs::read(file(&dir, ONE)).unwrap();
    // Who comes late finds nothing to do.
    current.write_next(|_| open()).unwrap();
    assert_eq!(fs::read(file(&dir, ONE)).unwrap(), before);
}

#[test]
fn what_could_not_be_written_is_written_next() {
    let dir = folder();
    let (all, current) = (sessions(&dir), Current::default());
    let open = || all.open_or_create(ONE, &begin());
    let other = open().unwrap();
    current.set_next(ONE, now(&["a"], &[]));
    assert!(current.write_next(|_| open()).is_err(), "another holds it");
    drop(other);
    let known = current.with(ONE, open, |talk: &mut Talk| Ok(told(talk))).unwrap();
    assert_eq!(known, told_of(&["a"], &[]));
}

#[test]
fn an_id_is_no_path() {
    let dir = folder();
    let sessions = sessions(&dir);
    for id in [
        "",
        ".",
        "..",
        "../../etc",
        "/etc/passwd",
        "a\0b",
        "0000000000000001/",
        "%2e%2e",
        "ABCDEF0123456789",
        "000000000000000",
        "00000000000000011",
    ] {
        assert!(matches!(sessions.open_or_create(id, &begin()), Err(Error::NoId(_))), "{id:?}");
        assert!(matches!(sessions.open(id), Err(Error::NoId(_))), "{id:?}");
        assert!(matches!(sessions.child(ONE, id, &begin()), Err(Error::NoId(_))), "{id:?}");
        assert!(sessions.find(id).is_err(), "{id:?}");
        // Also in a file: a fork names the session whose past it shares.
        let fork = Some(Fork { session: id.into(), record: 1 });
        let (_session, tree) = sessions.open_or_create(TWO, &Begin { fork, ..begin() }).unwrap();
        assert!(tree.faults[0].contains("is no id of a session"), "{id:?}: {:?}", tree.faults);
        fs::remove_dir_all(dir.path().join("sessions").join(TWO)).unwrap();
    }
    assert!(matches!(sessions.open(THREE), Err(Error::Missing(_))));
    assert!(!dir.path().join("sessions").join(THREE).exists());
}

#[test]
fn forks_of_each_other_end() {
    let dir = folder();
    let sessions = sessions(&dir);
    let fork = |session: &str| Some(Fork { session: session.into(), record: 5 });
    drop(sessions.open_or_create(ONE, &Begin { fork: fork(TWO), ..begin() }).unwrap());
    drop(sessions.open_or_create(TWO, &Begin { fork: fork(ONE), ..begin() }).unwrap());
    let tree = sessions.read(ONE).unwrap();
    assert_eq!(tree.faults, [format!("session {ONE} is a fork of itself")]);
    assert!(tree.path(tree.head()).len() <= 2);
}

#[test]
fn two_writers_are_refused_and_files_are_closed_to_others() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    turn(&sessions, &mut talk, "one", &now(&["one"], &[]));
    let start = std::time::Instant::now();
    assert!(matches!(sessions.open(ONE), Err(Error::InUse(_))));
    assert!(start.elapsed().as_secs() < 2);
    assert!(sessions.list().unwrap()[0].in_use);
    // It can be read and forked all the same.
    drop(sessions.fork(ONE, talk.head(), TWO, begin()).unwrap());
    drop(talk);
    assert!(!sessions.list().unwrap()[0].in_use);
    drop(sessions.open(ONE).unwrap());

    let mut folders = vec![dir.path().join("sessions")];
    let mut files = 0;
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(|entry| entry.unwrap()) {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let is_folder = entry.file_type().unwrap().is_dir();
            assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{:?}", entry.path());
            files += 1;
            if is_folder {
                folders.push(entry.path());
            }
        }
    }
    assert!(files > 4);
}

#[test]
fn a_session_is_found_by_id_begin_of_it_and_title() {
    let dir = folder();
    let sessions = sessions(&dir);
    let (id, other) = ("abcdef0000000000", "abc1110000000000");
    let mut first = create(&sessions, id);
    turn(&sessions, &mut first, "Fix it", &now(&["Fix it", "1"], &[]));
    let mut second = create(&sessions, other);
    turn(&sessions, &mut second, "Fix it", &now(&["Fix it", "1"], &[]));
    // A child is listed with its root only, and one in which nothing was said not at all.
    let child = Begin::new("main/explorer", "/w");
    drop(sessions.child(id, THREE, &child).unwrap());
    drop(sessions.open_or_create(ONE, &begin()).unwrap());
    assert_eq!(sessions.list().unwrap().len(), 2);
    assert_eq!(sessions.children(id).unwrap().len(), 1);

    assert_eq!(sessions.find("abcd").unwrap(), id);
    assert_eq!(sessions.find(other).unwrap(), other);
    assert!(matches!(sessions.find("abc"), Err(Error::Ambiguous { .. })));
    assert!(matches!(sessions.find("fix it"), Err(Error::Ambiguous { .. })));
    assert!(matches!(sessions.find(""), Err(Error::NoneFree)));
    second.title("The/../title").unwrap();
    assert_eq!(sessions.find("the/../TITLE").unwrap(), other);
    drop(second);
    assert_eq!(sessions.find("").unwrap(), other);
    assert!(matches!(sessions.find("nothing"), Err(Error::Missing(_))));
}

#[test]
fn no_key_reaches_the_disk() {
    let dir = folder();
    let sessions = sessions(&dir);
    let keys = ["the-own-key", "ghp_0123456789abcdefghijklmnop", "AKIAIOSFODNN7EXAMPLE"];
    let mut talk = create(&sessions, ONE);
    let text = keys.join("\n");
    turn(&sessions, &mut talk, &text, &now(&[&text], &[]));
    talk.begin_call(keys[0]).unwrap();
    talk.end_call(&json!({"content": text, "nested": [{"again": text}]})).unwrap();
    talk.title(keys[1]).unwrap();
    talk.save(keys[2]).unwrap();
    drop(talk);
    let to = Folder::open(dir.path(), "").unwrap();
    let about = vec![("System".to_string(), text)];
    let written = sessions.export(ONE, about, &to).unwrap();
    for path in [file(&dir, ONE), written[0].clone(), written[1].clone()] {
        let text = fs::read_to_string(&path).unwrap();
        let found: Vec<_> = keys.into_iter().filter(|key| text.contains(key)).collect();
        assert_eq!(found, [""; 0], "{}", path.display());
        assert!(text.contains(REDACTED), "{}", path.display());
    }
    let talk = open(&sessions, ONE);
    assert!(talk.is_changed());
    assert_eq!(told(&talk).0, [[REDACTED; 3].join("\n")]);
}

fn exported(dir: &TempDir, messages: &[Value]) -> [String; 2] {
    let sessions = sessions(dir);
    let mut talk =
        Conversation::<Value, Value>::new(sessions.open_or_create(ONE, &begin()).unwrap());
    let messages = messages.iter().cloned().map(Arc::new).collect();
    talk.begin_turn("<b>go</b>", &Now { messages, states: BTreeMap::new() }).unwrap();
    let to = Folder::open(dir.path(), "").unwrap();
    sessions.export(ONE, vec![], &to).unwrap().map(|path| fs::read_to_string(path).unwrap())
}

#[test]
fn a_transcript_shows_requests_replies_calls_and_diffs_as_text() {
    let dir = folder();
    let attack = "</pre><script>alert(1)</script><img src=x onerror=y>\u{1b}[31m```\n````";
    let edit = json!({"file_path": "a.txt", "old_string": "old line", "new_string": attack});
    let [text, page] = exported(
        &dir,
        &[
            json!({"role": "user", "content": [
                {"type": "text", "text": "where", "$origin": {"name": attack}},
                {"type": "text", "text": attack}]}),
            json!({"role": "assistant", "content": [
                {"type": "thinking", "thinking": attack, "signature": "s"},
                {"type": "text", "text": attack},
                {"type": "tool_use", "id": "1", "name": attack, "input": edit},
                {"type": "new_kind", "x": attack}]}),
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1",
                "is_error": true, "content": [{"type": "text", "text": attack},
                {"type": "image", "source": {"media_type": "image/png", "data": "AAAA"}},
                {"type": "image", "source": {"media_type": "text/html", "data": "\"><b>"}}]}]}),
        ],
    );
    for part in ["<script", "<img src=x", "<b>", "\u{1b}"] {
        assert!(!page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
    assert!(page.contains("<del>-old line</del>") && page.contains("<ins>+&lt;/pre&gt;"));
    assert!(page.contains("src=\"data:image/png;base64,AAAA\""));
    assert_eq!(page.matches("reply to request 1").count(), 1);
    // Outside of code nothing is HTML; within, the fence is longer than what it holds.
    let (mut fence, mut outside) = (None, vec![]);
    for line in text.lines() {
        let line = line.strip_prefix("> ").unwrap_or(line);
        let ticks = line.bytes().take_while(|byte| *byte == b'`').count();
        match fence {
            None if ticks >= 3 => fence = Some(ticks),
            None => outside.push(line),
            Some(open) if ticks >= open && line.len() == ticks => fence = None,
            Some(_) => {}
        }
    }
    assert_eq!(fence, None, "{text}");
    let outside = outside.join("\n");
    assert!(!outside.contains('<'), "{outside}");
    assert!(outside.contains("## Turn 1: &lt;b>go&lt;/b>"), "{outside}");
}

#[test]
fn a_transcript_shows_everything_once_also_what_was_taken_back() {
    let dir = folder();
    let sessions = sessions(&dir);
    let text = |role: &str, text: &str| {
        Arc::new(json!({"role": role, "content": [{"type": "text", "text": text}]}))
    };
    let mut talk =
        Conversation::<Value, Value>::new(sessions.open_or_create(ONE, &begin()).unwrap());
    let mut said = Now { messages: vec![text("user", "ALPHA")], states: BTreeMap::new() };
    talk.begin_turn("first", &said).unwrap();
    said.messages.push(text("assistant", "BETA"));
    talk.end_turn(&sessions, false, &said).unwrap();
    said.messages.push(text("user", "GAMMA"));
    talk.begin_turn("second", &said).unwrap();
    // A notice joins the unsent message; then room is made, and the newest is kept.
    Arc::make_mut(&mut said.messages[2])["content"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "text", "text": "DELTA", "$origin": {"name": "job"}}));
    talk.sync(&said).unwrap();
    let newest = said.messages.pop().unwrap();
    said.messages = vec![text("user", "SUMMARY"), newest];
    talk.sync(&said).unwrap();
    talk.end_turn(&sessions, false, &said).unwrap();
    talk.rewind(&sessions, "1").unwrap();
    // The same words once more are said once more.
    said.messages = vec![text("user", "ALPHA"), text("assistant", "BETA"), text("user", "GAMMA")];
    talk.begin_turn("second again", &said).unwrap();
    let transcript = export::Transcript::new(&sessions.read(ONE).unwrap(), &[], vec![]);
    let page = export::markdown(&transcript);
    let counts = ["ALPHA", "BETA", "GAMMA", "DELTA", "SUMMARY", "taken back"]
        .map(|word| page.matches(word).count());
    assert_eq!(counts, [1, 1, 2, 1, 1, 1], "{page}");
    let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
    assert_eq!(headings, ["## Turn 1: first", "## Turn 2: second", "## Turn 3: second again"]);
}

#[test]
fn a_key_is_replaced_before_a_label_is_cut() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    let prompt = format!("{}ghp_0123456789abcdefghijklmnop", "x".repeat(49) + " ");
    talk.begin_turn(&prompt, &now(&[&prompt], &[])).unwrap();
    let label = talk.rewind(&sessions, "1").unwrap().remove(0).label;
    assert_eq!(label, format!("{} [redacted ", "x".repeat(49)));
    assert!(!fs::read_to_string(file(&dir, ONE)).unwrap().contains("ghp_"));
}

#[test]
fn what_was_said_stays_in_its_place_in_markdown() {
    let dir = folder();
    let attack = "    ```\n```a`b\n~~~\n\r# heading\n\u{2003}```\n\
        ![](http://x/p.png)\n\u{1b}]0;t\u{7}\u{9b}m";
    let text = json!({"role": "user", "content": [{"type": "text", "text": attack}]});
    let [page, html] = exported(&dir, &[text]);
    let shown = "````\n    ```\n```a`b\n~~~\n␍# heading\n\u{2003}```\n\
        ![](http://x/p.png)\n␛]0;t␇\u{fffd}m\n````\n";
    assert!(page.ends_with(shown), "{page}");
    assert!(!html.contains(['\u{1b}', '\u{9b}']), "{html}");
    let transcript = export::Transcript {
        title: "![](http://x) `a` <b> \u{1b}".into(),
        facts: vec![],
        parts: vec![],
    };
    let title = "# \\!\\[\\](http://x) \\`a\\` &lt;b> ␛\n\n";
    assert_eq!(export::markdown(&transcript), title);
}

#[test]
fn a_damaged_rewind_is_said() {
    let dir = folder();
    let sessions = sessions(&dir);
    let mut talk = create(&sessions, ONE);
    turn(&sessions, &mut talk, "one", &now(&["one", "1"], &[]));
    turn(&sessions, &mut talk, "two", &now(&["one", "1", "two", "2"], &[]));
    talk.rewind(&sessions, "1").unwrap();
    turn(&sessions, &mut talk, "three", &now(&["one", "1", "three", "3"], &[]));
    drop(talk);
    let text = fs::read_to_string(file(&dir, ONE)).unwrap();
    fs::write(file(&dir, ONE), text.replace("\"head\"", "\"heaD\"")).unwrap();
    let (session, tree) = sessions.open(ONE).unwrap();
    let back = "session.jsonl: if a rewind is among what is lost, turns that were taken back may \
        be back";
    assert_eq!(tree.faults[1..], [back]);
    let talk = Talk::new((session, tree));
    assert_eq!(told(&talk).0, ["one", "1", "two", "2", "three", "3"]);
    assert!(talk.is_changed());
}

#[test]
fn names_that_cannot_be_used_are_refused_and_an_empty_file_is_named() {
    let dir = folder();
    let sessions = sessions(&dir);
    assert_eq!(sessions.find("").unwrap_err().to_string(), "there is no session here yet");
    let mut talk = create(&sessions, ONE);
    let refused = talk.save("3").unwrap_err().to_string();
    assert_eq!(refused, "`3` is no name: a rewind to a number takes back so many turns");
    let refused = talk.save("").unwrap_err().to_string();
    assert!(refused.contains("every step is saved by itself"), "{refused}");
    assert!(matches!(talk.title(&"x".repeat(61)), Err(Error::NoName { .. })));
    talk.title(&"x".repeat(60)).unwrap();
    drop(talk);
    fs::write(file(&dir, ONE), "").unwrap();
    let (_session, tree) = sessions.open(ONE).unwrap();
    let empty = format!("session {ONE}: session.jsonl is empty, so nothing is known of it");
    assert_eq!(tree.faults, [empty]);
}

#[test]
fn the_turns_of_a_long_session_are_found_in_one_walk() {
    let record = |id: u64| Record {
        id,
        parent: id - 1,
        at: 0,
        kind: record::TURN.into(),
        data: serde_json::value::to_raw_value(&Turn { before: id - 1, label: String::new() })
            .unwrap(),
    };
    let head = 40_000;
    let records = (1..=head).map(record).collect();
    let tree = Tree { id: ONE.into(), begin: None, faults: vec![], records, head };
    let start = std::time::Instant::now();
    assert_eq!(tree.turns(head).len(), 40_000);
    // A walk for each turn takes minutes.
    assert!(start.elapsed().as_secs() < 10);
}
