//! Letters a second, through files and through a Redis server of its own, in one run. `cargo bench
//! -p rungs-redis` prints figures. A letter is sent, received and acknowledged.
use durable::Folder;
use futures_util::future::join_all;
use rungs_mailbox::{Letter, Mailboxes, Transport};
use rungs_redis::{Mail, Server, testing::PrivateServer};
use std::{collections::BTreeSet, sync::Arc, time::Instant};

const LETTERS: usize = 2_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let files = Mailboxes::open(&Folder::open(folder.path(), "").unwrap()).await.unwrap();
    measure("files, each letter flushed", Arc::new(files)).await;
    for (what, flush) in
        [("Redis, each letter flushed", "always"), ("Redis, flushed once a second", "everysec")]
    {
        let Some(server) = PrivateServer::start(&["--appendfsync", flush]) else { return };
        let connection = Server::connect(&server.url(), "bench").await.unwrap();
        measure(what, Arc::new(Mail::new(&connection).unwrap())).await;
    }
}

async fn measure(what: &str, mail: Arc<dyn Transport>) {
    for readers in [1, 16] {
        let start = Instant::now();
        join_all((0..readers).map(|n| {
            let mail = mail.clone();
            tokio::spawn(async move {
                let (name, none) = (format!("r{readers}-{n}"), BTreeSet::new());
                for _ in 0..LETTERS / readers {
                    mail.send(&name, Letter::new("lead", "the tests pass")).await.unwrap();
                    let received = mail.receive(&name, &none).await.unwrap();
                    let ids = received.letters.iter().map(|letter| letter.id).collect();
                    mail.ack(&name, &ids).await.unwrap();
                }
            })
        }))
        .await;
        let rate = LETTERS as f64 / start.elapsed().as_secs_f64();
        println!("{what}: {rate:.0} letters a second, {readers} at once");
    }
}
