//! The client of one API, by its base URL.
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Client, Url, header::HeaderMap, redirect::Policy};
use std::{net::IpAddr, time::Duration};

/// What a base URL must be.
const FORM: &str = "it must start with http:// or https:// and name a host";

/// Reads a base URL.
///
/// # Errors
/// What is wrong with it. It is not repeated, since it may hold a secret.
pub fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("no URL: {error}; {FORM}"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a base URL has no `?` and no `#`".into());
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(FORM.into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name or password; a key belongs in its own variable".into());
    }
    Ok(url)
}

/// Whether a URL leads to this machine.
pub fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']', '.']);
    let address = host.parse::<IpAddr>().map(|address| address.to_canonical());
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A client for an API at this URL, which sends these headers with every request.
///
/// # Errors
/// When the system's certificates cannot be read.
pub fn client(url: &Url, headers: HeaderMap, connect_timeout: Duration) -> reqwest::Result<Client> {
    // One provider for the process; a second install is refused and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .default_headers(headers)
        .connect_timeout(connect_timeout)
        // A redirect would carry `x-api-key` to whatever host it names.
        .redirect(Policy::none())
        .user_agent(concat!("rungs/", env!("CARGO_PKG_VERSION")));
    if is_local(url) {
        builder = builder.no_proxy();
    }
    if url.scheme() == "http" {
        // Reading the system's certificates takes milliseconds, and here nothing will ask for them.
        builder = builder.tls_certs_only([]);
    }
    builder.build()
}

/// The proxy through which the system's settings send requests to this URL: its host and port.
pub fn proxy(url: &Url) -> Option<String> {
    if is_local(url) {
        return None;
    }
    let proxy = Matcher::from_system().intercept(&url.as_str().parse().ok()?)?;
    Some(proxy.uri().authority()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_many_names() {
        for (host, local) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("127.0.0.1", true),
            ("127.0.0.2", true),
            ("127.1", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example.com", false),
            ("128.0.0.1", false),
            ("[::2]", false),
        ] {
            let url = base_url(&format!("http://{host}:80/v1")).unwrap();
            assert_eq!(is_local(&url), local, "{host}");
        }
    }
}
