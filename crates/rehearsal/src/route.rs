//! What a request asks for, by its method and path.
use crate::api_error::{ApiError, WireFormat};
use hyper::{HeaderMap, Method};

/// An endpoint.
pub(crate) enum Route<'a> {
    Reply(WireFormat),
    CountTokens,
    Models,
    /// The model of this name.
    Model(&'a str),
}

/// The wire format of a request. Both APIs have `/v1/models`; only the Messages API has the version
/// header.
pub(crate) fn format_of(path: &str, headers: &HeaderMap) -> WireFormat {
    let chat_models = path.starts_with("/v1/models") && !headers.contains_key("anthropic-version");
    match chat_models || path.starts_with("/v1/chat") {
        true => WireFormat::Chat,
        false => WireFormat::Messages,
    }
}

pub(crate) fn route<'a>(
    method: &Method,
    path: &'a str,
    format: WireFormat,
) -> Result<Route<'a>, ApiError> {
    let (allowed, route) = match path {
        "/v1/messages" => (Method::POST, Route::Reply(WireFormat::Messages)),
        "/v1/chat/completions" => (Method::POST, Route::Reply(WireFormat::Chat)),
        "/v1/messages/count_tokens" => (Method::POST, Route::CountTokens),
        "/v1/models" => (Method::GET, Route::Models),
        _ => match path.strip_prefix("/v1/models/") {
            Some(id) => (Method::GET, Route::Model(id)),
            None => {
                let message = match format {
                    WireFormat::Messages => "Not found".to_string(),
                    WireFormat::Chat => format!("Invalid URL ({method} {path})"),
                };
                return Err(ApiError::new(404, message));
            }
        },
    };
    if *method != allowed {
        return Err(ApiError::new(405, format!("Method Not Allowed: {path} takes {allowed}")));
    }
    Ok(route)
}
