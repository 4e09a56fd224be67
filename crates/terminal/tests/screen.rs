//! What a person sees, at several widths.
mod common;

use common::{Model, Terminal};
use rehearsal::{Scene, call, say, scene};
use rustix::{process::Signal, termios::LocalModes};
use serde_json::json;
use std::time::{Duration, Instant};

/// Rows and columns.
const SIZES: [(u16, u16); 4] = [(24, 120), (24, 80), (24, 40), (5, 40)];

/// What the program says first, at 80 columns.
const FIRST: &str = "Type what to do, or :help; :commands lists what there is, q leaves.";
/// What the program's prompt shows in an empty line.
const EMPTY: &str = "t >> the suggestion   (Enter)";

/// Whether the last line is a prompt.
fn prompts(screen: &str) -> bool {
    screen.lines().last().is_some_and(|line| line.starts_with("t >>"))
}

fn echo() -> Model {
    Model::new([echo_scene()])
}

fn echo_scene() -> Scene {
    scene(".", [say("you said {{ text }}")])
}

/// Has `lines` come from elsewhere while the prompt is open and holds `draft`; then what is on the
/// screen from the first of them on.
fn with_lines(terminal: &Terminal, draft: &str, lines: &[String]) -> Vec<String> {
    terminal.edits();
    let before = terminal.settled().len();
    terminal.types(&format!(":later 150 main {}\r", lines.join("|")));
    terminal.until("prompt", |screen| screen.lines().count() > before);
    terminal.types(draft);
    let last = lines.last().unwrap();
    terminal.until(last, |screen| screen.lines().any(|line| line == last));
    let shown = terminal.settled();
    let first = shown.iter().position(|line| *line == lines[0]).unwrap();
    // What was typed to have them come, and nothing of the draft.
    let asked = shown[..first].iter().rposition(|line| line.starts_with("t >> :later")).unwrap();
    let squeezed = |text: String| text.replace(' ', "");
    let asked = squeezed(shown[asked..first].concat());
    assert!(asked.ends_with(&squeezed(lines.join("|"))), "{shown:#?}");
    shown[first..].to_vec()
}

#[test]
fn a_line_that_comes_while_the_prompt_is_open_is_not_lost() {
    for size in SIZES {
        let Some(terminal) = Terminal::start(echo(), size, &[]) else { return };
        for count in [1, 2, 7] {
            let lines: Vec<String> = (0..count).map(|n| format!("line {n} of {count}")).collect();
            let shown = with_lines(&terminal, "", &lines);
            assert_eq!(shown, [lines, vec![EMPTY.into()]].concat(), "{size:?}");
        }
    }
}

#[test]
fn many_lines_one_by_one_are_all_shown_once() {
    let Some(terminal) = Terminal::start(echo(), (24, 80), &[]) else { return };
    terminal.edits();
    let mut expected = vec![];
    for n in 0..18 {
        let after = 400 + 37 * n;
        terminal.types(&format!(":later {after} main line {n}.\r"));
        expected.push(format!("line {n}."));
    }
    terminal.until("the last line", |screen| screen.contains("\nline 17."));
    let shown = terminal.settled();
    let lines: Vec<&String> = shown.iter().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(lines, expected.iter().collect::<Vec<_>>());
    assert_eq!(shown.last().unwrap(), EMPTY);
}

#[test]
fn a_draft_of_any_length_comes_back_below_a_line() {
    let words = "draft drafts äöü 日本語 👩‍💻 e\u{301} longer-words-than-most ";
    for (rows, cols) in [(24, 40), (24, 80), (6, 40)] {
        let Some(terminal) = Terminal::start(echo(), (rows, cols), &[]) else { return };
        // Around each border of a row.
        let lengths =
            [1, cols - 6, cols - 5, cols - 4, 2 * cols - 6, 2 * cols - 5, 2 * cols - 4, 100];
        for (n, length) in lengths.into_iter().enumerate() {
            let draft: String = match n % 2 {
                0 => "x".repeat(length.into()),
                _ => words.chars().cycle().take(length.into()).collect(),
            };
            let line = format!("line {n}");
            let shown = with_lines(&terminal, draft.trim_end(), std::slice::from_ref(&line));
            assert_eq!(shown[0], line);
            // The emulator knows no joined symbols, so only the letters are compared.
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect();
            let back: String = letters(&shown[1..].concat());
            assert_eq!(back, format!("t{}", letters(&draft) as String), "{length} {shown:#?}");
            terminal.types("\x03");
            terminal.until("empty line", |screen| screen.ends_with(EMPTY));
        }
    }
}

