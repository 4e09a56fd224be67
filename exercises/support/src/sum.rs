//! The agent of `full`, as far as it can be made in a folder without a person and without files of
//! `config`: for the capstone.
use crate::support::full_config;
use durable::Folder;
use lessons::full::{ORDER, full};
use rungs_core::Agent;
use std::path::Path;

/// What a mechanism of one's own says about its layer.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The name of the layer, which is that of its type.
    pub layer: &'static str,
    /// The layer of [`ORDER`] that it stands outside of, as near to it as possible.
    pub outside_of: &'static str,
    /// Why.
    pub why: &'static str,
}

/// `full` before this agent's model and in its folder, with one mechanism more. Rules are those of
/// `rules`, in the form of `config/permissions.yaml`, in the mode `acceptEdits`; whatever they do
/// not allow is refused, since nobody is there to be asked. State is kept in `state`.
///
/// # Panics
/// When a file cannot be written, and when a place is wrong: the message says what would be right.
pub async fn with_mechanism(
    agent: Agent,
    state: &Path,
    rules: &str,
    install: impl FnOnce(Agent) -> Agent,
    place: Option<Place>,
) -> Agent {
    let state = Folder::open(state, "state").unwrap();
    let config = full_config(&agent, state, rules, "acceptEdits", "{\"hooks\": {}}").await;
    let agent = install(full(agent, config).unwrap());
    let mut order = ORDER.map(|(name, _)| name).to_vec();
    if let Some(place) = place {
        let Some(inner) = order.iter().position(|name| *name == place.outside_of) else {
            panic!("PLACE names {}, which is no layer of `full`: {order:?}", place.outside_of)
        };
        assert!(!place.why.trim().is_empty(), "PLACE must say why the layer stands there");
        order.insert(inner, place.layer);
    }
    match agent.arrange(order) {
        Ok(agent) => agent,
        Err(why) => panic!("{why}: PLACE must name the layer of your mechanism"),
    }
}
