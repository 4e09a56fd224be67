//! The server: connections, and a handle that ends them.
use crate::{
    answer::{State, answer},
    script::Script,
    seen::Seen,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, io, net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// Connections at a time. More wait: on loopback that many are a mistake.
const MOST_CONNECTIONS: usize = 1000;

/// A running server. It stops, with all its connections, when dropped.
#[derive(Debug)]
pub struct Server {
    url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
    running: watch::Receiver<()>,
}

impl Script {
    /// Serves the script on a free port of loopback.
    pub async fn serve(self) -> io::Result<Server> {
        self.serve_on(0).await
    }

    /// Serves the script on this port of loopback; 0 means a free one.
    pub async fn serve_on(self, port: u16) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(State::new(self));
        let (alive, running) = watch::channel(());
        let served = state.clone();
        let task = tokio::spawn(async move {
            // Dropped when the task ends, however it ends.
            let _alive = alive;
            accept(&listener, &served).await;
        });
        Ok(Server { url, state, task, running })
    }
}

async fn accept(listener: &TcpListener, state: &Arc<State>) {
    // Ends all connections when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MOST_CONNECTIONS {
            connections.join_next().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file handles, most likely: that passes.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Small events must not wait for company.
        let _ = stream.set_nodelay(true);
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            // An error here is the client's leaving, or a cut the script wants.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Server {
    /// Where it is: `http://127.0.0.1:PORT`, without `/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.state.count()
    }

    /// The newest 1,000 requests, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen()
    }

    /// Waits until the server has stopped. By itself it never does.
    pub async fn stopped(&self) {
        let mut running = self.running.clone();
        while running.changed().await.is_ok() {}
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
