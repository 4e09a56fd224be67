//! The shapes that services want.
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;
use serde_json::{Value, json};
use std::{fmt, sync::Arc};

/// How a body is made of events: a template of [minijinja](https://docs.rs/minijinja) in which
/// every `{{ expression }}` becomes JSON.
#[derive(Debug, Clone)]
pub struct Template {
    source: Arc<str>,
    /// Whether each event has a request of its own.
    pub(crate) is_single: bool,
    /// Where the service is, if it is always there.
    pub(crate) url: Option<&'static str>,
    /// What the key is for.
    pub(crate) key: KeyUse,
}

/// What the key of a webhook is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// It signs requests.
    Signs,
    /// It is sent in this header.
    Header(&'static str),
    /// It is a part of the body.
    InBody,
}

/// A template that cannot be used.
#[derive(Debug)]
pub struct BadTemplate(minijinja::Error);

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.0.line().map(|line| format!(" (line {line})")).unwrap_or_default();
        write!(f, "the template{line}: {}", self.0)
    }
}

impl std::error::Error for BadTemplate {}

impl Template {
    /// The shape of a service: `plain` (all fields of all events), `slack`, `datadog` or
    /// `pagerduty`.
    pub fn named(name: &str) -> Option<Template> {
        let of = |source: &str, is_single, url, key| {
            Some(Template { source: source.into(), is_single, url, key })
        };
        match name {
            "plain" => of(include_str!("../templates/plain.json"), false, None, KeyUse::Signs),
            "slack" => of(include_str!("../templates/slack.json"), false, None, KeyUse::Signs),
            "datadog" => of(
                include_str!("../templates/datadog.json"),
                false,
                Some("https://http-intake.logs.datadoghq.com/api/v2/logs"),
                KeyUse::Header("dd-api-key"),
            ),
            "pagerduty" => of(
                include_str!("../templates/pagerduty.json"),
                true,
                Some("https://events.pagerduty.com/v2/enqueue"),
                KeyUse::InBody,
            ),
            _ => None,
        }
    }

    /// A shape of one's own, with the variables `events`, `id`, `host`, `dropped` and `title`. The
    /// key signs.
    ///
    /// # Errors
    /// Names the line with the mistake.
    pub fn own(source: &str) -> Result<Template, BadTemplate> {
        environment().template_from_named_str("own.json", source).map_err(BadTemplate)?;
        let source = source.into();
        Ok(Template { source, is_single: false, url: None, key: KeyUse::Signs })
    }

    /// The body with these events; `key` is used only where the service wants it there.
    ///
    /// # Errors
    /// When an expression fails, or what comes out is no JSON.
    pub(crate) fn render(&self, content: &Content<'_>) -> Result<String, BadTemplate> {
        let count = content.events.len();
        let mut title = format!("{count} event{}", if count == 1 { "" } else { "s" });
        if content.dropped > 0 {
            title += &format!(", {} were dropped before", content.dropped);
        }
        let mut variables = json!(content);
        variables["event"] = json!(content.events.first());
        variables["title"] = title.into();
        let variables = minijinja::value::Serde(variables);
        let body = environment().render_named_str("body.json", &self.source, variables);
        let body = body.map_err(BadTemplate)?;
        // Made compact, and checked.
        let json: Value = serde_json::from_str(&body).map_err(|error| {
            let why = format!("what it makes is no JSON: {error}");
            BadTemplate(minijinja::Error::new(minijinja::ErrorKind::BadSerialization, why))
        })?;
        Ok(json.to_string())
    }
}

/// What a body is made of.
#[derive(Serialize)]
pub(crate) struct Content<'a> {
    pub(crate) events: &'a [Value],
    pub(crate) id: &'a str,
    pub(crate) host: &'a str,
    pub(crate) dropped: u64,
    pub(crate) key: Option<&'a str>,
}

fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(|_| AutoEscape::Json);
    // What Slack reads as the beginning of a link, a mention or an entity.
    environment.add_filter("slack", |text: minijinja::Value| {
        text.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    });
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(name: &str, events: &[Value]) -> Value {
        let content = Content { events, id: "1", host: "h", dropped: 0, key: Some("k") };
        let body = Template::named(name).unwrap().render(&content).unwrap();
        serde_json::from_str(&body).unwrap()
    }

    fn event(summary: &str) -> Value {
        json!({"event": "failure", "agent": "main", "severity": "error",
            "time": 1_795_676_400, "summary": summary})
    }

    #[test]
    fn each_service_has_its_shape() {
        let odd = "\"<@U1> & {{ x }}\n\u{2028}\u{1f600}";
        let events = [event(odd), event("b")];
        let line =
            |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
        let slack = json!({"text": "2 events", "blocks": [
            line("*failure* main: \"&lt;@U1&gt; &amp; {{ x }}\n\u{2028}\u{1f600}"),
            line("*failure* main: b"),
            {"type": "context", "elements": [{"type": "plain_text", "text": "2 events"}]}]});
        assert_eq!(render("slack", &events), slack);
        let log = |event: &Value| {
            json!({"ddsource": "rungs", "service": "rungs", "hostname": "h",
            "status": "error", "ddtags": "event:failure,agent:main", "message": event["summary"],
            "rungs": event})
        };
        assert_eq!(render("datadog", &events), json!([log(&events[0]), log(&events[1])]));
        let alert = json!({"routing_key": "k", "event_action": "trigger", "dedup_key": "1",
            "payload": {"summary": "failure main: b", "source": "h", "severity": "error",
                "component": "main", "class": "failure",
                "custom_details": events[1]}});
        assert_eq!(render("pagerduty", &events[1..]), alert);
        let plain = json!({"id": "1", "host": "h", "dropped": 0, "events": events});
        assert_eq!(render("plain", &events), plain);
        assert!(Template::named("teams").is_none());
    }

    #[test]
    fn a_long_summary_stays_within_what_a_service_takes() {
        let long = [event(&"<".repeat(5000))];
        let text = &render("slack", &long)["blocks"][0]["text"]["text"];
        assert!(text.as_str().unwrap().chars().count() <= 3000);
        let summary = &render("pagerduty", &long)["payload"]["summary"];
        assert_eq!(summary.as_str().unwrap().len(), 1024);
    }

    #[test]
    fn mistakes_are_named() {
        let syntax = Template::own("{\n{% for %}").unwrap_err().to_string();
        assert!(syntax.starts_with("the template (line 2): syntax error: "), "{syntax}");
        let none = Template::own("{{ events }} more").unwrap();
        let content = Content { events: &[], id: "1", host: "h", dropped: 0, key: None };
        let error = none.render(&content).unwrap_err().to_string();
        assert!(error.contains("what it makes is no JSON: trailing characters"), "{error}");
    }
}
