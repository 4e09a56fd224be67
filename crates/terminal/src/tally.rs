//! What the requests of a turn took.
use crate::Screen;
use rungs_core::{Context, Layer, NextSend, Reply, Request, Result, client::Usage};
use std::time::Duration;

/// Counts the requests of an agent and its children, those beside the conversation too, which are
/// shown to nobody.
pub(crate) struct Meter(pub Screen);

impl Layer for Meter {
    async fn send(&self, request: Request, cx: &Context, next: NextSend<'_>) -> Result<Reply> {
        let reply = next.run(request, cx).await?;
        self.0.count(&reply.usage);
        Ok(reply)
    }
}

/// The requests of all agents, until they are shown.
#[derive(Default)]
pub(crate) struct Tally {
    pub requests: usize,
    prompt_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
    /// In dollars.
    cost: f64,
    /// Whether the cost of each request is known.
    has_cost: bool,
}

impl Tally {
    pub(crate) fn add(&mut self, usage: &Usage, cost: Option<f64>) {
        self.has_cost = cost.is_some() && (self.has_cost || self.requests == 0);
        self.requests += 1;
        self.prompt_tokens += usage.prompt_tokens();
        self.cached_tokens += usage.cache_read_input_tokens;
        self.output_tokens += usage.output_tokens;
        self.cost += cost.unwrap_or_default();
    }

    /// Such as `3 requests, 4.1k tokens in (3.0k cached), 210 out, 2.4s, $0.0123`.
    pub(crate) fn line(&self, time: Duration) -> String {
        let requests = if self.requests == 1 { "request" } else { "requests" };
        let mut line = format!("{} {requests}, ", self.requests);
        line += &match (self.prompt_tokens + self.output_tokens, self.cached_tokens) {
            (0, _) => "tokens not told".to_string(),
            (_, 0) => format!("{} tokens in", short(self.prompt_tokens)),
            (_, cached) => {
                format!("{} tokens in ({} cached)", short(self.prompt_tokens), short(cached))
            }
        };
        if self.prompt_tokens + self.output_tokens > 0 {
            line += &format!(", {} out", short(self.output_tokens));
        }
        line += &format!(", {:.1}s", time.as_secs_f64());
        if self.has_cost {
            line += &format!(", ${:.4}", self.cost);
        }
        line
    }
}

/// A number of tokens in a few characters.
fn short(tokens: u64) -> String {
    match tokens {
        0..1000 => tokens.to_string(),
        1000..100_000 => format!("{}.{}k", tokens / 1000, tokens % 1000 / 100),
        100_000..1_000_000 => format!("{}k", tokens / 1000),
        _ => format!("{}.{}M", tokens / 1_000_000, tokens % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input_tokens: u64, output_tokens: u64, cache_read_input_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, cache_read_input_tokens, ..Usage::default() }
    }

    #[test]
    fn a_tally_is_one_line() {
        let (mut tally, time) = (Tally::default(), Duration::from_millis(1234));
        tally.add(&usage(0, 0, 0), None);
        assert_eq!(tally.line(time), "1 request, tokens not told, 1.2s");
        tally.add(&usage(900, 99, 0), Some(1.0));
        assert_eq!(tally.line(time), "2 requests, 900 tokens in, 99 out, 1.2s");
        let mut tally = Tally::default();
        tally.add(&usage(50, 2_300_000, 1_050), Some(0.01));
        tally.add(&usage(0, 0, 0), Some(0.0023));
        let line = "2 requests, 1.1k tokens in (1.0k cached), 2.3M out, 1.2s, $0.0123";
        assert_eq!(tally.line(time), line);
        tally.add(&usage(250_000, 0, 0), None);
        assert_eq!(tally.line(time), "3 requests, 251k tokens in (1.0k cached), 2.3M out, 1.2s");
    }
}
