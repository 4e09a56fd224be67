//! Children, and what lives as long as an agent: its resources and its exit functions.
use crate::Agent;
use crate::turn::{Scope, TypeMap};
use futures_util::future::{BoxFuture, join_all};
use std::sync::{Arc, Mutex};
use std::{collections::HashSet, time::Duration};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long all functions of [`Agent::on_exit`] may take, which run concurrently.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

type ExitFn = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// What an agent has beside its conversation. It is dropped with the last clone of the agent, which
/// also ends whatever lives as long.
pub(crate) struct Resources {
    pub map: Mutex<TypeMap>,
    _shutdown: DropGuard,
}

/// What an agent shares with all its children.
#[derive(Default)]
pub(crate) struct Family {
    names: Mutex<HashSet<String>>,
    exits: Mutex<Vec<(String, Duration, ExitFn)>>,
}

impl Resources {
    pub(crate) fn new(shutdown: &CancellationToken) -> Arc<Self> {
        Arc::new(Resources { map: Mutex::default(), _shutdown: shutdown.clone().drop_guard() })
    }
}

impl Family {
    fn unique(&self, name: &str) -> Arc<str> {
        let mut names = self.names.lock().unwrap();
        let (mut unique, mut number) = (name.to_string(), 1);
        // A numbered name may be the plain name of another child.
        while !names.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}-{number}");
        }
        unique.into()
    }
}

impl Agent {
    /// An agent for a conversation of its own, within this turn: a subagent. It has the same model
    /// and tools but those named in `without`, the layers that [`follow`](crate::Layer::follows),
    /// and a unique name (`main/explorer-2`). It stops when the turn does. No [value](Agent::with)
    /// reaches it by itself: what was allowed for one call is not allowed for all that it leads to.
    pub fn child(&self, name: &str, without: &[&str]) -> Self {
        let mut child = self.clone();
        child.name = self.family.unique(&format!("{}/{name}", self.name));
        child.live_until(self.scope.cancel.child_token());
        Arc::make_mut(&mut child.without).extend(without.iter().map(|name| name.to_string()));
        let cx = child.context();
        let parts = child.parts_mut();
        parts.tools.retain(|tool| !without.contains(&tool.spec().name.as_str()));
        parts.layers.retain(|layer| layer.follows(&cx));
        parts.commands.clear();
        child
    }

    /// A [`child`](Agent::child) that lives as long as this agent, past the turn: a teammate, work
    /// in the background.
    pub fn lasting_child(&self, name: &str, without: &[&str]) -> Self {
        let mut child = self.child(name, without);
        child.live_until(self.shutdown.child_token());
        child
    }

    fn live_until(&mut self, shutdown: CancellationToken) {
        self.scope = Scope { cancel: shutdown.clone(), ..Scope::default() };
        self.resources = Resources::new(&shutdown);
        self.shutdown = shutdown;
    }

    /// Adds a function that runs on every way out of the program, concurrently with the others, for
    /// at most `timeout`, and never longer than five seconds. Steps that must follow each other
    /// belong in one function.
    pub fn on_exit<F, Fut>(self, what: &str, timeout: Duration, run: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let exit: ExitFn = Box::new(move || Box::pin(run()));
        self.family.exits.lock().unwrap().push((what.into(), timeout.min(EXIT_TIMEOUT), exit));
        self
    }

    /// Runs the functions of [`on_exit`](Agent::on_exit), once, and ends whatever lives as long as
    /// the agent. Returns a line for each function that failed or took too long.
    pub async fn exit(&self) -> Vec<String> {
        let exits = std::mem::take(&mut *self.family.exits.lock().unwrap());
        let running = exits.into_iter().map(|(what, timeout, run)| async move {
            // A task of its own: one that panics or blocks its thread must not stop the others.
            match tokio::time::timeout(timeout, tokio::spawn(run())).await {
                Ok(Ok(())) => None,
                Ok(Err(_)) => Some(format!("{what} failed")),
                Err(_) => Some(format!("{what} did not end within {} ms", timeout.as_millis())),
            }
        });
        let failures = join_all(running).await;
        self.shutdown.cancel();
        failures.into_iter().flatten().collect()
    }
}
