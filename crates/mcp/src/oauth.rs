//! Signing in to a server by OAuth 2.1, in the person's browser. The tokens are kept in a file that
//! nobody else may read, and refreshed by themselves.
use crate::{Person, names::hash};
use async_trait::async_trait;
use durable::Folder;
use reqwest::{Client, Url, header::HeaderMap};
use rmcp::transport::auth::{
    AuthClient, AuthError, AuthorizationManager, AuthorizationRequest, CredentialStore, OAuthState,
    StoredCredentials,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// How long the person may take in the browser.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(300);
/// How long an address may be to which a browser is sent back, in bytes.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// How large a file of tokens may be, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
                    You are signed in as far as this page knows; the terminal says more.\n";

/// What one server asks for, and what it was given.
pub(crate) struct Access {
    tokens: Tokens,
    /// What the server said when it asked for a sign-in.
    challenge: Mutex<Option<String>>,
    /// The person has signed in.
    pub signed_in: Notify,
}

/// The file of one server's tokens, below a handle of its folder.
#[derive(Clone)]
struct Tokens {
    folder: Arc<Folder>,
    file: String,
}

impl Access {
    /// The file is named after where the tokens are valid, so that no other address gets them.
    pub(crate) fn new(folder: Arc<Folder>, address: &str) -> Access {
        let file = format!("tokens_{}.json", &hash(address.as_bytes())[..16]);
        Access {
            tokens: Tokens { folder, file },
            challenge: Mutex::default(),
            signed_in: Notify::new(),
        }
    }

    /// Keeps what a server says when it asks for a sign-in, or for more rights.
    pub(crate) fn note(&self, challenge: Option<&str>) {
        if let Some(challenge) = challenge {
            *self.challenge.lock().unwrap() = Some(challenge.into());
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.challenge.lock().unwrap().is_some()
    }

    async fn manager(&self, url: &Url) -> Result<AuthorizationManager, String> {
        // Without the headers of the configuration, which are for the server alone.
        let client = rungs_http::client(url, HeaderMap::new(), CONNECT_TIMEOUT);
        let client = client.map_err(|error| rungs_http::cause(&error))?;
        let manager = AuthorizationManager::new(url.as_str()).await;
        let mut manager = manager.map_err(|error| error.to_string())?;
        manager.with_client(client).map_err(|error| error.to_string())?;
        manager.set_credential_store(self.tokens.clone());
        Ok(manager)
    }

    /// The client that sends the tokens along, if there are some.
    pub(crate) async fn client(&self, url: &Url, client: Client) -> Option<AuthClient<Client>> {
        self.tokens.read().ok()??;
        let mut manager = self.manager(url).await.ok()?;
        let has_tokens = manager.initialize_from_store().await.ok()?;
        has_tokens.then(|| AuthClient::new(client, manager))
    }

    /// Lets the person sign in.
    ///
    /// # Errors
    /// Why there are no tokens.
    pub(crate) async fn login(&self, url: &Url, person: &impl Person) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let back = format!("http://127.0.0.1:{port}/callback");
        let mut request = AuthorizationRequest::new(&back).with_client_name("rungs");
        if let Some(challenge) = self.challenge.lock().unwrap().clone() {
            request = request.with_challenge(challenge);
        }
        let mut state = OAuthState::Unauthorized(self.manager(url).await?);
        let explain = |error: AuthError| error.to_string();
        state.start_authorization(request).await.map_err(explain)?;
        let page = state.get_authorization_url().await.map_err(explain)?;
        person.notice(&format!("to sign in, open this address in a browser:\n{page}"));
        let Ok(query) = tokio::time::timeout(LOGIN_TIMEOUT, callback(&listener)).await else {
            return Err(format!("nobody signed in within {} s", LOGIN_TIMEOUT.as_secs()));
        };
        state.handle_callback_url(&format!("{back}?{query}")).await.map_err(explain)?;
        *self.challenge.lock().unwrap() = None;
        self.signed_in.notify_one();
        Ok(())
    }
}

/// Waits for the browser to come back, and gives the query of its address.
async fn callback(listener: &TcpListener) -> String {
    loop {
        let Ok((mut browser, _)) = listener.accept().await else { continue };
        let line = request_line(&mut browser).await.unwrap_or_default();
        let path = line.split(' ').nth(1).unwrap_or_default();
        if let Some(query) = path.strip_prefix("/callback?") {
            // The page is a courtesy.
            let _ = browser.write_all(DONE.as_bytes()).await;
            let _ = browser.shutdown().await;
            return query.into();
        }
        let _ = browser.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    }
}

async fn request_line(browser: &mut TcpStream) -> Option<String> {
    let mut bytes = vec![];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") && bytes.len() < MAX_REQUEST_BYTES {
        let read = browser.read_buf(&mut bytes);
        if tokio::time::timeout(CONNECT_TIMEOUT, read).await.ok()?.ok()? == 0 {
            break;
        }
    }
    Some(String::from_utf8_lossy(&bytes).lines().next()?.to_string())
}

impl Tokens {
    fn read(&self) -> Result<Option<StoredCredentials>, AuthError> {
        let failed = |error: &dyn std::fmt::Display| AuthError::InternalError(error.to_string());
        match self.folder.read(&self.file, MAX_FILE_BYTES).map_err(|error| failed(&error))? {
            Some(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(&error)),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl CredentialStore for Tokens {
    async fn load(&self) -> Result<Option<StoredCredentials>, AuthError> {
        self.read()
    }

    async fn save(&self, credentials: StoredCredentials) -> Result<(), AuthError> {
        let failed = |error: &dyn std::fmt::Display| AuthError::InternalError(error.to_string());
        let bytes = serde_json::to_vec(&credentials).map_err(|error| failed(&error))?;
        self.folder.write(&self.file, &bytes).map_err(|error| failed(&error))
    }

    async fn clear(&self) -> Result<(), AuthError> {
        let removed = self.folder.remove(&self.file);
        removed.map(|_| ()).map_err(|error| AuthError::InternalError(error.to_string()))
    }
}