#[test]
fn a_draft_of_several_lines_comes_back_with_its_cursor() {
    let Some(terminal) = Terminal::start(echo(), (24, 40), &[]) else { return };
    let left = "\x1b[D".repeat(3);
    let shown = with_lines(&terminal, &format!("first\x1b\rsecond{left}"), &["line".into()]);
    assert_eq!(shown, ["line", "t >> first", "... second"]);
    terminal.types("X\r");
    terminal.shows("you said first\nsecXond");
}

#[test]
fn interrupt_clears_the_line_first_and_leaves_at_an_empty_one() {
    let Some(mut terminal) = Terminal::start(echo(), (24, 80), &[]) else { return };
    terminal.edits();
    terminal.types("half a line");
    terminal.shows("half a line");
    terminal.types("\x03");
    terminal.until("an empty line", |screen| screen == format!("{FIRST}\n{EMPTY}"));
    // In one go, as a slow terminal would send them.
    terminal.types("half\x03whole\r");
    terminal.shows("you said whole");
    terminal.until("an empty line", |screen| screen.ends_with(EMPTY));
    terminal.types("\x03");
    assert_eq!(terminal.ends().code(), Some(130));
    assert!(terminal.modes().contains(LocalModes::ICANON | LocalModes::ECHO));
}

#[test]
fn interrupt_stops_the_turn_and_the_conversation_stays() {
    let scenes = [
        scene("^slow$", [call("bash", json!({"command": "sleep 1000"})), say("never")]),
        scene(".", [say("you said {{ text }}")]),
    ];
    let Some(mut terminal) = Terminal::start(Model::new(scenes), (24, 80), &[]) else { return };
    terminal.edits();
    terminal.types("first\r");
    terminal.shows("you said first");
    terminal.types("slow\r");
    terminal.shows("> $ sleep 1000");
    terminal.types("\x03");
    terminal.shows("stopped; the conversation stays");
    terminal.until("a prompt", prompts);
    std::thread::sleep(Duration::from_millis(1100));
    terminal.types("second\r");
    terminal.shows("you said second");
    let last = terminal.model.server.requests().last().unwrap().body["messages"].clone();
    let roles: Vec<&str> =
        last.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant", "user"]);
    // The call that was stopped has a result.
    assert_eq!(last[4]["content"][0]["type"], "tool_result");
    terminal.types("slow\r");
    terminal.until("the second call", |screen| screen.matches("> $ sleep 1000").count() == 2);
    terminal.types("\x03");
    terminal.until("two stops", |screen| screen.matches("stopped; ").count() == 2);
    terminal.types("\x03");
    assert_eq!(terminal.ends().code(), Some(130));
    assert!(terminal.modes().contains(LocalModes::ICANON | LocalModes::ECHO));
}

#[test]
fn two_interrupts_within_a_second_leave_while_turns_run() {
    let Some(mut terminal) =
        Terminal::start(Model::new([scene(".", [say("x").delay_ms(60_000)])]), (24, 80), &[])
    else {
        return;
    };
    terminal.edits();
    terminal.types("one\r");
    wait_for_request(&terminal);
    terminal.types("\x03");
    terminal.shows("stopped");
    terminal.types("\x03");
    assert_eq!(terminal.ends().code(), Some(130));
}

#[test]
fn other_signals_leave_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let model = Model::new([scene(".", [say("x").delay_ms(60_000)])]);
        let Some(mut terminal) = Terminal::start(model, (24, 80), &[]) else { return };
        terminal.edits();
        terminal.types("one\r");
        wait_for_request(&terminal);
        terminal.sends(signal);
        assert_eq!(terminal.ends().code(), Some(code));
        assert!(terminal.modes().contains(LocalModes::ICANON | LocalModes::ECHO));
    }
}

