//! Errors in the shape of the API that was asked.
use crate::script::fault::ErrorStatus;
use serde_json::{Value, json};

/// The two wire formats: the Messages API and Chat Completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireFormat {
    Messages,
    Chat,
}

/// Why a request gets an error instead of a reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    /// The type of the error, where it is not the one that belongs to the status.
    kind: Option<String>,
    message: String,
    code: Option<String>,
    /// The field that is wrong (Chat Completions only).
    param: Option<String>,
}

impl ApiError {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        ApiError { status, kind: None, message: message.into(), code: None, param: None }
    }

    /// The request is wrong; to send it again is useless.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        ApiError::new(400, message)
    }

    /// A field of a Chat Completions request is wrong.
    pub(crate) fn invalid_param(param: impl Into<String>, message: impl Into<String>) -> Self {
        ApiError { param: Some(param.into()), ..ApiError::invalid(message) }
    }

    /// The same error with a code.
    pub(crate) fn with_code(self, code: &str) -> Self {
        ApiError { code: Some(code.to_string()), ..self }
    }

    /// An error that the script asks for.
    pub(crate) fn scripted(fault: &ErrorStatus) -> Self {
        let message = fault.message.as_deref().unwrap_or_else(|| default_message(fault.status));
        ApiError {
            kind: fault.kind.clone(),
            code: fault.code.clone(),
            ..ApiError::new(fault.status, message)
        }
    }

    /// An error inside a stream, which has a type but no status.
    pub(crate) fn in_stream(kind: &str, message: Option<&str>) -> Self {
        let known = MESSAGES_TYPES.iter().find(|(_, known)| *known == kind);
        let status = known.map_or(500, |(status, _)| *status);
        let message = message.unwrap_or_else(|| default_message(status));
        ApiError { kind: Some(kind.to_string()), ..ApiError::new(status, message) }
    }

    /// The body of the response.
    pub(crate) fn body(&self, format: WireFormat, request_id: &str) -> Value {
        match format {
            WireFormat::Messages => {
                let kind = self.kind.as_deref().unwrap_or_else(|| messages_type(self.status));
                let mut error = json!({"type": kind, "message": self.message});
                if let Some(code) = &self.code {
                    error["details"] = json!({"error_code": code});
                }
                json!({"type": "error", "error": error, "request_id": request_id})
            }
            WireFormat::Chat => {
                let (default_kind, default_code) = chat_type(self.status);
                let kind = self.kind.as_deref().unwrap_or(default_kind);
                let code = self.code.as_deref().or(default_code);
                let error = json!({
                    "message": self.message,
                    "type": kind,
                    "param": self.param,
                    "code": code,
                });
                json!({"error": error})
            }
        }
    }
}

/// The statuses of the Messages API and the type of error that belongs to each.
const MESSAGES_TYPES: [(u16, &str); 11] = [
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

fn messages_type(status: u16) -> &'static str {
    let other = if status < 500 { "invalid_request_error" } else { "api_error" };
    MESSAGES_TYPES.iter().find(|(known, _)| *known == status).map_or(other, |(_, kind)| kind)
}

/// Type and code of an error of Chat Completions.
fn chat_type(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        503 | 529 => ("server_error", Some("server_is_overloaded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    }
}

fn default_message(status: u16) -> &'static str {
    match status {
        401 => "invalid x-api-key",
        413 => "Request exceeds the maximum size",
        429 => "This request would exceed your rate limit. (The script of this rehearsal says so.)",
        529 => "Overloaded",
        500.. => "Internal server error (as the script of this rehearsal says)",
        _ => "As the script of this rehearsal says",
    }
}
