//! What is known of each model: its window, its greatest output, its prices. From
//! `config/models.yaml`.
use rungs_core::{Error, Result, client::Usage};
use rungs_files::{parse_yaml, read_config};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// The window that an unknown model is taken to have, in tokens: the smallest among current models.
pub const UNKNOWN_CONTEXT: u32 = 200_000;

/// The table of models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// The day its figures were read.
    pub updated: String,
    /// Where they were read.
    pub source: String,
    models: BTreeMap<String, ModelInfo>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// Tokens of prompt and reply together.
    pub context: u32,
    /// Tokens of one reply.
    pub output: u32,
    /// The least prompt prefix that is cached, in tokens; absent where the vendor caches by itself.
    #[serde(default)]
    pub cache_minimum: Option<u32>,
    /// By size of the prompt, smallest band first.
    pub prices: Vec<Price>,
    /// Other names of the same model.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// Dollars per million tokens, for prompts up to a size.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The largest prompt of this band, in tokens; absent in the last band.
    #[serde(default)]
    pub up_to: Option<u64>,
    /// Prompt tokens that the cache does not know.
    pub input: f64,
    /// Tokens of the reply.
    pub output: f64,
    /// Prompt tokens read from the cache.
    #[serde(default)]
    pub cache_read: Option<f64>,
    /// Prompt tokens written to the cache, by lifetime (`5m`, `1h`, ...).
    #[serde(default)]
    pub cache_write: BTreeMap<String, f64>,
}

impl Models {
    /// Reads the table.
    ///
    /// # Errors
    /// [`Error::Config`] with file, line and reason.
    pub fn load(file: &Path) -> Result<Self> {
        read_config(file).and_then(|text| parse_yaml(file, &text)).map_err(Error::config)
    }

    /// What is known of this model. A proxy's `vendor/model` and a dated snapshot
    /// (`model-20260101`) are found by the plain name.
    pub fn get(&self, model: &str) -> Option<&ModelInfo> {
        let plain = model.rsplit('/').next().unwrap_or(model);
        let undated = plain
            .rsplit_once('-')
            .filter(|(_, d)| d.len() == 8 && d.bytes().all(|b| b.is_ascii_digit()));
        [Some(model), Some(plain), undated.map(|(name, _)| name)].into_iter().flatten().find_map(
            |name| {
                let by_alias =
                    || self.models.values().find(|info| info.aliases.iter().any(|a| a == name));
                self.models.get(name).or_else(by_alias)
            },
        )
    }
}

impl ModelInfo {
    /// What tokens cost when the prompt is this large.
    pub fn price(&self, prompt_tokens: u64) -> Option<&Price> {
        self.prices.iter().find(|p| p.up_to.is_none_or(|top| prompt_tokens <= top))
    }

    /// What a request cost, in dollars, where its price is known and not nothing.
    pub fn cost(&self, usage: &Usage) -> Option<f64> {
        let price = self.price(usage.prompt_tokens())?;
        let written = usage.cache_creation_input_tokens;
        let hour = usage.cache_creation.ephemeral_1h_input_tokens.min(written);
        let write = |lifetime: &str| *price.cache_write.get(lifetime).unwrap_or(&price.input);
        let parts = [
            (usage.input_tokens, price.input),
            (usage.output_tokens, price.output),
            (usage.cache_read_input_tokens, price.cache_read.unwrap_or(price.input)),
            (written - hour, write("5m")),
            (hour, write("1h")),
        ];
        let million: f64 = parts.iter().map(|(tokens, price)| *tokens as f64 * price).sum();
        (price.input + price.output > 0.0).then_some(million / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rungs_core::client::CacheCreation;

    #[test]
    fn a_request_costs_what_its_tokens_cost_by_kind_and_band() {
        let models = "{updated: '', source: '', models: {m: {context: 1, output: 1, prices: [\
            {up_to: 100, input: 1, output: 10, cache_read: 0.1, cache_write: {5m: 2, 1h: 4}}, \
            {input: 100, output: 1000}]}, free: {context: 1, output: 1, prices: [{input: 0, \
            output: 0}]}}}";
        let models: Models = serde_yaml::from_str(models).unwrap();
        let usage = |input_tokens| Usage {
            input_tokens,
            output_tokens: 7,
            cache_creation_input_tokens: 30,
            cache_read_input_tokens: 50,
            cache_creation: CacheCreation {
                ephemeral_5m_input_tokens: 20,
                ephemeral_1h_input_tokens: 10,
            },
        };
        let cost = |model: &str, input| models.get(model).unwrap().cost(&usage(input));
        let close = |cost: Option<f64>, micros: f64| (cost.unwrap() * 1e6 - micros).abs() < 1e-6;
        assert!(close(cost("m", 20), 20.0 + 70.0 + 5.0 + 40.0 + 40.0));
        assert!(close(cost("m", 21), 100.0 * (21.0 + 70.0 + 50.0 + 30.0)));
        assert_eq!(cost("free", 20), None);
    }
}
