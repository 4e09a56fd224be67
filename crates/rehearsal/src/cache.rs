//! Prompt caching by the documented rules, and with it the bill.
//!
//! Nothing is really cached: only hashes of prefixes are kept, with the times that decide whether they would still be
//! there. Time is handed in, so that lifetimes can be tested without waiting.
use crate::{
    conversation::{Conversation, kind},
    hash::Print,
    models,
    reply::{Usage, tokens},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

const SHORT: Duration = Duration::from_secs(5 * 60);
const LONG: Duration = Duration::from_secs(60 * 60);
/// How far a lookup walks back from a breakpoint, counting the breakpoint.
const LOOK_BACK: usize = 20;
/// Entries beyond this make room for new ones; a real cache has its limits too.
const MOST_ENTRIES: usize = 20_000;
/// Chat Completions caches by itself: from this many tokens up, in steps.
const AUTOMATIC_FROM: u64 = 1024;
const AUTOMATIC_STEP: u64 = 128;

/// One block of the prompt and all that stands before it.
#[derive(Debug)]
struct Position {
    print: u64,
    /// Of the whole prefix up to and with this block.
    tokens: u64,
    mark: Option<Duration>,
}

/// A prompt as the cache sees it.
#[derive(Debug, Default)]
pub(crate) struct Prompt {
    positions: Vec<Position>,
    /// Prefixes shorter than this are silently not cached.
    least: u64,
    tokens: u64,
    /// Whether every position is a breakpoint and writing is free.
    automatic: bool,
}

/// What is known of prefixes seen before.
#[derive(Debug, Default)]
pub(crate) struct Cache(HashMap<u64, Entry>);

#[derive(Debug)]
struct Entry {
    lifetime: Duration,
    ends: Instant,
}

impl Prompt {
    /// The prompt of a Messages request: tools, then system, then messages. `settings` are what invalidates the
    /// messages when it changes; `everywhere` is the automatic mark at the top of the request.
    pub(crate) fn marked(
        conversation: &Conversation,
        settings: &[&Value],
        everywhere: Option<&Value>,
    ) -> Self {
        let mut prompt =
            Prompt { least: models::least_prefix(&conversation.model), ..Prompt::default() };
        let mut print = Print::new(&conversation.model);
        let mut bytes = 0;
        let mut last_cacheable = None;
        let mut add = |print: &mut Print, block: &Value| {
            let text = unmarked(block);
            print.text(&text);
            bytes += text.len();
            if !matches!(kind(block), "thinking" | "redacted_thinking") {
                last_cacheable = Some(prompt.positions.len());
            }
            prompt.positions.push(Position {
                print: print.finish(),
                tokens: tokens(bytes),
                mark: mark(block),
            });
        };
        // Tools that load later stay out of the prompt.
        let tools = conversation.tools.iter().filter(|tool| tool["defer_loading"] != true);
        tools.for_each(|tool| add(&mut print, tool));
        print.text("system");
        conversation.system.iter().for_each(|block| add(&mut print, block));
        settings.iter().for_each(|setting| print.value(setting));
        for message in &conversation.messages {
            print.number(message.role as u64);
            message.blocks.iter().for_each(|block| add(&mut print, block));
        }
        prompt.tokens = tokens(bytes);
        if let (Some(lifetime), Some(last)) = (everywhere.and_then(lifetime), last_cacheable) {
            prompt.positions[last].mark.get_or_insert(lifetime);
        }
        prompt
    }

    /// The prompt of a Chat Completions request, which is cached in steps of equal length.
    pub(crate) fn automatic(model: &str, tools: &Value, messages: &Value) -> Self {
        let mut text = if tools.is_null() { String::new() } else { tools.to_string() };
        messages
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|message| text.push_str(&message.to_string()));
        let mut prompt =
            Prompt { tokens: tokens(text.len()), automatic: true, ..Prompt::default() };
        let mut print = Print::new(model);
        let step = AUTOMATIC_STEP as usize * 4;
        for (index, piece) in text.as_bytes().chunks_exact(step).enumerate() {
            piece.chunks_exact(8).for_each(|eight| {
                print.number(eight.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
            });
            let tokens = (index as u64 + 1) * AUTOMATIC_STEP;
            if tokens >= AUTOMATIC_FROM {
                prompt.positions.push(Position {
                    print: print.finish(),
                    tokens,
                    mark: Some(SHORT),
                });
            }
        }
        prompt
    }

    /// All tokens of the prompt.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    fn breakpoints(&self) -> impl DoubleEndedIterator<Item = (usize, &Position, Duration)> {
        let positions = self.positions.iter().enumerate();
        positions.filter_map(|(place, position)| Some((place, position, position.mark?)))
    }
}

