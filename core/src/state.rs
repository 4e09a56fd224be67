//! What a conversation knows beside its messages, and how that follows the messages.
//!
//! A [`Chat`](crate::Chat) owns its states, so whatever happens to the conversation happens to
//! them: a clone (a fork, the copy that undoes a withdrawn prompt) has its own, a new chat has
//! none, a saved one brings them back. What must *not* change with the text, such as running jobs,
//! is a [resource](crate::Context::resource) of the agent.
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{any::Any, borrow::Borrow, collections::BTreeMap};

/// One kind of state of a conversation. Its default must know nothing and be safe: a new
/// conversation begins with it, and it replaces a saved state that cannot be read any more.
pub trait State: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name in session files.
    const NAME: &'static str;

    /// Whether it describes what the model has before it, such as the files that it has read. Such
    /// a state returns to its default when text leaves the conversation (compaction).
    const OF_TEXT: bool = false;
}

/// All states of a conversation, as session files hold them.
pub type SavedStates = BTreeMap<String, SavedState>;

/// A state as it was at one moment. It is shared with the conversation, and becomes JSON when
/// somebody asks for that, once: most states are the same in the next moment.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub struct SavedState {
    state: Arc<dyn Saved>,
    json: Arc<OnceLock<Value>>,
}

/// The states of one conversation, by name. States are shared with snapshots, and copied only when
/// one of the two changes them.
#[derive(Default, Serialize, Deserialize)]
#[serde(from = "SavedStates", into = "SavedStates")]
pub(crate) struct States(Arc<Mutex<BTreeMap<String, Arc<dyn Saved>>>>);

/// What can be done with a state whose type is not known here: a [`State`], or one of a file that
/// nobody has asked for by its type yet.
trait Saved: Any + Send + Sync {
    fn to_json(&self) -> Value;
    fn is_of_text(&self) -> bool;
}

impl<T: State> Saved for T {
    fn to_json(&self) -> Value {
        let mut json = json!({"value": serde_json::to_value(self).unwrap_or_default()});
        if T::OF_TEXT {
            json["of_text"] = true.into();
        }
        json
    }

    fn is_of_text(&self) -> bool {
        T::OF_TEXT
    }
}

/// A state as its file holds it.
struct Unread(Value);

impl Saved for Unread {
    fn to_json(&self) -> Value {
        self.0.clone()
    }

    fn is_of_text(&self) -> bool {
        self.0["of_text"] == true
    }
}

fn typed<T: State>(state: Arc<dyn Saved>) -> Arc<T> {
    let state: Arc<dyn Any + Send + Sync> = state;
    if let Some(Unread(saved)) = state.downcast_ref() {
        return Arc::new(T::deserialize(&saved["value"]).unwrap_or_default());
    }
    match state.downcast() {
        Ok(state) => state,
        Err(_) => panic!("two types of state are named {:?}", T::NAME),
    }
}

impl Borrow<Value> for SavedState {
    /// The state as session files hold it.
    fn borrow(&self) -> &Value {
        self.json()
    }
}

impl SavedState {
    fn json(&self) -> &Value {
        self.json.get_or_init(|| self.state.to_json())
    }
}

impl From<Value> for SavedState {
    fn from(saved: Value) -> Self {
        (Arc::new(Unread(saved)) as Arc<dyn Saved>).into()
    }
}

impl From<Arc<dyn Saved>> for SavedState {
    fn from(state: Arc<dyn Saved>) -> Self {
        SavedState { state, json: Arc::default() }
    }
}

impl From<SavedState> for Value {
    fn from(saved: SavedState) -> Self {
        saved.json().clone()
    }
}

impl PartialEq for SavedState {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state) || self.json() == other.json()
    }
}

impl std::fmt::Debug for SavedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.json().fmt(f)
    }
}

impl Clone for States {
    /// A snapshot with a life of its own.
    fn clone(&self) -> Self {
        States(Arc::new(Mutex::new(self.by_name().clone())))
    }
}

impl std::fmt::Debug for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.save().fmt(f)
    }
}

impl From<States> for SavedStates {
    fn from(states: States) -> Self {
        states.save()
    }
}

impl From<SavedStates> for States {
    fn from(saved: SavedStates) -> Self {
        let states = saved.into_iter().map(|(name, saved)| (name, saved.state));
        States(Arc::new(Mutex::new(states.collect())))
    }
}

impl States {
    pub(crate) fn save(&self) -> SavedStates {
        let states = self.by_name();
        states.iter().map(|(name, state)| (name.clone(), state.clone().into())).collect()
    }

    /// The same states, for tools, which must reach what the chat owns.
    pub(crate) fn handle(&self) -> States {
        States(self.0.clone())
    }

    fn by_name(&self) -> MutexGuard<'_, BTreeMap<String, Arc<dyn Saved>>> {
        // A change that panicked has taken its own state with it, so nothing half done is left.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get<T: State>(&self) -> Arc<T> {
        self.change(|state: &mut Arc<T>| state.clone())
    }

    pub(crate) fn update<T: State, R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        self.change(|state| change(Arc::make_mut(state)))
    }

    fn change<T: State, R>(&self, change: impl FnOnce(&mut Arc<T>) -> R) -> R {
        let mut states = self.by_name();
        let mut state = states.remove(T::NAME).map(typed::<T>).unwrap_or_default();
        let result = change(&mut state);
        states.insert(T::NAME.into(), state);
        result
    }

    /// Returns the states that describe the text to their defaults.
    pub(crate) fn forget_text(&self) {
        self.by_name().retain(|_, state| !state.is_of_text());
    }
}
