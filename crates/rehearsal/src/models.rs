//! The models whose rules the rehearsal knows.

/// What depends on the model.
pub(crate) struct Model {
    pub(crate) id: &'static str,
    /// The shortest prefix that is cached, in tokens.
    pub(crate) least_prefix: u64,
    /// Whether `system` messages may stand within the conversation.
    pub(crate) system_messages: bool,
    pub(crate) max_input_tokens: u64,
    pub(crate) max_tokens: u64,
}

const fn model(id: &'static str, least_prefix: u64, system_messages: bool) -> Model {
    Model { id, least_prefix, system_messages, max_input_tokens: 1_000_000, max_tokens: 128_000 }
}

const fn older(id: &'static str, least_prefix: u64) -> Model {
    Model {
        id,
        least_prefix,
        system_messages: false,
        max_input_tokens: 200_000,
        max_tokens: 64_000,
    }
}

/// `rehearsal` is the name to use when nothing depends on the model.
pub(crate) const MODELS: [Model; 16] = [
    model("rehearsal", 512, true),
    model("claude-fable-5-2", 512, true),
    model("claude-fable-5-1", 512, true),
    model("claude-fable-5", 512, true),
    model("claude-opus-5-5", 512, true),
    model("claude-sonnet-5-5", 512, true),
    model("claude-haiku-5-5", 512, false),
    model("claude-opus-5", 512, true),
    model("claude-opus-4-8", 1024, true),
    model("claude-opus-4-7", 2048, false),
    model("claude-opus-4-6", 4096, false),
    older("claude-opus-4-5", 4096),
    model("claude-sonnet-5", 1024, false),
    model("claude-sonnet-4-6", 1024, false),
    older("claude-sonnet-4-5", 1024),
    older("claude-haiku-4-5", 4096),
];

/// A model by its name, or by a dated name of it.
pub(crate) fn find(name: &str) -> Option<&'static Model> {
    let dated = |model: &&Model| {
        let rest = name.strip_prefix(model.id);
        rest.is_some_and(|rest| {
            rest.is_empty()
                || rest
                    .strip_prefix('-')
                    .is_some_and(|date| date.len() == 8 && date.parse::<u32>().is_ok())
        })
    };
    MODELS.iter().find(dated)
}

pub(crate) fn least_prefix(name: &str) -> u64 {
    find(name).map_or(1024, |model| model.least_prefix)
}
