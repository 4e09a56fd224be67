//! What a server's refusal is about, from its words.
//!
//! Every server has words of its own, and new ones come; so these rules look for what is measured
//! and how it is compared, not for sentences.
use serde_json::Value;

/// Where a refusal speaks of one of these and says `MORE`, the conversation is too long.
const MEASURED: [&str; 7] =
    ["context", "prompt", "input", "token", "length of", "conversation", "sequence"];
const MORE: [&str; 12] = [
    "exceed",
    "too long",
    "too large",
    "too many",
    "too big",
    "longer than",
    "greater than",
    "larger than",
    "more than",
    "maximum",
    "limit",
    "reduce the",
];
/// How servers name the bound on a reply.
const REPLY_BOUND: [&str; 5] =
    ["max_tokens", "max_completion_tokens", "max_new_tokens", "max_output_tokens", "output tokens"];
/// What else is too much, and passes by itself or has nothing to do with length.
const OTHER_LIMITS: [&str; 8] = [
    "rate limit",
    "rate_limit",
    "too many requests",
    "per minute",
    "quota",
    "overload",
    "capacity",
    "throttl",
];
/// The smallest bound on a reply that is worth asking for, in tokens.
const MIN_FEWER_TOKENS: u64 = 1024;

/// The fields in which Groq keeps the call that could not be read, and Azure which filter declined.
const POINTED_TO: [&str; 2] = ["failed_generation", "innererror"];

/// What compressed bytes begin with.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// How much is shown of what is no answer of the API, in characters.
const MAX_QUOTED_CHARS: usize = 300;

/// An error as a server reports it.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The API's own name of the error, such as `rate_limit_error`.
    pub kind: String,
    /// The server's own words.
    pub message: String,
    status: u16,
    /// Type, code and message, in lower case.
    words: String,
}

impl Refusal {
    /// Reads the body of an error. The Messages API and Chat Completions agree on `error.message`;
    /// some proxies say `detail`, or a bare string, or put it into a list or into a choice, or
    /// quote whom they asked in `metadata`.
    pub fn read(status: u16, body: &Value) -> Self {
        let body = body.get(0).unwrap_or(body);
        let error = reported(body).unwrap_or(&Value::Null);
        let names = [&error["type"], &error["code"], &body["type"], &body["code"]];
        let names: Vec<&str> = names.into_iter().filter_map(Value::as_str).collect();
        let texts = [&error["message"], error, &body["detail"], &body["message"]];
        let mut message = match texts.into_iter().find_map(Value::as_str) {
            Some(message) => message.into(),
            None => body.to_string(),
        };
        if let Some(quoted) = error["metadata"]["raw"].as_str() {
            message = format!("{message}: {quoted}");
        }
        let kind = names.first().map_or("unknown", |name| name).to_string();
        let words = format!("{} {message}", names.join(" ")).to_lowercase();
        // What the message only points to. It may speak of anything, so it is no part of the words.
        for name in POINTED_TO {
            match &error[name] {
                Value::Null => {}
                Value::String(text) => message += &format!("; {name}: {text}"),
                value => message += &format!("; {name}: {value}"),
            }
        }
        Refusal { kind, message, status, words }
    }

    fn says(&self, any: &[&str]) -> bool {
        any.iter().any(|part| self.words.contains(part))
    }

    /// Whether the prompt is larger than the model's window.
    pub fn is_overflow(&self) -> bool {
        if matches!(self.status, 401..=404 | 413 | 429) || self.says(&OTHER_LIMITS) {
            return false;
        }
        // Two counts of tokens are compared, whatever the word for it is.
        let compares = || numbers(&self.words).iter().filter(|number| **number > 255).count() > 1;
        match self.says(&["context"]) {
            true => self.says(&MORE) || compares(),
            // A bound on pictures, or on the reply alone.
            false if self.says(&["image"]) => false,
            false if self.is_about_reply() && !self.says(&["prompt", "input"]) => false,
            false => {
                self.says(&MEASURED) && (self.says(&MORE) || (self.status < 500 && compares()))
            }
        }
    }

    /// Whether it is about the bound on a reply.
    pub fn is_about_reply(&self) -> bool {
        self.says(&REPLY_BOUND)
    }