/// It takes nearly that long, so it runs with `LONG=1` alone.
#[test]
fn a_program_that_hangs_ends_within_five_seconds_of_a_request_to_terminate() {
    if std::env::var_os("LONG").is_none() {
        return;
    }
    let model = Model::new([scene(".", [say("x").delay_ms(60_000)])]);
    let Some(mut terminal) = Terminal::start(model, (24, 80), &[("HANGS", "1")]) else { return };
    terminal.edits();
    terminal.types("one\r");
    wait_for_request(&terminal);
    let begin = Instant::now();
    terminal.sends(Signal::TERM);
    assert_eq!(terminal.ends().code(), Some(143));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(terminal.modes().contains(LocalModes::ICANON | LocalModes::ECHO));
}

fn wait_for_request(terminal: &Terminal) {
    terminal.until("request", |_| terminal.model.server.request_count() > 0);
}

/// The relative luminance of a colour, as WCAG defines it; `None` for the terminal's own.
fn luminance(colour: vt100::Color) -> Option<f64> {
    let vt100::Color::Idx(n @ 16..) = colour else {
        assert_eq!(colour, vt100::Color::Default, "its brightness is not known");
        return None;
    };
    let part = |level: u8| match level {
        0 => 0,
        level => 55 + 40 * level,
    };
    let rgb = match n {
        232.. => [8 + 10 * (n - 232); 3],
        n => [part((n - 16) / 36), part((n - 16) / 6 % 6), part((n - 16) % 6)],
    };
    let linear = rgb.map(|c| match f64::from(c) / 255.0 {
        c if c <= 0.03928 => c / 12.92,
        c => ((c + 0.055) / 1.055).powf(2.4),
    });
    Some(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
}

/// What is typed to see one of everything.
const ALL: [&str; 9] = [
    "go",
    "refused",
    ":unknown",
    ":later 0 ann one",
    ":later 0 bob two",
    ":later 0 cid three",
    ":later 0 dan four",
    ":later 0 eve five",
    ":later 0 fay six",
];

/// The screen after these lines.
fn everything(env: &[(&str, &str)], lines: &[&str]) -> Option<Terminal> {
    let scenes = [
        scene("^go$", [call("bash", json!({"command": "echo a; false"})), say("done")]),
        scene(".", [say("x").fault(json!({"status": 400, "message": "no"}))]),
    ];
    let terminal = Terminal::start(Model::new(scenes), (24, 80), env)?;
    terminal.shows("t >>");
    for line in lines {
        let before = terminal.settled().len();
        terminal.types(&format!("{line}\r"));
        // A dumb terminal shows at once what is typed, so all waits for the prompt.
        terminal.until("a prompt", |screen| screen.lines().count() > before + 1 && prompts(screen));
    }
    terminal.types("typed text");
    terminal.settled();
    Some(terminal)
}

#[test]
fn all_that_is_shown_can_be_read_on_light_and_on_dark() {
    let Some(terminal) = everything(&[], &ALL) else { return };
    let mut coloured = 0;
    for (text, (front, back)) in terminal.cells(|cell| (cell.fgcolor(), cell.bgcolor())) {
        assert_eq!(back, vt100::Color::Default, "{text}");
        if let Some(luminance) = luminance(front) {
            let on_white = 1.05 / (luminance + 0.05);
            let on_black = (luminance + 0.05) / 0.05;
            assert!(on_white >= 3.0 && on_black >= 3.0, "{text}: {front:?} {on_white} {on_black}");
            coloured += 1;
        }
    }
    assert!(coloured > 20, "{coloured}");
    let typed = terminal.cells(|cell| (cell.fgcolor(), cell.bgcolor(), cell.dim()));
    let own = (vt100::Color::Default, vt100::Color::Default, false);
    assert!(typed[typed.len() - 9..].iter().all(|(_, looks)| *looks == own));
}

#[test]
fn no_color_and_a_dumb_terminal_show_the_same_without_colours() {
    let Some(coloured) = everything(&[], &ALL[..3]) else { return };
    // Without the number of the port.
    let letters = |terminal: &Terminal| {
        let text = terminal.settled_turns().join("\n");
        let (before, after) = text.split_once("127.0.0.1:").unwrap();
        format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
    };
    let expected = letters(&coloured);
    let plain = everything(&[("NO_COLOR", "1")], &ALL[..3]).unwrap();
    let same = (vt100::Color::Default, vt100::Color::Default, false, false);
    for (text, looks) in
        plain.cells(|cell| (cell.fgcolor(), cell.bgcolor(), cell.bold(), cell.dim()))
    {
        assert_eq!(looks, same, "{text}");
    }
    assert_eq!(letters(&plain), expected);
    // The line editor moves the cursor; nothing else does.
    let bytes = plain.bytes();
    let text = String::from_utf8_lossy(&bytes);
    let (_, turn) = text.split_once("> $ echo a; false").unwrap();
    let (turn, _) = turn.split_once("2 requests").unwrap();
    // From here on the terminal no longer marks what is pasted.
    let turn = turn.replace("\u{1b}[?2004l", "");
    assert!(turn.contains("done") && !turn.contains('\u{1b}'), "{turn:?}");
    let dumb = everything(&[("TERM", "dumb")], &ALL[..3]).unwrap();
    assert!(!dumb.bytes().contains(&0x1b), "{:?}", String::from_utf8_lossy(&dumb.bytes()));
    let shown = letters(&dumb).replace("(Enter: the suggestion)\n", "");
    assert_eq!(shown, expected);
}

#[test]
fn what_enter_plays_was_visible_and_is_shown_once() {
    for env in [&[][..], &[("NO_COLOR", "1")], &[("TERM", "dumb")]] {
        let Some(terminal) = Terminal::start(echo(), (24, 80), env) else { return };
        terminal.until("a prompt", |screen| screen.contains("the suggestion") && prompts(screen));
        terminal.types("\r");
        terminal.shows("you said the suggestion");
        let lines = terminal.settled_turns();
        let answer = ["you said the suggestion", "1 request", "all was played", "t >>"];
        let expected = match env {
            [("TERM", _)] => [&[FIRST, "(Enter: the suggestion)", "t >>"][..], &answer].concat(),
            _ => [&[FIRST, "t >> the suggestion"][..], &answer].concat(),
        };
        assert_eq!(lines, expected, "{env:?}");
    }
}

#[test]
fn what_is_typed_while_a_turn_runs_is_not_mixed_into_it() {
    let model = Model::new([scene(".", [say("you said {{ text }}").delay_ms(700)])]);
    let Some(terminal) = Terminal::start(model, (24, 80), &[]) else { return };
    terminal.edits();
    terminal.types("first\r");
    wait_for_request(&terminal);
    terminal.types("second\rthi");
    terminal.shows("you said second");
    terminal.until("a draft", |screen| screen.ends_with("t >> thi"));
    let turn = |n: &str| [format!("t >> {n}"), format!("you said {n}"), "1 request".into()];
    let expected =
        [&[FIRST.into()], &turn("first")[..], &turn("second"), &["t >> thi".into()]].concat();
    assert_eq!(terminal.settled_turns(), expected);
}

#[test]
fn lines_that_wait_are_shown_and_after_ctrl_c_they_stand_in_the_editor() {
    let model = Model::new([scene("^slow$", [say("x").delay_ms(60_000)]), echo_scene()]);
    let Some(mut terminal) = Terminal::start(model, (24, 80), &[]) else { return };
    terminal.edits();
    terminal.types("slow\r");
    wait_for_request(&terminal);
    terminal.types("first lime\x7f\x7fne\r\rsec");
    terminal.until("both", |screen| screen.ends_with(" s; 1 waiting >> sec"));
    terminal.types("ond\r");
    terminal.until("lines", |s| s.ends_with(" s; Ctrl+C stops it; waiting: first line | second"));
    terminal.types("thi\x03");
    terminal.shows("stopped; the conversation stays");
    terminal.until("a draft", |screen| screen.ends_with("t >> first line\n... second\n... thi"));
    assert_eq!(terminal.model.server.request_count(), 1);
    std::thread::sleep(Duration::from_millis(1100));
    terminal.types("rd\r");
    terminal.shows("you said first line\nsecond\nthird");
    // Twice within a second, though the line is not empty.
    terminal.types("slow\r");
    terminal.until("a third request", |_| terminal.model.server.request_count() == 3);
    terminal.types("draft");
    terminal.until("keys", |screen| screen.ends_with(">> draft"));
    terminal.types("\x03");
    terminal.until("a draft", |screen| screen.ends_with("\nt >> draft"));
    terminal.types("\x03");
    assert_eq!(terminal.ends().code(), Some(130));
    assert!(terminal.modes().contains(LocalModes::ICANON | LocalModes::ECHO));
    // Or pasted text would be marked in the shell.
    terminal.until("end of marking what is pasted", |_| {
        let bytes = terminal.bytes();
        let bytes = String::from_utf8_lossy(&bytes);
        bytes.rfind("\x1b[?2004l") > bytes.rfind("\x1b[?2004h")
    });
}

#[test]
fn a_line_that_a_stopped_turn_gives_back_stands_before_those_that_wait() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let command = format!("until [ -e '{}' ]; do sleep 0.1; done", go.display());
    let bash = call("bash", json!({ "command": command }));
    let model = Model::new([scene("^slow$", [bash])]);
    let Some(terminal) = Terminal::start(model, (24, 80), &[("STEERED", "1")]) else { return };
    terminal.edits();
    terminal.types("slow\r");
    wait_for_request(&terminal);
    terminal.types("first\rsecond\r");
    terminal.until("lines", |screen| screen.ends_with("waiting: first | second"));
    std::fs::write(go, "").unwrap();
    terminal.until("the first", |screen| screen.ends_with("waiting: second"));
    terminal.types("\x03");
    terminal.until("a draft", |screen| screen.ends_with("t >> first\n... second"));
}

