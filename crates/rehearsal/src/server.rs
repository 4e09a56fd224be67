//! The server: it accepts connections, and a handle ends them.
use crate::{
    exchange::{State, answer},
    request_log::ReceivedRequest,
    script::Script,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, io, net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

/// How many connections are served at a time; more wait. A client on loopback that opens this many
/// has a leak.
const MAX_CONNECTIONS: usize = 1000;
/// The wait before the next attempt to accept a connection, when the process has no file descriptor
/// left for one.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// A running server. It stops, with all its connections, when dropped.
#[derive(Debug)]
pub struct Server {
    url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Script {
    /// Serves the script on a free port of loopback.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn serve(self) -> io::Result<Server> {
        self.serve_on(0).await
    }

    /// Serves the script on this port of loopback; 0 means a free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn serve_on(self, port: u16) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(State::new(self));
        let served = state.clone();
        let task = tokio::spawn(async move { accept(&listener, &served).await });
        Ok(Server { url, state, task })
    }
}

async fn accept(listener: &TcpListener, state: &Arc<State>) {
    // Aborts the connections when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        // Without this the kernel holds small events back to send them together.
        let _ = stream.set_nodelay(true);
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            // An error means that the client left, or that the script cut the connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Server {
    /// Where it is: `http://127.0.0.1:PORT`, without `/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many requests it has received.
    pub fn request_count(&self) -> usize {
        self.state.request_count()
    }

    /// The newest 1,000 requests that it received, oldest first.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.state.requests()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
