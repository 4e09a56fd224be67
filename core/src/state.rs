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

/// The states of one conversation. They are shared with snapshots, and copied only when one of the
/// two changes them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(from = "SavedStates", into = "SavedStates")]
pub(crate) struct States(Arc<Mutex<SavedStates>>);

/// What can be done with a state whose type is not known here: a [`State`], or the JSON of one that
/// nobody has asked for by its type yet.
trait Saved: Any + Send + Sync {
    fn to_json(&self) -> Value;
    fn is_of_text(&self) -> bool;
}

impl<T: State> Saved for T {
    fn to_json(&self) -> Value {
        let value = serde_json::to_value(self).unwrap_or_default();
        if T::OF_TEXT { json!({"value": value, "of_text": true}) } else { json!({"value": value}) }
    }

    fn is_of_text(&self) -> bool {
        T::OF_TEXT
    }
}

impl Saved for Value {
    fn to_json(&self) -> Value {
        self.clone()
    }

    fn is_of_text(&self) -> bool {
        self["of_text"] == true
    }
}

impl SavedState {
    fn of(state: Arc<dyn Saved>) -> Self {
        SavedState { state, json: Arc::default() }
    }

    fn json(&self) -> &Value {
        self.json.get_or_init(|| self.state.to_json())
    }

    fn default_of<T: State>() -> Self {
        SavedState::of(Arc::<T>::default())
    }

    /// From now on it is of this type.
    fn typed<T: State>(&mut self) -> Arc<T> {
        if let Some(saved) = (&*self.state as &dyn Any).downcast_ref::<Value>() {
            *self = SavedState::of(Arc::new(T::deserialize(&saved["value"]).unwrap_or_default()));
        }
        match (self.state.clone() as Arc<dyn Any + Send + Sync>).downcast() {
            Ok(state) => state,
            Err(_) => panic!("two types of state are named {:?}", T::NAME),
        }
    }
}

impl Borrow<Value> for SavedState {
    fn borrow(&self) -> &Value {
        self.json()
    }
}

impl From<Value> for SavedState {
    fn from(json: Value) -> Self {
        SavedState::of(Arc::new(json))
    }
}

impl From<SavedState> for Value {
    fn from(saved: SavedState) -> Self {
        saved.json().clone()
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
        self.save().into()
    }
}

impl From<States> for SavedStates {
    fn from(states: States) -> Self {
        states.save()
    }
}

impl From<SavedStates> for States {
    fn from(saved: SavedStates) -> Self {
        States(Arc::new(Mutex::new(saved)))
    }
}

impl States {
    pub(crate) fn save(&self) -> SavedStates {
        self.by_name().clone()
    }

    /// The same states, for tools, which must reach what the chat owns.
    pub(crate) fn handle(&self) -> States {
        States(self.0.clone())
    }

    fn by_name(&self) -> MutexGuard<'_, SavedStates> {
        // A change that panicked has taken its own state with it, so nothing half done is left.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get<T: State>(&self) -> Arc<T> {
        let mut states = self.by_name();
        states.entry(T::NAME.into()).or_insert_with(SavedState::default_of::<T>).typed()
    }

    pub(crate) fn update<T: State, R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut states = self.by_name();
        let mut saved = states.remove(T::NAME).unwrap_or_else(SavedState::default_of::<T>);
        let mut state = saved.typed::<T>();
        drop(saved);
        let result = change(Arc::make_mut(&mut state));
        states.insert(T::NAME.into(), SavedState::of(state));
        result
    }

    /// Returns the states that describe the text to their defaults.
    pub(crate) fn forget_text(&self) {
        self.by_name().retain(|_, saved| !saved.state.is_of_text());
    }
}