#[test]
fn what_is_typed_while_words_arrive_stands_below_them_and_takes_none_away() {
    for size in [(24, 80), (4, 43)] {
        let Some(terminal) = Terminal::start(Model::new([echo_scene()]), size, &[]) else { return };
        terminal.edits();
        terminal.types(":stream 60\r");
        terminal.shows("word1 ");
        terminal.types("first");
        terminal.until("keys", |screen| screen.ends_with(">> first"));
        terminal.types("\rsecond");
        terminal.until("both", |screen| screen.ends_with("1 waiting >> second"));
        terminal.shows("you said first");
        terminal.until("a draft", |screen| screen.ends_with("\nt >> second"));
        let shown = terminal.settled().join("");
        let begin = shown.find(":stream 60").unwrap() + ":stream 60".len();
        let words: String = (0..60).map(|n| format!("word{n} ")).collect();
        let squeezed = |text: &str| text.replace(' ', "");
        assert_eq!(
            squeezed(&shown[begin..shown.find("end").unwrap()]),
            squeezed(&words),
            "{size:?}"
        );
    }
}

#[test]
fn what_is_pasted_while_a_turn_runs_is_one_line() {
    let model = Model::new([scene("^slow$", [say("x").delay_ms(1500)]), echo_scene()]);
    let Some(terminal) = Terminal::start(model, (24, 80), &[]) else { return };
    terminal.edits();
    terminal.types("slow\r");
    wait_for_request(&terminal);
    terminal.types("\x1b[200~one\rtwo\r\x1b[201~three\r");
    terminal.until("one", |screen| screen.ends_with("; waiting: one two three"));
    terminal.shows("you said one\ntwo\nthree");
}

