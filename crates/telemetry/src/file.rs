//! Events in a file.
use crate::Queue;
use serde_json::json;
use std::{fs::File, io, io::Write, time::Duration};

/// How large a file of events becomes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// How many events are written at once, and how long the first of them waits for the others.
const MAX_BATCH: usize = 1000;
const DELAY: Duration = Duration::from_millis(100);

/// Writes the events of a queue to the end of a file, a line of JSON an event, until the queue is
/// closed and empty. A line says how many were dropped. A file that would become larger than
/// [`MAX_FILE_BYTES`] takes one more line, which says so, and no more.
///
/// # Errors
/// Those of the file system.
pub async fn write_jsonl(queue: Queue, file: File) -> io::Result<()> {
    let mut file = file;
    let mut written = file.metadata()?.len();
    while let Some(batch) = queue.next(MAX_BATCH, DELAY).await {
        let mut events = batch.events;
        if batch.dropped > 0 {
            events.insert(0, json!({"event": "dropped", "count": batch.dropped}));
        }
        let mut lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let is_full = written + lines.len() as u64 > MAX_FILE_BYTES;
        if is_full {
            lines = format!("{}\n", json!({"event": "full", "max_bytes": MAX_FILE_BYTES}));
        }
        written += lines.len() as u64;
        let write = move || file.write_all(lines.as_bytes()).map(|()| file);
        file = tokio::task::spawn_blocking(write).await??;
        if is_full {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_an_event_and_what_was_dropped_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e");
        let queue = Queue::new(2);
        (0..3).for_each(|n| queue.push(json!({"n": n, "text": "two\nlines"})));
        queue.close();
        write_jsonl(queue, File::create_new(&path).unwrap()).await.unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let expected = "{\"event\":\"dropped\",\"count\":1}\n{\"n\":1,\"text\":\"two\\nlines\"}\n\
                        {\"n\":2,\"text\":\"two\\nlines\"}\n";
        assert_eq!(text, expected);
    }

    #[tokio::test]
    async fn a_full_file_says_so_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::options().append(true).create(true).open(dir.path().join("e")).unwrap();
        file.set_len(MAX_FILE_BYTES - 5).unwrap();
        let size = || std::fs::metadata(dir.path().join("e")).unwrap().len();
        let queue = Queue::new(2);
        queue.push(json!({"event": "call"}));
        write_jsonl(queue, file).await.unwrap();
        let line = "{\"event\":\"full\",\"max_bytes\":67108864}\n".len() as u64;
        assert_eq!(size(), MAX_FILE_BYTES - 5 + line);
    }
}
