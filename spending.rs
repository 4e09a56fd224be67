//! What requests took, in tokens and in money, and what the prompt cache saved of it.
use crate::models::ModelInfo;
use rungs_core::client::Usage;

/// What reading a token costs, in prices of a token that is not cached, where that is not known.
const UNKNOWN_READ_PRICE: f64 = 0.1;

/// What requests took, and what the prompt cache has saved of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spending {
    /// How many there were.
    pub requests: u64,
    /// Their tokens, by kind; the written ones are not told apart by lifetime.
    pub usage: Usage,
    /// What reading from the cache saved, in tokens at the full price.
    pub saved_tokens: f64,
    /// In dollars, of the requests whose price is known.
    pub cost: f64,
    /// What these would have cost without a cache.
    pub uncached_cost: f64,
    /// How many these are.
    pub priced_requests: u64,
    /// The shortest prefix that the model caches, if the newest prompt was shorter than that.
    pub missed_minimum: Option<u32>,
}

impl Spending {
    /// Adds one request to a model of which this is known.
    pub fn add(&mut self, usage: &Usage, info: Option<&ModelInfo>) {
        self.requests += 1;
        self.usage.input_tokens += usage.input_tokens;
        self.usage.output_tokens += usage.output_tokens;
        self.usage.cache_creation_input_tokens += usage.cache_creation_input_tokens;
        self.usage.cache_read_input_tokens += usage.cache_read_input_tokens;
        let prompt = usage.prompt_tokens();
        let minimum = info.and_then(|info| info.cache_minimum);
        self.missed_minimum = minimum.filter(|least| (1..u64::from(*least)).contains(&prompt));
        let read_price = info.and_then(|info| {
            let price = info.price(prompt).filter(|price| price.input > 0.0)?;
            Some(price.cache_read? / price.input)
        });
        let saved = 1.0 - read_price.unwrap_or(UNKNOWN_READ_PRICE);
        self.saved_tokens += usage.cache_read_input_tokens as f64 * saved;
        let (input_tokens, output_tokens) = (prompt, usage.output_tokens);
        let uncached = Usage { input_tokens, output_tokens, ..Usage::default() };
        if let Some(info) = info
            && let (Some(cost), Some(uncached)) = (info.cost(usage), info.cost(&uncached))
        {
            self.cost += cost;
            self.uncached_cost += uncached;
            self.priced_requests += 1;
        }
    }

    /// How much of the input was read from the cache, in percent.
    pub fn percent_read(&self) -> f64 {
        100.0 * self.usage.cache_read_input_tokens as f64 / self.usage.prompt_tokens().max(1) as f64
    }

    /// One turn in one line; nothing if the server does not say what it took. The tokens saved are
    /// those that were read, less their price; of the dollars, what writing costs is taken off.
    pub fn line(&self) -> Option<String> {
        let Usage { input_tokens: full, cache_read_input_tokens: read, .. } = self.usage;
        let written = self.usage.cache_creation_input_tokens;
        let saved = self.uncached_cost - self.cost;
        let has_price = self.priced_requests > 0;
        let mut line = if read > 0 {
            let sign = if saved < 0.0 { "-" } else { "" };
            let dollars = format!(", {sign}${:.4}", saved.abs());
            let dollars = if has_price { &dollars } else { "" };
            let tokens = grouped(self.saved_tokens.round() as u64);
            format!("HIT → {} tokens read (saved ~{tokens}{dollars})", grouped(read))
        } else if written > 0 {
            let more = format!(" (${:.4} more than in full)", -saved);
            let more = if has_price { &more } else { "" };
            format!("MISS → {} tokens written{more}", grouped(written))
        } else if full > 0 {
            format!("MISS → {} tokens in full", grouped(full))
        } else {
            return None;
        };
        if read > 0 && written > 0 {
            line += &format!(", {} written", grouped(written));
        }
        if read + written > 0 && full > 0 {
            line += &format!(", {} in full", grouped(full));
        }
        if let Some(least) = self.missed_minimum {
            line += &format!(" (fewer than the {least} that this model caches)");
        }
        if self.requests > 1 {
            line += &format!(", in {} requests", self.requests);
        }
        Some(format!("[cache] {line}"))
    }