#[test]
fn an_open_question_ends_with_ctrl_c() {
    let Some(terminal) = Terminal::start(echo(), (24, 80), &[]) else { return };
    terminal.edits();
    terminal.types(":ask 0\r");
    terminal.shows("answer:");
    terminal.types("hal");
    terminal.shows("answer: hal");
    terminal.types("\x03");
    terminal.shows("\nstopped; the conversation stays");
    terminal.until("a prompt", prompts);
    terminal.types("next\r");
    terminal.shows("you said next");
    let text = terminal.settled().join("\n");
    assert!(text.contains("\nanswer: hal^C\nstopped; "), "{text}");
}

#[test]
fn what_was_typed_before_a_question_is_no_answer_to_it() {
    for env in [&[][..], &[("TERM", "dumb")]] {
        let Some(terminal) = Terminal::start(Model::new([echo_scene()]), (24, 80), env) else {
            return;
        };
        terminal.shows("t >>");
        terminal.types(":ask 1000\r");
        std::thread::sleep(Duration::from_millis(200));
        terminal.types("1\ry");
        terminal.shows("answer:");
        terminal.types("no, not so\r");
        terminal.shows("No(\"not so\")");
        terminal.shows("you said 1");
        if env.is_empty() {
            terminal.until("a draft", |screen| screen.ends_with("t >> y"));
        }
    }
}

