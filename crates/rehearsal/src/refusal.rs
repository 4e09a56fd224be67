//! Errors in the shape of the API that was asked.
use crate::fault::Status;
use serde_json::{Value, json};

/// The two wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Messages,
    Chat,
}

/// Why a request gets no reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The type of the error, where it is not the one that goes with the status.
    pub(crate) kind: Option<String>,
    pub(crate) message: String,
    pub(crate) code: Option<String>,
    /// Which field is at fault (Chat Completions only).
    pub(crate) param: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Refusal { status, kind: None, message: message.into(), code: None, param: None }
    }

    /// The request is wrong, and would be the next time.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Refusal::new(400, message)
    }

    /// A field of a Chat Completions request is wrong.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Refusal { param: Some(param.into()), ..Refusal::bad(message) }
    }

    pub(crate) fn scripted(status: &Status) -> Self {
        let message =
            status.message.clone().unwrap_or_else(|| usual_message(status.status).to_string());
        Refusal {
            kind: status.kind.clone(),
            code: status.code.clone(),
            ..Refusal::new(status.status, message)
        }
    }

    /// The same as an error inside a stream, which has no status but its type.
    pub(crate) fn in_stream(kind: &str, message: Option<&str>) -> Self {
        let status = MESSAGES_KINDS
            .iter()
            .find(|(_, known)| *known == kind)
            .map_or(500, |(status, _)| *status);
        let message = message.unwrap_or_else(|| usual_message(status));
        Refusal { kind: Some(kind.to_string()), ..Refusal::new(status, message) }
    }

    pub(crate) fn body(&self, format: Format, request_id: &str) -> Value {
        match format {
            Format::Messages => {
                let kind = self.kind.as_deref().unwrap_or_else(|| messages_kind(self.status));
                let mut error = json!({"type": kind, "message": self.message});
                if let Some(code) = &self.code {
                    error["details"] = json!({"error_code": code});
                }
                json!({"type": "error", "error": error, "request_id": request_id})
            }
            Format::Chat => {
                let (usual, code) = chat_kind(self.status);
                let kind = self.kind.as_deref().unwrap_or(usual);
                let code = self.code.as_deref().or(code);
                json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": code}})
            }
        }
    }
}

const MESSAGES_KINDS: [(u16, &str); 11] = [
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (402, "billing_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (409, "conflict_error"),
    (413, "request_too_large"),
    (429, "rate_limit_error"),
    (504, "timeout_error"),
    (529, "overloaded_error"),
    (500, "api_error"),
];

fn messages_kind(status: u16) -> &'static str {
    let other = if status < 500 { "invalid_request_error" } else { "api_error" };
    MESSAGES_KINDS.iter().find(|(known, _)| *known == status).map_or(other, |(_, kind)| kind)
}

fn chat_kind(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        503 | 529 => ("server_error", Some("server_is_overloaded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    }
}

fn usual_message(status: u16) -> &'static str {
    match status {
        401 => "invalid x-api-key",
        413 => "Request exceeds the maximum size",
        429 => "This request would exceed your rate limit. (The script of this rehearsal says so.)",
        529 => "Overloaded",
        500.. => "Internal server error (as the script of this rehearsal says)",
        _ => "As the script of this rehearsal says",
    }
}
