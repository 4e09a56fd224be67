//! What a conversation knows beside its messages, and how that follows the messages.
//!
//! A [`Chat`](crate::Chat) owns its states, so whatever happens to the conversation happens to
//! them: a clone (a fork, the copy that undoes a withdrawn prompt) has its own, a new chat has
//! none, a saved one brings them back. What must *not* change with the text, such as running jobs,
//! is a [resource](crate::Context::resource) of the agent.
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One kind of state of a conversation. Its default must know nothing and be safe: a new
/// conversation begins with it, and it replaces a saved state that cannot be read any more.
pub trait State: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name in session files.
    const NAME: &'static str;

    /// Whether it describes what the model has before it, such as the files that it has read. Such
    /// a state returns to its default when text leaves the conversation (compaction).
    const OF_TEXT: bool = false;
}

/// The states of one conversation, by name. It is a handle, since tools must reach what the chat
/// owns.
#[derive(Clone, Default)]
pub(crate) struct States(Arc<Mutex<BTreeMap<String, Slot>>>);

/// All states of a conversation, as session files hold them.
pub type SavedStates = BTreeMap<String, SavedState>;

/// A state as session files hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedState {
    value: Value,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    of_text: bool,
}

#[derive(Clone)]
enum Slot {
    /// Read from a file; nobody has asked for it by its type yet.
    Saved(SavedState),
    /// Shared with snapshots, and copied only when it is changed.
    Live(Arc<dyn Live>),
}

/// What can be done with a state whose type is not known here.
trait Live: Any + Send + Sync {
    fn save(&self) -> SavedState;
    fn is_of_text(&self) -> bool;
}

impl<T: State> Live for T {
    fn save(&self) -> SavedState {
        let value = serde_json::to_value(self).unwrap_or_default();
        SavedState { value, of_text: T::OF_TEXT }
    }

    fn is_of_text(&self) -> bool {
        T::OF_TEXT
    }
}

impl Slot {
    fn typed<T: State>(self) -> Arc<T> {
        match self {
            Slot::Saved(saved) => Arc::new(serde_json::from_value(saved.value).unwrap_or_default()),
            Slot::Live(live) => {
                let any: Arc<dyn Any + Send + Sync> = live;
                match any.downcast() {
                    Ok(state) => state,
                    Err(_) => panic!("two types of state are named {:?}", T::NAME),
                }
            }
        }
    }

    fn save(&self) -> SavedState {
        match self {
            Slot::Saved(saved) => saved.clone(),
            Slot::Live(live) => live.save(),
        }
    }

    fn is_of_text(&self) -> bool {
        match self {
            Slot::Saved(saved) => saved.of_text,
            Slot::Live(live) => live.is_of_text(),
        }
    }
}

impl States {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
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
        let mut slots = self.slots();
        let mut state = match slots.remove(T::NAME) {
            Some(slot) => slot.typed::<T>(),
            None => Arc::default(),
        };
        let result = change(&mut state);
        slots.insert(T::NAME.into(), Slot::Live(state));
        result
    }

    /// A copy with a life of its own. Pointers are copied now, and a state when one of the two
    /// changes it.
    pub(crate) fn snapshot(&self) -> States {
        States(Arc::new(Mutex::new(self.slots().clone())))
    }

    /// Returns the states that describe the text to their defaults.
    pub(crate) fn forget_text(&self) {
        self.slots().retain(|_, slot| !slot.is_of_text());
    }

    pub(crate) fn save(&self) -> SavedStates {
        self.slots().iter().map(|(name, slot)| (name.clone(), slot.save())).collect()
    }

    pub(crate) fn load(saved: SavedStates) -> States {
        let slots = saved.into_iter().map(|(name, saved)| (name, Slot::Saved(saved)));
        States(Arc::new(Mutex::new(slots.collect())))
    }
}