impl Cache {
    /// What a request costs that arrives now. Changes nothing: a reply that never begins leaves no entry.
    pub(crate) fn bill(&self, prompt: &Prompt, now: Instant) -> Usage {
        let cache_read = self.hit(prompt, now).map_or(0, |place| prompt.positions[place].tokens);
        let mut usage = Usage { cache_read, ..Usage::default() };
        let mut covered = cache_read;
        let mut written_1h_to = covered;
        for (_, position, lifetime) in prompt.breakpoints() {
            if position.tokens > cache_read && position.tokens >= prompt.least {
                covered = position.tokens;
                if lifetime == LONG {
                    written_1h_to = covered;
                }
            }
        }
        if prompt.automatic {
            // Writing costs nothing there, so all that was not read is plain input.
            usage.input = prompt.tokens - cache_read;
            return usage;
        }
        usage.written_1h = written_1h_to - cache_read;
        usage.written_5m = covered - written_1h_to;
        usage.input = prompt.tokens - covered;
        usage
    }

    /// Keeps what a reply that begins now has made usable, and lets what it used live on.
    pub(crate) fn keep(&mut self, prompt: &Prompt, now: Instant) {
        if let Some(place) = self.hit(prompt, now)
            && let Some(entry) = self.0.get_mut(&prompt.positions[place].print)
        {
            entry.ends = now + entry.lifetime;
        }
        for (_, position, lifetime) in prompt.breakpoints() {
            if position.tokens < prompt.least {
                continue;
            }
            let entry = self.0.entry(position.print).or_insert(Entry { lifetime, ends: now });
            if entry.ends <= now {
                entry.lifetime = lifetime;
            }
            entry.ends = now + entry.lifetime;
        }
        self.make_room(now);
    }

    /// The longest usable prefix.
    fn hit(&self, prompt: &Prompt, now: Instant) -> Option<usize> {
        let known = |place: &usize| {
            self.0.get(&prompt.positions[*place].print).is_some_and(|entry| entry.ends > now)
        };
        let reach =
            |breakpoint: usize| (breakpoint.saturating_sub(LOOK_BACK - 1)..=breakpoint).rev();
        let found = prompt.breakpoints().rev().filter_map(|(place, ..)| reach(place).find(known));
        found.max()
    }

    fn make_room(&mut self, now: Instant) {
        if self.0.len() <= MOST_ENTRIES {
            return;
        }
        self.0.retain(|_, entry| entry.ends > now);
        if self.0.len() > MOST_ENTRIES {
            let mut ends: Vec<Instant> = self.0.values().map(|entry| entry.ends).collect();
            let half = ends.len() / 2;
            let (_, median, _) = ends.select_nth_unstable(half);
            let median = *median;
            self.0.retain(|_, entry| entry.ends > median);
        }
    }
}

/// The lifetime that a cache mark asks for.
fn lifetime(mark: &Value) -> Option<Duration> {
    let long = mark["ttl"] == "1h";
    mark.is_object().then_some(if long { LONG } else { SHORT })
}

/// The mark of a block, or of one inside it.
fn mark(block: &Value) -> Option<Duration> {
    let inside =
        || block["content"].as_array()?.iter().find_map(|inner| lifetime(&inner["cache_control"]));
    lifetime(&block["cache_control"]).or_else(inside)
}