    /// A smaller bound on the reply than `asked`, if the server refuses that one and leaves room
    /// for another. It may give what a reply may have, or the window, and what the prompt takes or
    /// prompt and reply together.
    pub fn fewer_tokens(&self, asked: u32) -> Option<u32> {
        let asked = u64::from(asked);
        let mut given = numbers(&self.words);
        let quotes_asked = given.contains(&asked);
        let is_about_reply = self.is_about_reply() || self.says(&["requested", "completion"]);
        if !matches!(self.status, 400 | 422 | 500..) || !(quotes_asked || is_about_reply) {
            return None;
        }
        let sums: Vec<u64> = given.iter().map(|prompt| prompt.saturating_add(asked)).collect();
        let quotes_sum = given.iter().any(|number| sums.contains(number));
        given.retain(|number| *number != asked && !sums.contains(number));
        given.sort_unstable();
        given.dedup();
        let fewer = match given[..] {
            [] => return None,
            // Without the size of the prompt, half of the window is for it.
            [window] if self.says(&["context"]) => window / 2,
            [most] => most,
            // The larger number may be prompt and reply together, and the smaller one the window.
            [.., window, sum] if !quotes_asked && !quotes_sum && sum > asked => {
                (sum - window).min(window.saturating_sub(sum - asked))
            }
            [.., prompt, window] => window - prompt,
        };
        (MIN_FEWER_TOKENS..asked).contains(&fewer).then_some(fewer as u32)
    }
}

/// The error that a body reports, which may stand in its first choice.
pub fn reported(body: &Value) -> Option<&Value> {
    let errors = [&body["error"], &body["choices"][0]["error"]];
    errors.into_iter().find(|error| !error.is_null())
}

/// The status that an error inside of a body stands for: one that it names, or its kind
/// (api/errors).
pub fn status_of(error: &Value) -> Option<u16> {
    let said = [&error["code"], &error["status"]];
    let said = said.map(|status| status.to_string().trim_matches('"').parse().ok());
    if let Some(status) = said.into_iter().flatten().find(|status| (400..600).contains(status)) {
        return Some(status);
    }
    match error["type"].as_str()? {
        "invalid_request_error" => Some(400),
        "authentication_error" => Some(401),
        "billing_error" => Some(402),
        "permission_error" => Some(403),
        "not_found_error" => Some(404),
        "request_too_large" => Some(413),
        "rate_limit_error" => Some(429),
        "timeout_error" => Some(504),
        "overloaded_error" => Some(529),
        _ => None,
    }
}

/// The numbers in a text, but for those in names such as `gpt-4.1`.
fn numbers(text: &str) -> Vec<u64> {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ',');
    let words = text.split(|c: char| !in_name(c));
    let plain = words.map(|word| word.trim_matches([',', '.', '-']).replace(',', ""));
    plain.filter_map(|word| word.parse().ok()).collect()
}

/// What is said of a body that is no reply, with the beginning of what stands in it.
pub fn unreadable(bytes: &[u8], why: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let quoted = |text: &str| text.chars().take(MAX_QUOTED_CHARS).collect::<String>();
    match text.trim() {
        "" => format!("the answer is empty ({why})"),
        _ if bytes.starts_with(GZIP) => {
            format!("the answer is compressed, which was not asked for ({why})")
        }
        page if page.starts_with('<') => format!(
            "it answered with HTML where JSON was expected ({why}); is the base URL that of the \
             API? {}",
            quoted(&without_tags(page))
        ),
        text => format!("the answer is no reply of this API ({why}): {}", quoted(text)),
    }
}

