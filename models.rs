//! What is known of each model: its window, its greatest output, its prices. From
//! `config/models.yaml`.
use rungs_core::{Error, Result};
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
}
