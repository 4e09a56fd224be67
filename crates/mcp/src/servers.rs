//! All servers together.
use crate::{
    approvals::{Approvals, Change},
    config::Config,
    server::{Server, Status},
};
use durable::Folder;
use rungs_process::Environment;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many servers start at a time.
const MAX_STARTS: usize = 4;

/// The servers, started. Clones are the same; with the last one, their processes end.
#[derive(Clone)]
pub struct Servers(Arc<Inner>);

struct Inner {
    servers: Vec<Arc<Server>>,
    approvals: Arc<Approvals>,
    news: Arc<Notify>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
    max_schema_tokens: usize,
    told: Mutex<BTreeMap<String, Status>>,
    shutdown: CancellationToken,
    _drop: DropGuard,
}

impl Servers {
    /// Starts them in the background, in this folder, with this environment; at most four at a
    /// time. Tokens of sign-ins are kept in the folder `tokens`. Needs a Tokio runtime.
    pub fn start(
        config: Config,
        approvals: Approvals,
        tokens: Folder,
        folder: &Path,
        environment: &Environment,
    ) -> Servers {
        let tokens = Arc::new(tokens);
        let (approvals, news) = (Arc::new(approvals), Arc::new(Notify::new()));
        let (starts, shutdown) = (Arc::new(Semaphore::new(MAX_STARTS)), CancellationToken::new());
        let (mut servers, mut tasks) = (vec![], JoinSet::new());
        for (name, config) in config.servers {
            let server = Arc::new(Server::new(name, config, tokens.clone(), news.clone()));
            servers.push(server.clone());
            let place = (folder.to_path_buf(), environment.clone());
            let (approvals, starts) = (approvals.clone(), starts.clone());
            let shutdown = shutdown.clone();
            tasks.spawn(async move { server.run(place, approvals, starts, shutdown).await });
        }
        let (tasks, _drop) = (tasks.into(), shutdown.clone().drop_guard());
        let (max_schema_tokens, told) = (config.max_schema_tokens, Mutex::default());
        Servers(Arc::new(Inner {
            servers,
            approvals,
            news,
            tasks,
            max_schema_tokens,
            told,
            shutdown,
            _drop,
        }))
    }

    /// All of them, by name.
    pub fn all(&self) -> &[Arc<Server>] {
        &self.0.servers
    }

    /// The server of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Server>> {
        self.0.servers.iter().find(|server| server.name == name)
    }

    /// Waits until every server is connected or has failed, but no longer than this.
    pub async fn settle(&self, at_most: Duration) {
        let settled = async {
            loop {
                let news = self.0.news.notified();
                let mut news = std::pin::pin!(news);
                // From here on no news is missed.
                news.as_mut().enable();
                if self.all().iter().all(|server| server.status() != Status::Starting) {
                    return;
                }
                news.await;
            }
        };
        let _ = tokio::time::timeout(at_most, settled).await;
    }

    /// The tokens that the schemas of all tools may cost in each request.
    pub fn max_schema_tokens(&self) -> usize {
        self.0.max_schema_tokens
    }

    /// What became of the servers since the last call, a line each.
    pub fn news(&self) -> Vec<String> {
        let mut lines = vec![];
        for server in self.all() {
            let (name, status) = (&server.name, server.status());
            let before = self.0.told.lock().unwrap().insert(name.clone(), status.clone());
            if before.as_ref() == Some(&status) {
                continue;
            }
            match status {
                Status::Failed(why) => lines.push(format!("MCP server {name}: {why}")),
                Status::Starting => lines.push(format!(
                    "MCP server {name} is still starting; its tools come with a later prompt"
                )),
                Status::Connected(_) => {
                    let faults = server.faults();
                    lines.extend(faults.iter().map(|fault| format!("MCP server {name}: {fault}")));
                }
            }
        }
        lines
    }

    /// Approves these changes of a server's tools, exactly as they were shown.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn approve(&self, server: &Server, changes: &[Change]) -> Result<(), String> {
        self.0.approvals.approve(&server.name, changes).map_err(|error| error.to_string())?;
        server.relist();
        Ok(())
    }

    /// Ends all connections and processes. Takes less than two seconds.
    pub async fn close(&self) {
        self.0.shutdown.cancel();
        let mut tasks = self.0.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }
}
