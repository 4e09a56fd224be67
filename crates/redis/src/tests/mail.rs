use crate::{Mail, Server, testing::PrivateServer};
use rungs_mailbox::{Letter, LetterId, MAX_LETTER_BYTES, Presence, Transport};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

const NONE: BTreeSet<LetterId> = BTreeSet::new();
const LONG: Duration = Duration::from_secs(60);

/// Mailboxes as a process opens them, whose names end soon after it has died.
async fn open(server: &PrivateServer) -> Mail {
    open_leasing(server, Duration::from_millis(300)).await
}

async fn open_leasing(server: &PrivateServer, lease: Duration) -> Mail {
    let server = Server::connect(&server.url(), "blue").await.unwrap();
    Mail::with_lease(&server, lease).unwrap()
}

fn ids(letters: &[Letter]) -> BTreeSet<LetterId> {
    letters.iter().map(|letter| letter.id).collect()
}

fn texts(letters: &[Letter]) -> Vec<&str> {
    letters.iter().map(|letter| letter.text.as_str()).collect()
}

fn letter(text: impl Into<String>) -> Letter {
    Letter::new("lead", text)
}

#[tokio::test]
async fn a_letter_is_delivered_until_it_is_acknowledged_and_then_remembered() {
    let Some(server) = PrivateServer::start(&[]) else { return };
    let mail = open(&server).await;
    assert!(!mail.has_mail("ann", &NONE).await.unwrap());
    let data = serde_json::json!({"kind": "plan"});
    let sent = Letter { data, ..letter("one") };
    mail.send("ann", sent.clone()).await.unwrap();
    mail.send("ann", letter("two")).await.unwrap();
    let received = mail.receive("ann", &NONE).await.unwrap();
    assert_eq!(texts(&received.letters), ["one", "two"]);
    assert_eq!(received.letters[0].data, sent.data);
    let in_flight = ids(&received.letters);
    assert!(!mail.has_mail("ann", &in_flight).await.unwrap());
    assert_eq!(mail.receive("ann", &in_flight).await.unwrap().letters, []);
    mail.send("ann", letter("three")).await.unwrap();
    let more = mail.receive("ann", &in_flight).await.unwrap();
    assert_eq!(texts(&more.letters), ["three"]);
    mail.ack("ann", &in_flight).await.unwrap();
    assert!(mail.has_mail("ann", &NONE).await.unwrap());
    mail.ack("ann", &ids(&more.letters)).await.unwrap();
    assert!(!mail.has_mail("ann", &NONE).await.unwrap());
    let newest = mail.newest("ann", 2).await.unwrap();
    assert_eq!(newest, [received.letters[1].clone(), more.letters[0].clone()]);
    let left: Vec<String> = server.command(&["HKEYS", "rungs:{blue}:deliveries:ann"]);
    assert_eq!(left, [""; 0]);
    let refused = mail.send("../ann", letter("x")).await.unwrap_err().to_string();
    assert!(refused.starts_with("\"../ann\" is no name"), "{refused}");
    let long = mail.send("ann", letter("x".repeat(MAX_LETTER_BYTES + 1))).await.unwrap_err();
    assert!(long.to_string().contains("too long"), "{long}");
}

