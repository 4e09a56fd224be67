//! The one conversation that an agent holds at a time.
use crate::{Conversation, Now, Result, Session, Tree};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{borrow::Borrow, sync::Mutex};

/// The file of the conversation that an agent holds, once there is one.
#[derive(Debug)]
pub struct Current<M, S> {
    id: Mutex<String>,
    open: Mutex<Option<Conversation<M, S>>>,
    /// What the conversation of this id has become, as long as its file does not say so.
    next: Mutex<Option<(String, Now<M, S>)>>,
}

impl<M, S> Default for Current<M, S> {
    fn default() -> Self {
        Current { id: Mutex::default(), open: Mutex::default(), next: Mutex::default() }
    }
}

impl<M, S> Current<M, S>
where
    M: Serialize + DeserializeOwned + PartialEq,
    S: Borrow<Value> + From<Value> + Clone,
{
    /// The id of the conversation that was held last.
    pub fn id(&self) -> String {
        self.id.lock().unwrap().clone()
    }

    /// What the conversation of this id has become, in place of what was set before. Whatever is
    /// done with it next writes this first. So nobody has to wait for its writing, and a writer who
    /// comes late writes nothing that is out of date.
    pub fn set_next(&self, id: &str, now: Now<M, S>) {
        *self.next.lock().unwrap() = Some((id.into(), now));
    }

    /// Writes what was [set](Current::set_next), unless something else has done so by now.
    ///
    /// # Errors
    /// As for [`with`](Current::with).
    pub fn write_next(&self, open: impl FnOnce(&str) -> Result<(Session, Tree)>) -> Result<()> {
        let mut current = self.open.lock().unwrap();
        let id = self.next.lock().unwrap().as_ref().map(|(id, _)| id.clone());
        let Some(id) = id else { return Ok(()) };
        self.run(&mut current, &id, || open(&id), |_| Ok(()))
    }

    /// Runs `work` on the conversation of this id. It is opened if another one is, and opened again
    /// if `work` fails: others may have changed or removed its file, which then gets what it lacks.
    ///
    /// # Errors
    /// Those of `open`, of `work`, and of writing what was [set](Current::set_next).
    pub fn with<R>(
        &self,
        id: &str,
        open: impl FnOnce() -> Result<(Session, Tree)>,
        work: impl Fn(&mut Conversation<M, S>) -> Result<R>,
    ) -> Result<R> {
        self.run(&mut self.open.lock().unwrap(), id, open, work)
    }

    fn run<R>(
        &self,
        current: &mut Option<Conversation<M, S>>,
        id: &str,
        open: impl FnOnce() -> Result<(Session, Tree)>,
        work: impl Fn(&mut Conversation<M, S>) -> Result<R>,
    ) -> Result<R> {
        let next = self.next.lock().unwrap().take().filter(|(of, _)| of == id);
        let work = |conversation: &mut Conversation<M, S>| {
            if let Some((_, now)) = &next {
                conversation.write(now)?;
            }
            work(conversation)
        };
        if let Some(known) = current.as_mut().filter(|known| known.id() == id) {
            if let Ok(done) = work(known) {
                return Ok(done);
            }
            // Its lock must be free to open it again.
            *current = None;
        }
        let done = open().and_then(|opened| {
            let opened = current.insert(Conversation::new(opened));
            *self.id.lock().unwrap() = id.into();
            work(opened)
        });
        if let (Err(_), Some(next)) = (&done, next) {
            self.next.lock().unwrap().get_or_insert(next);
        }
        done
    }
}