/// The text of a block as it was sent, but for the marks.
fn unmarked(block: &Value) -> String {
    let mut block = block.clone();
    let inner = block.get_mut("content").and_then(Value::as_array_mut);
    let inner = inner.into_iter().flatten().filter_map(Value::as_object_mut);
    inner.for_each(|inner| drop(inner.shift_remove("cache_control")));
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
        Prompt::marked(&conversation, &[], None)
    }

    /// Read, written for 5 minutes, written for an hour, plain.
    fn bill(cache: &mut Cache, prompt: &Prompt, now: Instant) -> [u64; 4] {
        let usage = cache.bill(prompt, now);
        cache.keep(prompt, now);
        [usage.cache_read, usage.written_5m, usage.written_1h, usage.input]
    }

    /// The 999 bytes of a text are 1,024 as JSON.
    const BLOCK: u64 = 256;

    #[test]
    fn what_was_written_is_read_and_only_the_rest_is_plain() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let first = prompt("rehearsal", &[("a", ""), ("b", "5m"), ("c", "")]);
        assert_eq!(bill(&mut cache, &first, now), [0, 2 * BLOCK, 0, BLOCK]);
        let next = prompt("rehearsal", &[("a", ""), ("b", ""), ("c", ""), ("d", "5m")]);
        assert_eq!(bill(&mut cache, &next, now), [2 * BLOCK, 2 * BLOCK, 0, 0]);
        let changed = prompt("rehearsal", &[("x", ""), ("b", ""), ("c", ""), ("d", "5m")]);
        assert_eq!(bill(&mut cache, &changed, now), [0, 4 * BLOCK, 0, 0]);
        // Another model has another cache.
        let other = prompt("claude-opus-5-5", &[("a", ""), ("b", ""), ("c", ""), ("d", "5m")]);
        assert_eq!(bill(&mut cache, &other, now), [0, 4 * BLOCK, 0, 0]);
    }

    #[test]
    fn a_reply_that_never_began_leaves_nothing() {
        let (cache, now) = (Cache::default(), Instant::now());
        let prompt = prompt("rehearsal", &[("a", ""), ("b", "5m")]);
        assert_eq!(cache.bill(&prompt, now), cache.bill(&prompt, now));
        assert_eq!(cache.bill(&prompt, now).cache_read, 0);
    }

    #[test]
    fn lifetimes_end_and_are_renewed_by_use() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        let minutes = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let short = prompt("rehearsal", &[("a", ""), ("b", "5m")]);
        let (read, written) = ([2 * BLOCK, 0, 0, 0], [0, 2 * BLOCK, 0, 0]);
        assert_eq!(bill(&mut cache, &short, minutes(0)), written);
        assert_eq!(bill(&mut cache, &short, minutes(4)), read);
        assert_eq!(bill(&mut cache, &short, minutes(8)), read);
        assert_eq!(bill(&mut cache, &short, minutes(13)), written);
        let long = prompt("rehearsal", &[("l", ""), ("b", "1h")]);
        assert_eq!(bill(&mut cache, &long, minutes(0)), [0, 0, 2 * BLOCK, 0]);
        assert_eq!(bill(&mut cache, &long, minutes(59)), read);
        assert_eq!(bill(&mut cache, &long, minutes(119)), [0, 0, 2 * BLOCK, 0]);
    }

    #[test]
    fn an_hour_and_five_minutes_are_billed_apart() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let mixed = prompt("rehearsal", &[("a", ""), ("b", "1h"), ("c", "5m"), ("d", "")]);
        assert_eq!(bill(&mut cache, &mixed, now), [0, BLOCK, 2 * BLOCK, BLOCK]);
    }

    #[test]
    fn short_prefixes_are_silently_not_cached() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for (model, blocks) in
            [("rehearsal", 2), ("unheard-of", 4), ("claude-haiku-4-5-20251001", 16)]
        {
            let texts: Vec<_> = (0..blocks)
                .map(|block| ("abc", if block + 2 < blocks { "" } else { "5m" }))
                .collect();
            let least = least(&mut cache, model, &texts, now);
            assert_eq!(least, [0, blocks * BLOCK, 0, 0], "{model}");
        }
        fn least(cache: &mut Cache, model: &str, texts: &[(&str, &str)], now: Instant) -> [u64; 4] {
            let short = prompt(model, &texts[..texts.len() - 1]);
            let tokens = short.tokens();
            assert_eq!(bill(cache, &short, now), [0, 0, 0, tokens], "{model}");
            assert_eq!(bill(cache, &short, now), [0, 0, 0, tokens], "{model}");
            bill(cache, &prompt(model, texts), now)
        }
    }

    #[test]
    fn a_lookup_walks_back_twenty_blocks() {
        for (added, read) in [(19, 2 * BLOCK), (20, 0)] {
            let (mut cache, now) = (Cache::default(), Instant::now());
            bill(&mut cache, &prompt("rehearsal", &[("a", ""), ("b", "5m")]), now);
            let mut texts = vec![("a", ""), ("b", "")];
            texts.resize(1 + added, ("c", ""));
            texts.push(("d", "5m"));
            assert_eq!(bill(&mut cache, &prompt("rehearsal", &texts), now)[0], read, "{added}");
        }
    }

    #[test]
    fn chat_completions_cache_by_themselves_in_steps() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let prompt = |text: &str| {
            Prompt::automatic(
                "gpt",
                &Value::Null,
                &json!([{"role": "user", "content": "x".repeat(4800)}, text]),
            )
        };
        let first = bill(&mut cache, &prompt("a"), now);
        assert_eq!((first[0], first[1]), (0, 0));
        let next = bill(&mut cache, &prompt("b"), now);
        assert_eq!((next[0], next[0] + next[3]), (1152, first[3]));
        assert_eq!(bill(&mut cache, &prompt("b"), now + 2 * SHORT)[0], 0);
    }

    #[test]
    fn old_entries_make_room() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for print in 0..MOST_ENTRIES as u64 {
            cache.0.insert(
                print,
                Entry { lifetime: SHORT, ends: now + Duration::from_millis(1 + print) },
            );
        }
        let prompt = prompt("rehearsal", &[("a", ""), ("b", "5m")]);
        assert_eq!(bill(&mut cache, &prompt, now), [0, 2 * BLOCK, 0, 0]);
        assert!(cache.0.len() <= MOST_ENTRIES / 2 + 1);
        assert_eq!(bill(&mut cache, &prompt, now), [2 * BLOCK, 0, 0, 0]);
    }
}