#[test]
fn a_sign_of_life_comes_after_half_a_second_and_goes_with_the_next_output() {
    let envs = [&[][..], &[("NO_COLOR", "1")]];
    for (size, env) in SIZES.into_iter().zip(envs.into_iter().cycle()) {
        let scenes = [scene(
            ".",
            [call("bash", json!({"command": "sleep 1.2"})), say("done").delay_ms(900)],
        )];
        let Some(terminal) = Terminal::start(Model::new(scenes), size, env) else { return };
        terminal.edits();
        terminal.types("go\r");
        terminal.shows("> $ sleep 1.2");
        terminal.until("time", |screen| screen.ends_with("> $ sleep 1.2\n0 s; Ctrl+C stops it"));
        terminal.until("time", |screen| screen.ends_with("\n1 s; Ctrl+C stops it"));
        // Typed meanwhile.
        terminal.types("next");
        terminal.until("keys", |screen| screen.ends_with("\n1 s; Ctrl+C stops it >> next"));
        terminal.until("a draft", |screen| screen.ends_with("\nt >> next"));
        let shown = terminal.settled_turns();
        let begin = shown.iter().position(|line| line == "t >> go").unwrap();
        let turn = ["t >> go", "> $ sleep 1.2", "  (no output)", "done", "2 request"];
        assert_eq!(shown[begin..], [&turn[..], &["t >> next"]].concat(), "{size:?}");
    }
}

#[test]
fn a_sign_of_life_is_for_those_who_can_see_it() {
    let scenes = || [scene(".", [say("done").delay_ms(900)])];
    let env = [("TERM", "dumb")];
    let Some(terminal) = Terminal::start(Model::new(scenes()), (24, 80), &env) else { return };
    terminal.shows("t >>");
    terminal.types("go\r");
    terminal.shows("done");
    assert!(!String::from_utf8_lossy(&terminal.bytes()).contains("Ctrl+C"));
}

#[test]
fn calls_are_told_in_words_and_of_long_results_both_ends_are_shown() {
    let send = json!({"to": "ann", "text": "said \u{1b}[2J and a few words", "after": [1, 2]});
    let turns = [
        call("bash", json!({"command": "seq 6", "description": "Counts."})),
        call("bash", json!({"command": "seq 7"})),
        call("bash", json!({"command": "seq 21; false"})),
        call("send", send),
        say("done"),
    ];
    let count = |numbers: std::ops::RangeInclusive<u32>| numbers.map(|n| format!("  {n}"));
    for (size, words) in [
        ((60, 80), &["> send ann, text: said \\u{1b}[2J and a few words, after: 1, 2"][..]),
        ((60, 40), &["> send ann, text: said \\u{1b}[2J and a", "  few words, after: 1, 2"]),
    ] {
        let model = Model::new([scene(".", turns.clone())]);
        let Some(terminal) = Terminal::start(model, size, &[]) else { return };
        terminal.edits();
        terminal.types("go\r");
        terminal.shows("done");
        let shown = terminal.settled_turns();
        let begin = shown.iter().position(|line| line == "t >> go").unwrap();
        let end = shown.iter().position(|line| line.starts_with("  there is no tool")).unwrap();
        let mut expected = vec!["t >> go".to_string(), "> $ seq 6  # Counts.".into()];
        expected.extend(count(1..=6));
        expected.push("> $ seq 7".into());
        expected.extend(count(1..=3));
        expected.push("  ... 2 more lines ...".into());
        expected.extend(count(6..=7));
        expected.push("> $ seq 21; false".into());
        expected.extend(count(1..=8));
        expected.push("  ... 2 more lines ...".into());
        expected.extend(count(11..=21));
        expected.push("  [exit code 1]".into());
        expected.extend(words.iter().map(|line| line.to_string()));
        assert_eq!(shown[begin..end], expected, "{size:?}");
    }
}

#[test]
fn a_line_under_the_turn_says_what_it_took() {
    let usage = json!({"input_tokens": 1200, "output_tokens": 34});
    let turns = [call("bash", json!({"command": "true"})), say("done")];
    let scenes = [scene(".", turns.map(|turn| turn.usage(usage.clone())))];
    let Some(terminal) = Terminal::start(Model::new(scenes), (24, 80), &[]) else { return };
    terminal.edits();
    terminal.types("go\r");
    terminal.shows("2 requests, 2.4k tokens in, 68 out, ");
    let shown = terminal.settled();
    let line = shown.iter().find(|line| line.starts_with("2 requests, ")).unwrap();
    // The program counts a dollar for a token.
    let (time, cost) = line.rsplit_once(", $").unwrap();
    assert_eq!((time.ends_with('s'), cost), (true, "2468.0000"));
    // A request beside the conversation is shown to nobody, and costs as much as another.
    terminal.types(":aside go\r");
    terminal.shows("1 request, 1.2k tokens in, 34 out, ");
}

