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
/// closed and empty. A line says how many were dropped.
///
/// # Errors
/// Those of the file system, and that the file would become larger than [`MAX_FILE_BYTES`].
pub async fn write_jsonl(queue: Queue, file: File) -> io::Result<()> {
    let mut file = file;
    let mut written = file.metadata()?.len();
    while let Some(batch) = queue.next(MAX_BATCH, DELAY).await {
        let mut events = batch.events;
        if batch.dropped > 0 {
            events.insert(0, json!({"event": "dropped", "count": batch.dropped}));
        }
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        if written + lines.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other("it is full; move it away to have a new one"));
        }
        written += lines.len() as u64;
        let write = move || file.write_all(lines.as_bytes()).map(|()| file);
        file = tokio::task::spawn_blocking(write).await??;
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
    async fn a_full_file_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::options().append(true).create(true).open(dir.path().join("e")).unwrap();
        file.set_len(MAX_FILE_BYTES - 5).unwrap();
        let queue = Queue::new(2);
        queue.push(json!({"event": "call"}));
        let full = write_jsonl(queue, file).await.unwrap_err().to_string();
        assert_eq!(full, "it is full; move it away to have a new one");
        let size = std::fs::metadata(dir.path().join("e")).unwrap().len();
        assert_eq!(size, MAX_FILE_BYTES - 5);
    }
}
