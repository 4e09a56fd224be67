//! Scripts from the typed builder.
mod common;
use common::*;
use rehearsal::{Turn, call, calls, literal, say, say_results, scene, script};
use serde_json::json;
use std::panic::catch_unwind;

#[tokio::test]
async fn a_built_script_plays_as_its_yaml_does() {
    let yaml = r#"
scenes:
  - when: '^go (\w+)$'
    turns:
      - think: Hm.
        say: first
        call:
          - bash: {command: "echo {{ m[1] }}", deep: [1, 2.5, null, {text: "{{ text }}"}]}
          - read: {path: a.txt}
      - call: [{bash: {command: "echo {{ n }}"}}]
        repeat: 2
      - raw: [{type: from_the_future, data: 1}]
        say: end
        stop: max_tokens
        usage: {output_tokens: 7}
"#;
    let built = script([scene(
        r"^go (\w+)$",
        [
            calls([
                (
                    "bash",
                    json!({"command": "echo {{ m[1] }}", "deep": [1, 2.5, null,
                        {"text": "{{ text }}"}]}),
                ),
                ("read", json!({"path": "a.txt"})),
            ])
            .think("Hm.")
            .say("first"),
            call("bash", json!({"command": "echo {{ n }}"})).repeat(2),
            say("end")
                .raw(json!({"type": "from_the_future", "data": 1}))
                .stop("max_tokens")
                .usage(json!({"output_tokens": 7})),
        ],
    )]);
    let from_yaml = converse(&serve(yaml).await, "go there", |_, _| "ok".into()).await;
    let from_builder = converse(&serve(built).await, "go there", |_, _| "ok".into()).await;
    assert_eq!(from_builder.len(), 8);
    assert_eq!(from_builder, from_yaml);
}

#[tokio::test]
async fn faults_happen_in_order() {
    let server = serve(script([scene(
        ".",
        [say("hi").fault(json!({"status": 429, "times": 2})).fault(json!({"status": 529}))],
    )]))
    .await;
    let mut statuses = vec![];
    for _ in 0..4 {
        statuses.push(post(&server, MESSAGES, &ask(json!([user("x")]))).await.status);
    }
    assert_eq!(statuses, [429, 429, 529, 200]);
}

#[tokio::test]
async fn results_are_said_and_literal_text_is_not_a_template() {
    let odd = "{{ m[7] }} {% raw %}{%endraw%} ${#name} {{{ '{' }";
    let server = serve(script([
        scene(
            "^go$",
            [calls([("a", json!({"x": literal(odd)})), ("b", json!({}))]), say_results()],
        ),
        scene("^quote$", [say(literal(odd))]),
        scene("^silence$", [Turn::default()]),
    ]))
    .await;
    let messages = converse(&server, "go", |name, _| format!(" {name}\n")).await;
    assert_eq!(messages[1]["content"][0]["input"]["x"], odd);
    assert_eq!(last_text(&messages), "a | b");
    assert_eq!(last_text(&converse(&server, "quote", |_, _| String::new()).await), odd);
    assert_eq!(converse(&server, "silence", |_, _| String::new()).await[1]["content"], json!([]));
}

#[test]
fn mistakes_panic_and_name_scene_and_turn() {
    type Build = fn() -> rehearsal::Scene;
    let cases: [(Build, &str); 9] = [
        (|| scene("(", [say("x")]), "scene `(`: regex parse error"),
        (
            || scene("a", [call("b", json!({})), say("{{ m[ }}")]),
            "scene `a`, turn 1: template: syntax error",
        ),
        (
            || scene("a", [call("b", json!({"deep": ["{% if %}"]}))]),
            "scene `a`, turn 0: template: syntax error",
        ),
        (
            || scene("a", [call("b c", json!({}))]),
            "scene `a`, turn 0: `b c` cannot be a tool's name",
        ),
        (|| scene("a", [call("b", json!(5))]), "scene `a`, turn 0: a call is a map with one key"),
        (
            || scene("a", [say("x").fault(json!({"status": 200}))]),
            "scene `a`, turn 0: status 200 is not an error",
        ),
        (|| scene("a", [say("x").stop("now")]), "scene `a`, turn 0: unknown variant `now`"),
        (|| scene("a", [say("x"), say("y")]), "scene `a`: turns[1] is never played"),
        (|| scene("a", [say("x").say("y")]), "a turn has `say` twice"),
    ];
    for (build, expected) in cases {
        let panic = catch_unwind(build).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.starts_with(expected), "{message}");
    }
    assert!(catch_unwind(|| scene("a", [])).is_err());
}