#[tokio::test]
async fn the_letters_of_a_reader_that_died_go_to_the_next_one_of_its_name() {
    let Some(server) = PrivateServer::start(&[]) else { return };
    let (first, second) = (open(&server).await, open(&server).await);
    for text in ["one", "two"] {
        first.send("ann", letter(text)).await.unwrap();
    }
    let letters = first.receive("ann", &NONE).await.unwrap().letters;
    first.ack("ann", &ids(&letters[..1])).await.unwrap();
    let refused = second.receive("ann", &NONE).await.unwrap_err().to_string();
    assert!(refused.contains("team blue has a ann already"), "{refused}");
    // Dropped, it renews its names no more.
    drop(first);
    let again = timeout(LONG, async {
        loop {
            if let Ok(received) = second.receive("ann", &NONE).await {
                return received.letters;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(again.await.unwrap(), letters[1..]);
}

#[tokio::test]
async fn a_reader_that_has_lost_its_name_receives_and_acknowledges_nothing() {
    let Some(server) = PrivateServer::start(&[]) else { return };
    let (late, next) = (open(&server).await, open(&server).await);
    late.send("ann", letter("one")).await.unwrap();
    let letters = late.receive("ann", &NONE).await.unwrap().letters;
    assert!(next.names().dismiss("ann").await.unwrap());
    timeout(LONG, late.names().lost("ann")).await.unwrap();
    Presence::join(next.names(), "ann", "next").await.unwrap();
    let refused = late.ack("ann", &ids(&letters)).await.unwrap_err().to_string();
    assert!(refused.ends_with("this one has lost the name"), "{refused}");
    late.receive("ann", &NONE).await.unwrap_err();
    assert_eq!(next.receive("ann", &NONE).await.unwrap().letters, letters);
}

#[tokio::test]
async fn the_letter_that_makes_turns_fail_is_found_and_the_others_are_not_to_blame() {
    let Some(server) = PrivateServer::start(&[]) else { return };
    let mail = open_leasing(&server, LONG).await;
    for n in 0..9 {
        let text = if n == 4 { "poison".into() } else { n.to_string() };
        mail.send("ann", letter(text)).await.unwrap();
    }
    let (mut dead, mut handled, mut rounds) = (vec![], vec![], 0);
    while mail.has_mail("ann", &NONE).await.unwrap() {
        let received = mail.receive("ann", &NONE).await.unwrap();
        dead.extend(received.dead);
        if texts(&received.letters).contains(&"poison") {
            rounds += 1;
            assert!(rounds < 20);
        } else {
            mail.ack("ann", &ids(&received.letters)).await.unwrap();
            handled.extend(received.letters.into_iter().map(|letter| letter.text));
        }
    }
    handled.sort();
    assert_eq!(handled, ["0", "1", "2", "3", "5", "6", "7", "8"]);
    assert_eq!(texts(&dead), ["poison"]);
    let buried: Vec<(String, Vec<String>)> =
        server.command(&["XRANGE", "rungs:{blue}:dead:ann", "-", "+"]);
    assert!(buried.len() == 1 && buried[0].1[3].contains("poison"), "{buried:?}");
}

#[tokio::test]
async fn a_sender_that_tries_again_stores_its_letter_once() {
    let Some(mut server) = PrivateServer::start(&[]) else { return };
    let mail = open_leasing(&server, LONG).await;
    // The server stops before its answers arrive: whether a letter was stored is not known.
    let pid = server.id().unwrap().to_string();
    let signal = |name: &str| {
        let kill = std::process::Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(kill.success());
    };
    signal("-STOP");
    let sends = (0..20).map(|n| mail.send("ann", letter(n.to_string())));
    let sending = futures_util::future::join_all(sends);
    let (sent, ()) = tokio::join!(sending, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        signal("-CONT");
        tokio::time::sleep(Duration::from_millis(2)).await;
        server.kill();
        server.restart().unwrap();
    });
    for end in sent {
        end.unwrap();
    }
    let mut got: Vec<u32> =
        mail.newest("ann", 99).await.unwrap().iter().map(|one| one.text.parse().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_waits_is_woken_by_a_letter_from_another_process_and_after_a_restart() {
    let Some(mut server) = PrivateServer::start(&[]) else { return };
    let (reader, sender) = (open_leasing(&server, LONG).await, open_leasing(&server, LONG).await);
    let waiting = tokio::spawn({
        let reader = reader.clone();
        async move { reader.wait("ann", &NONE).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    sender.send("ann", letter("one")).await.unwrap();
    timeout(LONG, waiting).await.unwrap().unwrap();
    let in_flight = ids(&reader.receive("ann", &NONE).await.unwrap().letters);
    let waiting = tokio::spawn(async move { reader.wait("ann", &in_flight).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    server.restart().unwrap();
    sender.send("ann", letter("two")).await.unwrap();
    timeout(LONG, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn old_letters_are_dropped_when_they_are_settled_and_no_others() {
    let Some(server) = PrivateServer::start(&["--appendfsync", "no"]) else { return };
    let mail = open_leasing(&server, LONG).await;
    let send = async |count: usize| {
        let sends = (0..count).map(|n| mail.send("ann", letter(n.to_string())));
        futures_util::future::join_all(sends).await;
    };
    send(900).await;
    let mut first = mail.receive("ann", &NONE).await.unwrap().letters;
    let kept = first.split_off(500);
    send(300).await;
    mail.ack("ann", &ids(&first)).await.unwrap();
    // 400 are in flight, and 300 were never delivered.
    let left = mail.newest("ann", 9999).await.unwrap();
    assert_eq!((left.len(), left[0].id), (700, kept[0].id));
    let new = mail.receive("ann", &ids(&kept)).await.unwrap().letters;
    assert_eq!(new.len(), 300);
}

#[tokio::test]
async fn whoever_asks_again_whether_there_is_anything_new_does_not_ask_the_server() {
    let Some(server) = PrivateServer::start(&[]) else { return };
    let mail = open_leasing(&server, LONG).await;
    Presence::join(mail.names(), "lead", "").await.unwrap();
    let board = crate::open_board(&mail.server).await.unwrap();
    let look = async || {
        assert!(!mail.has_mail("ann", &NONE).await.unwrap());
        assert_eq!(mail.names().elsewhere().await.unwrap(), []);
        board.blocking(|board| board.look(|tasks| tasks.next().cloned())).await.unwrap()
    };
    look().await;
    // What its own name has told the members.
    tokio::time::sleep(Duration::from_millis(200)).await;
    look().await;
    let commands = || {
        let stats: String = server.command(&["INFO", "stats"]);
        let line = stats.lines().find(|line| line.starts_with("total_commands_processed"));
        line.unwrap().split(':').nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = commands();
    let asking = commands() - before;
    for _ in 0..50 {
        assert_eq!(look().await, None);
    }
    assert_eq!(commands() - before, 2 * asking);
    mail.send("ann", letter("one")).await.unwrap();
    assert!(mail.has_mail("ann", &NONE).await.unwrap());
}
