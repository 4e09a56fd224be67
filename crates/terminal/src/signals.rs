//! The signals that end the program.
use std::{future::poll_fn, io, task::Poll, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{sleep, timeout},
};

/// How long the program may take to end after a signal before another Ctrl+C ends it at once.
const GRACE_PERIOD: Duration = Duration::from_secs(2);
/// How long it may take at most, from then on: less than five seconds in all.
const EXIT_TIMEOUT: Duration = Duration::from_millis(2800);
/// A file has reached the limit of its size. With a handler, the write fails and is reported.
const FILE_SIZE: i32 = 25;
/// The limit of CPU time is reached.
const CPU_TIME: i32 = 24;

/// The signals that end the program. Commands live in sessions of their own, so a signal reaches
/// this process alone: whoever gets one returns, and what is dropped on the way ends its processes.
/// Clones get the same signal.
#[derive(Debug, Clone)]
pub struct Signals(watch::Sender<Option<u8>>);

impl Signals {
    /// From now on these signals no longer kill the process, so make it before there is anything to
    /// clean up: Ctrl+C and Ctrl+\, a hangup, a request to terminate, and those that a program does
    /// not expect. It must be called within a tokio runtime of several threads.
    ///
    /// A program that hangs ends all the same: when it has not ended within five seconds of a
    /// signal, or gets Ctrl+C again after two, `last` is called, and the process exits.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn new(last: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let kinds = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::alarm(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
            SignalKind::from_raw(CPU_TIME),
        ];
        let mut signals = vec![];
        for kind in kinds {
            signals.push((kind, signal(kind)?));
        }
        let _handled = signal(SignalKind::from_raw(FILE_SIZE))?;
        let asked = Signals(watch::Sender::new(None));
        let own = asked.clone();
        tokio::spawn(async move {
            let code = loop {
                let code = first(&mut signals).await;
                own.0.send_replace(Some(code));
                let ended = async {
                    sleep(GRACE_PERIOD).await;
                    // A receiver of its own hears no signal of before.
                    match signal(SignalKind::interrupt()) {
                        Ok(mut again) => _ = timeout(EXIT_TIMEOUT, again.recv()).await,
                        Err(_) => sleep(EXIT_TIMEOUT).await,
                    }
                };
                let mut seen = own.0.subscribe();
                tokio::select! {
                    () = ended => break code,
                    _ = seen.wait_for(Option::is_none) => {}
                }
            };
            last();
            std::process::exit(code.into());
        });
        Ok(asked)
    }

    /// The exit code for the signal that has come, if there was one.
    pub(crate) fn came(&self) -> Option<u8> {
        *self.0.borrow()
    }

    /// The signal that came was for what ran then, and does not end the program.
    pub(crate) fn forgive(&self) {
        self.0.send_replace(None);
    }

    /// The exit code that a signal asks for, as shells count it: 128 and its number. Once there was
    /// one that was not forgiven, it is always that.
    pub async fn next(&mut self) -> u8 {
        match self.0.subscribe().wait_for(Option::is_some).await.map(|code| *code) {
            Ok(Some(code)) => code,
            // The runtime is shutting down.
            _ => std::future::pending().await,
        }
    }
}

/// The exit code for the first signal that comes.
async fn first(signals: &mut [(SignalKind, Signal)]) -> u8 {
    poll_fn(|cx| {
        for (kind, signal) in &mut *signals {
            if signal.poll_recv(cx).is_ready() {
                return Poll::Ready(128 + u8::try_from(kind.as_raw_value()).unwrap_or_default());
            }
        }
        Poll::Pending
    })
    .await
}
