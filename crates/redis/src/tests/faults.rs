use crate::{
    Cause, Mail, Server,
    testing::{PrivateServer, free_port},
};
use rungs_mailbox::{Letter, Transport};
use std::{collections::BTreeSet, time::Duration};

const SHORT: Duration = Duration::from_millis(300);

pub(super) async fn refused(url: &str) -> (Cause, String) {
    let failure = Server::connect(url, "blue").await.unwrap_err();
    (failure.cause, failure.to_string())
}

async fn open(server: &PrivateServer) -> Mail {
    let server = Server::connect_retrying(&server.url(), "blue", SHORT).await.unwrap();
    Mail::new(&server).unwrap()
}

fn letter(text: impl Into<String>) -> Letter {
    Letter::new("lead", text)
}

#[tokio::test]
async fn a_wrong_password_is_named_and_never_shown() {
    let Some(server) = PrivateServer::start(&["--requirepass", "right"]) else { return };
    let path = server.folder().join("socket").display().to_string();
    for url in [format!("unix://{path}?pass=wr0ng"), format!("unix://{path}")] {
        let (cause, text) = refused(&url).await;
        let expected = "it refuses the password; write user and password into REDIS_URL";
        assert!(text.starts_with(&format!("Redis at {path}: {expected}")), "{text}");
        assert!(cause == Cause::Lasting && !text.contains("wr0ng"), "{text}");
    }
    Server::connect(&format!("unix://{path}?pass=right"), "blue").await.unwrap();
    let (_, text) = refused("redis//:secret@host").await;
    assert!(text.starts_with("Redis at REDIS_URL: that is no address"), "{text}");
    assert!(!text.contains("secret"));
}

#[tokio::test]
async fn what_answers_not_at_all_or_is_no_redis_is_said() {
    let (cause, text) = refused("redis://127.0.0.1:1").await;
    assert_eq!(
        (cause, text.as_str()),
        (
            Cause::Unreachable,
            "Redis at 127.0.0.1:1: no server answers (REDIS_URL says where to look)"
        )
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let (cause, text) = refused(&format!("redis://{address}")).await;
    assert!(cause == Cause::Lasting && text.contains("is no Redis server"), "{text}");
    let (_, text) = refused(&format!("rediss://{address}")).await;
    assert!(text.contains("TLS"), "{text}");
}

#[tokio::test]
async fn a_full_memory_refuses_letters_and_loses_none() {
    let Some(server) = PrivateServer::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let mail = open(&server).await;
    mail.send("ann", letter("one")).await.unwrap();
    server.command::<String>(&["CONFIG", "SET", "maxmemory", "1mb"]);
    let error = mail.send("ann", letter("two")).await.unwrap_err().to_string();
    assert!(error.ends_with(
        "its memory is full, and nothing was stored; raise its maxmemory, or delete what nobody \
         needs"
    ), "{error}");
    server.command::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
    mail.send("ann", letter("three")).await.unwrap();
    let received = mail.receive("ann", &BTreeSet::new()).await.unwrap();
    let texts: Vec<_> = received.letters.iter().map(|letter| letter.text.as_str()).collect();
    assert_eq!(texts, ["one", "three"]);
}

#[tokio::test]
async fn a_read_only_replica_stores_nothing_and_says_so() {
    let Some(server) = PrivateServer::start(&[]) else { return };
    let mail = open(&server).await;
    mail.send("ann", letter("one")).await.unwrap();
    server.command::<String>(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = mail.send("ann", letter("two")).await.unwrap_err().to_string();
    assert!(error.contains("it is a read-only replica, and nothing was stored"), "{error}");
    // Promoted, as a failover does: whoever tries again meets a primary.
    server.command::<String>(&["REPLICAOF", "NO", "ONE"]);
    mail.send("ann", letter("three")).await.unwrap();
    assert_eq!(mail.newest("ann", 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_keeps_too_little_says_so() {
    let Some(server) = PrivateServer::start(&["--appendfsync", "everysec"]) else { return };
    let connection = Server::connect(&server.url(), "blue").await.unwrap();
    let warned = connection.durability().await.unwrap().unwrap();
    assert!(warned.contains("a crash can lose the letters of the last one"), "{warned}");
    server.command::<String>(&["CONFIG", "SET", "appendfsync", "always"]);
    assert_eq!(connection.durability().await.unwrap(), None);
    server.command::<String>(&["CONFIG", "SET", "appendonly", "no"]);
    assert!(connection.durability().await.unwrap().unwrap().contains("keeps no log"));
}

/// A primary, which listens on a port for its replica, and the replica, once it has all.
async fn replicated() -> Option<(PrivateServer, PrivateServer)> {
    let port = free_port();
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let primary = PrivateServer::start(&["--port", &port.to_string(), at_once[0], at_once[1]])?;
    let replica = PrivateServer::start(&["--replicaof", &format!("127.0.0.1 {port}")])?;
    while !primary.command::<String>(&["INFO", "replication"]).contains("state=online") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Some((primary, replica))
}

#[tokio::test]
async fn what_was_sent_survives_a_failover_to_a_replica() {
    let Some((mut primary, replica)) = replicated().await else { return };
    let mail = open(&primary).await;
    assert!(mail.server.has_replicas());
    for n in 0..20 {
        mail.send("ann", letter(n.to_string())).await.unwrap();
    }
    primary.kill();
    replica.command::<String>(&["REPLICAOF", "NO", "ONE"]);
    let promoted = open(&replica).await;
    assert_eq!(promoted.newest("ann", 99).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_server_that_has_lost_its_replicas_goes_on_alone() {
    let Some((primary, replica)) = replicated().await else { return };
    let server = Server::connect(&primary.url(), "blue").await.unwrap();
    let mail = Mail::new(&server).unwrap();
    mail.send("ann", letter("one")).await.unwrap();
    drop(replica);
    mail.send("ann", letter("two")).await.unwrap();
    assert_eq!(mail.newest("ann", 99).await.unwrap().len(), 2);
}