    /// All of it in two lines or three, at the prices of `model`.
    pub fn summary(&self, model: &str) -> String {
        let Spending { requests, usage, cost, uncached_cost, priced_requests, .. } = *self;
        if requests == 0 {
            return "[cache] nothing was sent yet".into();
        }
        let noun = if requests == 1 { "request" } else { "requests" };
        let mut text = format!(
            "[cache] {requests} {noun}, {} tokens in: {:.1} % read from the cache, {} written, \
             {} in full",
            grouped(usage.prompt_tokens()),
            self.percent_read(),
            grouped(usage.cache_creation_input_tokens),
            grouped(usage.input_tokens),
        );
        if priced_requests > 0 {
            let percent = 100.0 * (1.0 - cost / uncached_cost);
            let effect = if percent < 0.0 { "more" } else { "saved" };
            let percent = percent.abs();
            text += &format!(
                "\n[cache] ${cost:.4} at the prices of {model}, replies included; without a cache \
                 ${uncached_cost:.4} ({percent:.0} % {effect})"
            );
        }
        if priced_requests < requests {
            text += &format!("\n[cache] no price is known for {}", requests - priced_requests);
        }
        text
    }
}

/// A number with a comma before each three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::models;

    #[test]
    fn a_turn_is_one_line() {
        let usage = |read, written, input| Usage {
            cache_read_input_tokens: read,
            cache_creation_input_tokens: written,
            input_tokens: input,
            ..Usage::default()
        };
        let (models, mut spent) = (models(), Spending::default());
        let line = |usages: &[Usage], model: &str| {
            let mut spent = Spending::default();
            usages.iter().for_each(|usage| spent.add(usage, models.get(model)));
            spent.line().unwrap_or_default()
        };
        spent.add(&usage(0, 0, 0), None);
        assert_eq!(spent.line(), None);
        let (miss, hit) = (usage(0, 1847, 0), usage(1847, 0, 0));
        assert_eq!(line(&[miss], "unknown"), "[cache] MISS → 1,847 tokens written");
        let dearer = "[cache] MISS → 1,847 tokens written ($0.0046 more than in full)";
        assert_eq!(line(&[miss], "a"), dearer);
        assert_eq!(line(&[hit], "unknown"), "[cache] HIT → 1,847 tokens read (saved ~1,662)");
        let money = "[cache] HIT → 1,847 tokens read (saved ~1,662, $0.0166)";
        assert_eq!(line(&[hit], "a"), money);
        // Writing costs more than it saves, if nothing reads it.
        let both = "[cache] HIT → 10,000 tokens read (saved ~9,000, -$2.4100), 1,000,000 written, \
                    7 in full, in 2 requests";
        assert_eq!(line(&[usage(10_000, 0, 7), usage(0, 1_000_000, 0)], "a"), both);
        assert_eq!(line(&[usage(0, 0, 1500)], "a"), "[cache] MISS → 1,500 tokens in full");
        let short = "[cache] MISS → 500 tokens in full (fewer than the 512 that this model caches)";
        assert_eq!(line(&[usage(0, 0, 500)], "a"), short);
    }

    #[test]
    fn the_summary_says_what_the_cache_has_saved() {
        let mut spent = Spending::default();
        assert_eq!(spent.summary("a"), "[cache] nothing was sent yet");
        let models = models();
        let usage = Usage {
            cache_read_input_tokens: 90_000,
            cache_creation_input_tokens: 8_000,
            input_tokens: 2_000,
            ..Usage::default()
        };
        let written = Usage { cache_creation_input_tokens: 1000, ..Usage::default() };
        let mut dearer = Spending::default();
        dearer.add(&written, models.get("a"));
        let expected = "[cache] 1 request, 1,000 tokens in: 0.0 % read from the cache, 1,000 \
                        written, 0 in full\n\
                        [cache] $0.0125 at the prices of a, replies included; without a cache \
                        $0.0100 (25 % more)";
        assert_eq!(dearer.summary("a"), expected);
        spent.add(&usage, models.get("a"));
        spent.add(&usage, None);
        let expected = "[cache] 2 requests, 200,000 tokens in: 90.0 % read from the cache, 16,000 \
                        written, 4,000 in full\n\
                        [cache] $0.2100 at the prices of a, replies included; without a cache \
                        $1.0000 (79 % saved)\n\
                        [cache] no price is known for 1";
        assert_eq!(spent.summary("a"), expected);
    }

    #[test]
    fn numbers_are_grouped() {
        let grouped: Vec<String> = [0, 999, 1000, 12_345, 1_000_000].map(grouped).into();
        assert_eq!(grouped, ["0", "999", "1,000", "12,345", "1,000,000"]);
    }
}
