//! The agent of `full`, as far as it can be made in a folder without a person and without files of
//! `config`: for the capstone.
use durable::Folder;
use lessons::{
    full::{Config, ORDER, full},
    models::Models,
    rule_files::StoredRules,
    s05_skill_loading::Skills,
    s15_permissions::Permissions,
    s16_event_bus::{EventHooks, Observers},
    s17_session_management::SessionLog,
    s20_cache_optimization::{Lifetimes, PromptCache},
    s22_production_mailbox::Membership,
};
use rungs_core::{Agent, client::Lifetime};
use rungs_hooks::{Form, Hooks};
use rungs_mcp::{Approvals, Servers};
use rungs_process::Environment;
use rungs_snapshots::{Limits, Store};
use rungs_telemetry::{Destinations, EventsConfig, Statistics};
use std::{fs, path::Path, sync::Arc};

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
    let folder = agent.context().cwd().to_path_buf();
    let config = config(&agent, &folder, state, rules).await;
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

async fn config(agent: &Agent, folder: &Path, state: &Path, rules: &str) -> Config {
    let state = Folder::open(state, "state").unwrap();
    let file = state.path().join("rules.yaml");
    fs::write(&file, rules).unwrap();
    let stored = StoredRules::new(state.folder("stored").unwrap(), folder);
    let permissions = Permissions::load(&file, folder, stored).unwrap();
    permissions.set_mode("acceptEdits").unwrap();
    let events = state.path().join("events.yaml");
    fs::write(&events, "log: false\nslow_tool_seconds: 60\nwebhooks: []\n").unwrap();
    let events = EventsConfig::read(&events).unwrap();
    let nowhere = || Err(std::io::Error::other("no log"));
    let destinations = Destinations::open(&events, nowhere, |_| None, |_| {}).unwrap();
    let statistics = Statistics::default();
    let observers = Arc::new(Observers { config: events, destinations, statistics });
    let hooks = Hooks::parse(Path::new("none"), "{\"hooks\": {}}", Form::Settings).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/models.yaml");
    let [prefix, conversation] = [Lifetime::FiveMinutes; 2];
    Config {
        trees: Folder::open(state.path(), "trees").unwrap(),
        window: 200_000,
        skills: Skills::default(),
        membership: Membership::in_files(&state).await.unwrap(),
        snapshots: Store::open(&state, Limits::default()).unwrap(),
        permissions,
        hooks: EventHooks::new(hooks, agent, &state, observers).await,
        screen: Box::new(|_| {}),
        log: SessionLog::open(&state, vec![]).unwrap(),
        max_calls: 10,
        cache: PromptCache::new(
            Some(Lifetimes { prefix, conversation }),
            Models::load(&models).unwrap(),
            "rehearsal",
        ),
        servers: Servers::start(
            rungs_mcp::Config::default(),
            Approvals::open(state.folder("mcp").unwrap()).unwrap(),
            state.clone(),
            folder,
            &Environment::default(),
        ),
        state,
    }
}