#[test]
fn agents_have_a_name_a_place_and_a_colour_of_their_own() {
    let long = "from here on a text that is longer than a row of a narrow terminal";
    for (size, rows) in [
        (
            (24, 120),
            vec!["  ann from here on a text that is longer than a row of a narrow terminal"],
        ),
        (
            (24, 40),
            vec![
                "  ann from here on a text that is longer",
                "      than a row of a narrow terminal",
            ],
        ),
    ] {
        let Some(terminal) = Terminal::start(echo(), size, &[]) else { return };
        terminal.edits();
        for (child, text) in [("ann", long), ("bob", "short"), ("main", "own"), ("ann-2", "again")]
        {
            let before = terminal.settled().len();
            terminal.types(&format!(":later 0 {child} {text}\r"));
            terminal.until("more", |screen| screen.lines().count() > before + 1);
        }
        let shown = terminal.settled();
        let said: Vec<&str> = shown
            .iter()
            .filter(|line| line.starts_with("  ") || *line == "own")
            .map(String::as_str)
            .collect();
        assert_eq!(said, [rows, vec!["  bob short", "own", "  ann-2 again"]].concat());
        let colour = |name: &str| {
            let cells = terminal.cells(|cell| cell.fgcolor());
            let text: String = cells.iter().map(|(text, _)| text.chars().next().unwrap()).collect();
            cells[text.rfind(name).unwrap()].1
        };
        let colours = [colour("annfrom"), colour("bobshort"), colour("ann-2again")];
        assert!(colours[0] != colours[1] && colours[1] != colours[2] && colours[0] != colours[2]);
        assert!(colours.iter().all(|colour| *colour != vt100::Color::Default));
    }
}

#[test]
fn the_first_screen_is_short_and_names_the_help_and_the_way_out() {
    for size in SIZES {
        let Some(terminal) = Terminal::start(echo(), size, &[]) else { return };
        terminal.until("a prompt", |screen| screen.ends_with(EMPTY));
        let shown = terminal.settled();
        assert_eq!(shown.concat().replace(' ', ""), format!("{FIRST}{EMPTY}").replace(' ', ""));
        assert!(shown.len() <= 3 && shown.iter().all(|line| line.len() <= size.1.into()));
    }
}

#[test]
fn help_and_the_way_out_are_found_under_their_usual_names() {
    let Some(terminal) = Terminal::start(echo(), (24, 80), &[]) else { return };
    for (n, line) in [":help", "/help", "help", "HELP me"].into_iter().enumerate() {
        terminal.edits();
        terminal.types(&format!("{line}\r"));
        let shown = |screen: &str| {
            screen.matches("what there is to know").count() == n + 1
                || screen.contains("you said HELP me")
        };
        terminal.until("help", shown);
        terminal.until("a prompt", |screen| screen.ends_with(EMPTY));
    }
    terminal.types("/etc/passwd\r");
    terminal.shows("you said /etc/passwd");
    for line in ["q", ":q", "/quit", "/exit", ":exit"] {
        let Some(mut terminal) = Terminal::start(echo(), (24, 80), &[]) else { return };
        terminal.edits();
        terminal.types(&format!("{line}\r"));
        assert_eq!(terminal.ends().code(), Some(0), "{line}");
    }
}

#[test]
fn tab_completes_commands() {
    for (rows, cols) in [(24, 80), (6, 40)] {
        let Some(terminal) = Terminal::start(echo(), (rows, cols), &[]) else { return };
        terminal.edits();
        terminal.types(":he\t");
        terminal.until("the only one", |screen| screen.ends_with("\nt >> :help"));
        terminal.types("\r");
        terminal.shows("what there is to know");
        terminal.until("a prompt", |screen| screen.ends_with(EMPTY));
        terminal.types("/\t");
        terminal.until("a menu", |screen| {
            let menu = screen.rsplit("t >> /").next().unwrap_or_default();
            ["later", "help", "commands"].iter().all(|name| menu.contains(name))
        });
        terminal.types("\x03");
        terminal.until("an empty line", |screen| screen.ends_with(EMPTY));
    }
}