/// The words of an HTML page.
fn without_tags(html: &str) -> String {
    let parts = html.split('<').filter_map(|part| part.split_once('>'));
    let words: Vec<&str> = parts.flat_map(|(_, text)| text.split_whitespace()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(status: &str, words: &str) -> Refusal {
        Refusal::read(status.parse().unwrap(), &json!({"error": {"message": words}}))
    }

    #[test]
    fn errors_are_read_in_every_form() {
        for (body, kind, message) in [
            (json!({"error": {"type": "t", "code": "c", "message": "m"}}), "t", "m"),
            (json!({"error": "m", "code": "invalid-argument"}), "invalid-argument", "m"),
            (json!({"object": "error", "message": "m", "type": "t", "code": 400}), "t", "m"),
            (json!({"detail": "m"}), "unknown", "m"),
            (json!([{"error": {"code": 400, "message": "m"}}]), "unknown", "m"),
            (json!({"detail": [{"msg": "m"}]}), "unknown", r#"{"detail":[{"msg":"m"}]}"#),
            (json!({"error": {"message": "m", "metadata": {"raw": "r"}}}), "unknown", "m: r"),
            (json!({"choices": [{"error": {"message": "m", "code": 502}}]}), "unknown", "m"),
            (
                json!({"error":
                    {"message": "m", "failed_generation": "<call>", "innererror": [1]}}),
                "unknown",
                "m; failed_generation: <call>; innererror: [1]",
            ),
            (json!("m"), "unknown", "\"m\""),
            (json!(null), "unknown", "null"),
        ] {
            let refusal = Refusal::read(400, &body);
            assert_eq!((&*refusal.kind, &*refusal.message), (kind, message), "{body}");
        }
    }

    #[test]
    fn an_error_in_a_body_stands_for_a_status() {
        for (error, status) in [
            (json!({"code": 502}), Some(502)),
            (json!({"code": "429"}), Some(429)),
            (json!({"code": "1302", "status": 401}), Some(401)),
            (json!({"code": 1302, "type": "rate_limit_error"}), Some(429)),
            (json!({"code": "context_length_exceeded", "type": "overloaded_error"}), Some(529)),
            (json!({"code": 99999999999u64}), None),
            (json!({"type": "new"}), None),
            (json!("words"), None),
        ] {
            assert_eq!(status_of(&error), status, "{error}");
        }
    }

    #[test]
    fn what_a_message_points_to_does_not_say_what_it_is_about() {
        let call = "cat <<'EOF'\nthe context exceeds the maximum of 16000 tokens, max_tokens 8000";
        let body = json!({"error": {"message": "no call", "failed_generation": call}});
        let refusal = Refusal::read(400, &body);
        assert!(!refusal.is_overflow() && !refusal.is_about_reply(), "{refusal:?}");
    }

    #[test]
    fn numbers_of_any_size_do_no_harm() {
        for words in [
            "max_tokens 99999999999999999999999 > 18446744073709551615, 18446744073709551614",
            "max_tokens 0 0",
            "max_tokens -1 > 5",
        ] {
            assert_eq!(refusal("400", words).fewer_tokens(u32::MAX), None);
        }
    }

    #[test]
    fn a_page_is_quoted_by_its_words() {
        for (bytes, expected) in [
            (&b"  "[..], "the answer is empty (status 502)"),
            (b"\x1f\x8b\x08abc", "the answer is compressed, which was not asked for (status 502)"),
            (
                b"upstream connect error",
                "the answer is no reply of this API (status 502): upstream connect error",
            ),
            (
                b"<html><head><title>502 Bad\n Gateway</title></head><p>nginx</html>",
                "it answered with HTML where JSON was expected (status 502); is the base URL that \
                 of the API? 502 Bad Gateway nginx",
            ),
        ] {
            assert_eq!(unreadable(bytes, "status 502"), expected);
        }
        assert!(unreadable(&[0xff; 100_000], "x").len() < 1100);
    }

    /// The lines of `refusals.txt` of one kind, without it.
    fn refusals(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
        let lines = include_str!("refusals.txt").lines().map(|line| line.split(" | "));
        lines.filter_map(move |mut parts| (parts.next()? == kind).then(|| parts.collect()))
    }

    #[test]
    fn every_server_says_in_its_own_words_that_the_conversation_is_too_long() {
        for (kind, expected, lines) in [("too long", true, 23), ("other", false, 16)] {
            let mut tried = 0;
            for parts in refusals(kind) {
                let [status, words] = parts[..] else { panic!("{parts:?}") };
                assert_eq!(refusal(status, words).is_overflow(), expected, "{words}");
                tried += 1;
            }
            assert_eq!(tried, lines);
        }
        assert!(!refusal("400", "").is_overflow());
        let code = json!({"error": {"code": "context_length_exceeded", "message": "no"}});
        assert!(Refusal::read(400, &code).is_overflow());
    }

    #[test]
    fn a_refusal_of_the_bound_on_the_reply_says_what_would_be_accepted() {
        let mut tried = 0;
        for parts in refusals("fewer") {
            let [asked, fewer, words] = parts[..] else { panic!("{parts:?}") };
            let given = refusal("400", words).fewer_tokens(asked.parse().unwrap());
            assert_eq!(given, fewer.parse().ok(), "{words}");
            tried += 1;
        }
        assert_eq!(tried, 16);
    }
}
