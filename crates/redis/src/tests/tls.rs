//! A server that is reached over TLS, and has a certificate that nobody knows but this test.
use super::faults::refused;
use crate::{
    Cause, Mail, Server, open_board,
    testing::{PrivateServer, free_port},
};
use rungs_mailbox::{Letter, Transport};
use rungs_tasks::Task;
use std::{
    env, io,
    path::PathBuf,
    process::{Command, Stdio},
};
use tempfile::TempDir;

const URL: &str = "RUNGS_TEST_TLS_URL";

struct TlsServer {
    server: PrivateServer,
    address: String,
    certificate: PathBuf,
    _folder: TempDir,
}

/// None where a program that is needed is missing or cannot do TLS, which is said.
fn start() -> Option<TlsServer> {
    // Whoever cannot do TLS knows no such setting, and complains of the first one.
    let asked = Command::new("redis-server").args(["--tls-port", "0", "--none", ""]).output();
    if asked.is_ok_and(|done| String::from_utf8_lossy(&done.stderr).contains("'tls-port")) {
        eprintln!("skipped: this redis-server cannot do TLS");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-days", "2", "-subj", "/CN=rungs test", "-keyout", "key", "-out"]);
    openssl.args(["certificate", "-addext", "subjectAltName=IP:127.0.0.1"]);
    // Or it would be one that signs others, which no server may show.
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]).current_dir(folder.path());
    match openssl.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        made => {
            let made = made.unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
    }
    let port = free_port();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server = PrivateServer::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("certificate"),
        "--tls-key-file",
        &path("key"),
        "--tls-auth-clients",
        "no",
    ])?;
    let certificate = folder.path().join("certificate");
    Some(TlsServer { server, address: format!("127.0.0.1:{port}"), certificate, _folder: folder })
}

/// A process that trusts the certificate: this test, started again with variables that say so.
#[tokio::test]
async fn process() {
    let Ok(url) = env::var(URL) else { return };
    let server = Server::connect(&url, "blue").await.unwrap();
    let board = open_board(&server).await.unwrap();
    let task = Task { subject: "over TLS".into(), ..Task::default() };
    board.blocking(move |board| board.create(task.clone())).await.unwrap();
    let mail = Mail::new(&server).unwrap();
    mail.send("ann", Letter::new("lead", "over TLS")).await.unwrap();
}

#[tokio::test]
async fn mail_and_tasks_travel_over_tls() {
    let Some(tls) = start() else { return };
    let this = Command::new(env::current_exe().unwrap())
        .args(["tests::tls::process", "--exact"])
        .env(URL, format!("rediss://{}", tls.address))
        .env("SSL_CERT_FILE", &tls.certificate)
        .stdout(Stdio::null())
        .status();
    assert!(this.unwrap().success());
    let server = Server::connect(&tls.server.url(), "blue").await.unwrap();
    let newest = Mail::new(&server).unwrap().newest("ann", 9).await.unwrap();
    assert_eq!(newest.iter().map(|letter| letter.text.as_str()).collect::<Vec<_>>(), ["over TLS"]);
    let board = open_board(&server).await.unwrap();
    let look = |board: &rungs_tasks::Board| board.look(|tasks| tasks.get(1).cloned());
    assert_eq!(board.blocking(look).await.unwrap().unwrap().subject, "over TLS");
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_refused() {
    let Some(tls) = start() else { return };
    let (cause, text) = refused(&format!("rediss://{}", tls.address)).await;
    let expected = format!(
        "Redis at {}: no TLS connection: invalid peer certificate: UnknownIssuer (SSL_CERT_FILE \
         names the file of those to trust)",
        tls.address
    );
    assert_eq!((cause, text), (Cause::Lasting, expected));
}

#[tokio::test]
async fn whoever_does_not_ask_for_tls_is_told_how() {
    let Some(tls) = start() else { return };
    let (_, text) = refused(&format!("redis://{}", tls.address)).await;
    assert!(text.ends_with("if the server wants TLS, REDIS_URL is rediss://"), "{text}");
}
