//! Prompt caching by the documented rules, and the usage that it leads to.
//!
//! Nothing is cached but hashes of prefixes, with the times at which their entries would expire.
//! The current time is a parameter, so that tests of lifetimes need not wait.
use crate::{
    conversation::{Conversation, kind},
    fingerprint::Fingerprint,
    models,
    reply::{Usage, tokens},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

const SHORT_LIFETIME: Duration = Duration::from_secs(5 * 60);
const LONG_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How many blocks a lookup walks back from a cache mark; the marked block counts.
const LOOK_BACK_BLOCKS: usize = 20;
/// When there are more entries, those that expire first are dropped.
const MAX_ENTRIES: usize = 20_000;
/// The shortest prefix that Chat Completions caches, in tokens.
const AUTOMATIC_MIN_TOKENS: u64 = 1024;
/// Longer prefixes are cached in steps of this many tokens.
const AUTOMATIC_STEP_TOKENS: u64 = 128;
const AUTOMATIC_STEP_BYTES: usize = AUTOMATIC_STEP_TOKENS as usize * 4;

/// The prefix of a prompt that ends with one of its blocks.
#[derive(Debug)]
struct Prefix {
    fingerprint: u64,
    tokens: u64,
    /// The lifetime that the block's cache mark asks for.
    mark: Option<Duration>,
}

/// A prompt as the cache sees it.
#[derive(Debug, Default)]
pub(crate) struct Prompt {
    /// One for each block, from the shortest to the longest.
    prefixes: Vec<Prefix>,
    /// Shorter prefixes are not cached, and nothing tells the client.
    min_tokens: u64,
    tokens: u64,
    /// Whether this is Chat Completions, where writing to the cache is not billed.
    automatic: bool,
}

/// The entries, by the fingerprints of their prefixes.
#[derive(Debug, Default)]
pub(crate) struct Cache(HashMap<u64, Entry>);

#[derive(Debug)]
struct Entry {
    lifetime: Duration,
    expires: Instant,
}

impl Prompt {
    /// The prompt of a Messages request: tools, system, messages. A change of the `settings`
    /// invalidates the messages; `automatic_mark` is the cache mark at the top of the request.
    pub(crate) fn of_messages(
        conversation: &Conversation,
        settings: &[&Value],
        automatic_mark: Option<&Value>,
    ) -> Self {
        let min_tokens = models::min_cached_tokens(&conversation.model);
        let mut prompt = Prompt { min_tokens, ..Prompt::default() };
        let mut fingerprint = Fingerprint::new(&conversation.model);
        let mut bytes = 0;
        let mut last_cacheable = None;
        let mut add = |fingerprint: &mut Fingerprint, block: &Value| {
            let text = without_marks(block);
            fingerprint.text(&text);
            bytes += text.len();
            if !matches!(kind(block), "thinking" | "redacted_thinking") {
                last_cacheable = Some(prompt.prefixes.len());
            }
            prompt.prefixes.push(Prefix {
                fingerprint: fingerprint.finish(),
                tokens: tokens(bytes),
                mark: mark(block),
            });
        };
        // Tools that are loaded later are not in the prompt.
        for tool in conversation.tools.iter().filter(|tool| tool["defer_loading"] != true) {
            add(&mut fingerprint, tool);
        }
        fingerprint.text("system");
        for block in &conversation.system {
            add(&mut fingerprint, block);
        }
        for setting in settings {
            fingerprint.value(setting);
        }
        for message in &conversation.messages {
            fingerprint.number(message.role as u64);
            for block in &message.blocks {
                add(&mut fingerprint, block);
            }
        }
        prompt.tokens = tokens(bytes);
        if let (Some(lifetime), Some(last)) = (automatic_mark.and_then(lifetime), last_cacheable) {
            prompt.prefixes[last].mark.get_or_insert(lifetime);
        }
        prompt
    }

    /// The prompt of a Chat Completions request, which is cached without marks, in steps of equal
    /// length.
    pub(crate) fn of_chat(model: &str, tools: &Value, messages: &Value) -> Self {
        let mut text = if tools.is_null() { String::new() } else { tools.to_string() };
        for message in messages.as_array().into_iter().flatten() {
            text.push_str(&message.to_string());
        }
        let mut prompt =
            Prompt { tokens: tokens(text.len()), automatic: true, ..Prompt::default() };
        let mut fingerprint = Fingerprint::new(model);
        for (index, step) in text.as_bytes().chunks_exact(AUTOMATIC_STEP_BYTES).enumerate() {
            fingerprint.bytes(step);
            let tokens = (index as u64 + 1) * AUTOMATIC_STEP_TOKENS;
            if tokens >= AUTOMATIC_MIN_TOKENS {
                prompt.prefixes.push(Prefix {
                    fingerprint: fingerprint.finish(),
                    tokens,
                    mark: Some(SHORT_LIFETIME),
                });
            }
        }
        prompt
    }

    /// All tokens of the prompt.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The marked prefixes, each with its index and lifetime.
    fn marked(&self) -> impl DoubleEndedIterator<Item = (usize, &Prefix, Duration)> {
        let prefixes = self.prefixes.iter().enumerate();
        prefixes.filter_map(|(index, prefix)| Some((index, prefix, prefix.mark?)))
    }
}

impl Cache {
    /// What a request that arrives now reads and writes. It changes nothing: a request that gets an
    /// error writes no entries.
    pub(crate) fn usage(&self, prompt: &Prompt, now: Instant) -> Usage {
        let cache_read = match self.longest_hit(prompt, now) {
            Some(index) => prompt.prefixes[index].tokens,
            None => 0,
        };
        let mut usage = Usage { cache_read, ..Usage::default() };
        if prompt.automatic {
            usage.input = prompt.tokens - cache_read;
            return usage;
        }
        let (mut written_to, mut written_1h_to) = (cache_read, cache_read);
        for (_, prefix, lifetime) in prompt.marked() {
            if prefix.tokens > cache_read && prefix.tokens >= prompt.min_tokens {
                written_to = prefix.tokens;
                if lifetime == LONG_LIFETIME {
                    written_1h_to = written_to;
                }
            }
        }
        usage.written_1h = written_1h_to - cache_read;
        usage.written_5m = written_to - written_1h_to;
        usage.input = prompt.tokens - written_to;
        usage
    }

    /// Writes the entries of a request whose reply begins now, and renews those that it read.
    pub(crate) fn write(&mut self, prompt: &Prompt, now: Instant) {
        if let Some(index) = self.longest_hit(prompt, now)
            && let Some(entry) = self.0.get_mut(&prompt.prefixes[index].fingerprint)
        {
            entry.expires = now + entry.lifetime;
        }
        for (_, prefix, lifetime) in prompt.marked() {
            if prefix.tokens < prompt.min_tokens {
                continue;
            }
            let entry =
                self.0.entry(prefix.fingerprint).or_insert(Entry { lifetime, expires: now });
            if entry.expires <= now {
                entry.lifetime = lifetime;
            }
            entry.expires = now + entry.lifetime;
        }
        self.drop_oldest(now);
    }

    /// The index of the longest prefix that has an entry.
    fn longest_hit(&self, prompt: &Prompt, now: Instant) -> Option<usize> {
        let has_entry = |index: &usize| {
            let entry = self.0.get(&prompt.prefixes[*index].fingerprint);
            entry.is_some_and(|entry| entry.expires > now)
        };
        let look_back =
            |marked: usize| (marked.saturating_sub(LOOK_BACK_BLOCKS - 1)..=marked).rev();
        let hits = prompt.marked().rev().filter_map(|(index, ..)| look_back(index).find(has_entry));
        hits.max()
    }

    /// Drops what has expired and, if that is not enough, the half that expires first.
    fn drop_oldest(&mut self, now: Instant) {
        if self.0.len() <= MAX_ENTRIES {
            return;
        }
        self.0.retain(|_, entry| entry.expires > now);
        if self.0.len() > MAX_ENTRIES {
            let mut times: Vec<Instant> = self.0.values().map(|entry| entry.expires).collect();
            let half = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(half);
            let median = *median;
            self.0.retain(|_, entry| entry.expires > median);
        }
    }
}

/// The lifetime that a cache mark asks for.
fn lifetime(mark: &Value) -> Option<Duration> {
    let lifetime = if mark["ttl"] == "1h" { LONG_LIFETIME } else { SHORT_LIFETIME };
    mark.is_object().then_some(lifetime)
}

/// The lifetime that the cache mark of a block, or of a block inside it, asks for.
fn mark(block: &Value) -> Option<Duration> {
    if let Some(lifetime) = lifetime(&block["cache_control"]) {
        return Some(lifetime);
    }
    block["content"].as_array()?.iter().find_map(|inner| lifetime(&inner["cache_control"]))
}

/// The text of a block as it was sent, without its cache marks.
fn without_marks(block: &Value) -> String {
    let mut block = block.clone();
    if let Some(content) = block.get_mut("content").and_then(Value::as_array_mut) {
        for inner in content.iter_mut().filter_map(Value::as_object_mut) {
            inner.shift_remove("cache_control");
        }
    }
    if let Some(fields) = block.as_object_mut() {
        fields.shift_remove("cache_control");
    }
    block.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Role;
    use serde_json::json;

    /// A conversation of user texts of 999 bytes each; a mark is `5m`, `1h` or nothing.
    fn prompt(model: &str, texts: &[(&str, &str)]) -> Prompt {
        let mut conversation = Conversation { model: model.into(), ..Conversation::default() };
        for (text, mark) in texts {
            let mut block = json!({"type": "text", "text": text.repeat(999 / text.len())});
            if !mark.is_empty() {
                block["cache_control"] = json!({"type": "ephemeral", "ttl": mark});
            }
            conversation.push(0, Role::User, vec![block]);
        }
        Prompt::of_messages(&conversation, &[], None)
    }

    /// Makes a request. Tokens that were read, written for 5 minutes, written for an hour, neither
    /// read nor written.
    fn send(cache: &mut Cache, prompt: &Prompt, now: Instant) -> [u64; 4] {
        let usage = cache.usage(prompt, now);
        cache.write(prompt, now);
        [usage.cache_read, usage.written_5m, usage.written_1h, usage.input]
    }

    /// The tokens of a block: its text of 999 bytes makes 1,024 bytes of JSON.
    const BLOCK: u64 = 256;

    #[test]
    fn what_one_request_writes_the_next_one_reads() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let first = prompt("rehearsal", &[("a", ""), ("b", "5m"), ("c", "")]);
        assert_eq!(send(&mut cache, &first, now), [0, 2 * BLOCK, 0, BLOCK]);
        let next = prompt("rehearsal", &[("a", ""), ("b", ""), ("c", ""), ("d", "5m")]);
        assert_eq!(send(&mut cache, &next, now), [2 * BLOCK, 2 * BLOCK, 0, 0]);
        let changed = prompt("rehearsal", &[("x", ""), ("b", ""), ("c", ""), ("d", "5m")]);
        assert_eq!(send(&mut cache, &changed, now), [0, 4 * BLOCK, 0, 0]);
        // Another model has another cache.
        let other = prompt("claude-opus-5-5", &[("a", ""), ("b", ""), ("c", ""), ("d", "5m")]);
        assert_eq!(send(&mut cache, &other, now), [0, 4 * BLOCK, 0, 0]);
    }

    #[test]
    fn a_request_that_gets_an_error_writes_no_entries() {
        let (cache, now) = (Cache::default(), Instant::now());
        let prompt = prompt("rehearsal", &[("a", ""), ("b", "5m")]);
        assert_eq!(cache.usage(&prompt, now), cache.usage(&prompt, now));
        assert_eq!(cache.usage(&prompt, now).cache_read, 0);
    }

    #[test]
    fn entries_expire_and_reading_renews_them() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let short = prompt("rehearsal", &[("a", ""), ("b", "5m")]);
        let (read, written) = ([2 * BLOCK, 0, 0, 0], [0, 2 * BLOCK, 0, 0]);
        assert_eq!(send(&mut cache, &short, minutes(0)), written);
        assert_eq!(send(&mut cache, &short, minutes(4)), read);
        assert_eq!(send(&mut cache, &short, minutes(8)), read);
        assert_eq!(send(&mut cache, &short, minutes(13)), written);
        let long = prompt("rehearsal", &[("l", ""), ("b", "1h")]);
        assert_eq!(send(&mut cache, &long, minutes(0)), [0, 0, 2 * BLOCK, 0]);
        assert_eq!(send(&mut cache, &long, minutes(59)), read);
        assert_eq!(send(&mut cache, &long, minutes(119)), [0, 0, 2 * BLOCK, 0]);
    }

    #[test]
    fn lifetimes_are_counted_separately() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let mixed = prompt("rehearsal", &[("a", ""), ("b", "1h"), ("c", "5m"), ("d", "")]);
        assert_eq!(send(&mut cache, &mixed, now), [0, BLOCK, 2 * BLOCK, BLOCK]);
    }

    #[test]
    fn short_prefixes_are_not_cached() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for (model, blocks) in
            [("rehearsal", 2), ("unheard-of", 4), ("claude-haiku-4-5-20251001", 16)]
        {
            let texts: Vec<_> = (0..blocks)
                .map(|block| ("abc", if block + 2 < blocks { "" } else { "5m" }))
                .collect();
            let usage = first_cached(&mut cache, model, &texts, now);
            assert_eq!(usage, [0, blocks * BLOCK, 0, 0], "{model}");
        }
        fn first_cached(
            cache: &mut Cache,
            model: &str,
            texts: &[(&str, &str)],
            now: Instant,
        ) -> [u64; 4] {
            let short = prompt(model, &texts[..texts.len() - 1]);
            let tokens = short.tokens();
            assert_eq!(send(cache, &short, now), [0, 0, 0, tokens], "{model}");
            assert_eq!(send(cache, &short, now), [0, 0, 0, tokens], "{model}");
            send(cache, &prompt(model, texts), now)
        }
    }

    #[test]
    fn a_lookup_walks_back_twenty_blocks() {
        for (added, read) in [(19, 2 * BLOCK), (20, 0)] {
            let (mut cache, now) = (Cache::default(), Instant::now());
            send(&mut cache, &prompt("rehearsal", &[("a", ""), ("b", "5m")]), now);
            let mut texts = vec![("a", ""), ("b", "")];
            texts.resize(1 + added, ("c", ""));
            texts.push(("d", "5m"));
            assert_eq!(send(&mut cache, &prompt("rehearsal", &texts), now)[0], read, "{added}");
        }
    }

    #[test]
    fn chat_completions_caches_in_steps_without_marks() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let prompt = |text: &str| {
            Prompt::of_chat(
                "gpt",
                &Value::Null,
                &json!([{"role": "user", "content": "x".repeat(4800)}, text]),
            )
        };
        let first = send(&mut cache, &prompt("a"), now);
        assert_eq!((first[0], first[1]), (0, 0));
        let next = send(&mut cache, &prompt("b"), now);
        assert_eq!((next[0], next[0] + next[3]), (1152, first[3]));
        assert_eq!(send(&mut cache, &prompt("b"), now + 2 * SHORT_LIFETIME)[0], 0);
    }

    #[test]
    fn the_entries_that_expire_first_are_dropped() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for fingerprint in 0..MAX_ENTRIES as u64 {
            let expires = now + Duration::from_millis(1 + fingerprint);
            cache.0.insert(fingerprint, Entry { lifetime: SHORT_LIFETIME, expires });
        }
        let prompt = prompt("rehearsal", &[("a", ""), ("b", "5m")]);
        assert_eq!(send(&mut cache, &prompt, now), [0, 2 * BLOCK, 0, 0]);
        assert!(cache.0.len() <= MAX_ENTRIES / 2 + 1);
        assert_eq!(send(&mut cache, &prompt, now), [2 * BLOCK, 0, 0, 0]);
    }
}
