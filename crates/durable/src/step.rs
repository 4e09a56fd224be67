//! Every step that touches the disk passes through here, so that a test can let any single one of them fail.

use std::{
    fs::File,
    io::{self, Read, Write},
};

/// One step, named for the tests that look at the order of steps.
pub(crate) fn step<R>(_name: &'static str, work: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    #[cfg(test)]
    if let Some(fault) = fault::due(_name) {
        return fault.spoil(work);
    }
    work()
}

/// Writing; a spoilt one may get half of the bytes onto the disk, as a full one does.
pub(crate) fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    if let Some(fault) = fault::due("write") {
        return fault.spoil(|| file.write_all(&bytes[..bytes.len() / 2]));
    }
    file.write_all(bytes)
}

/// Reading.
pub(crate) struct Reading<'a>(pub(crate) &'a File);

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        step("read", || self.0.read(buffer))
    }
}

#[cfg(test)]
pub(crate) mod fault {
    use std::{
        cell::{Cell, RefCell},
        io,
    };

    /// What becomes of the step that is to fail.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub(crate) enum Fault {
        /// Nothing of it happens.
        Refused,
        /// It happens (a write by half), and reports a failure all the same.
        Late,
        /// As `Late`, and no later step happens either: what a crash leaves behind.
        Crash,
        /// The time after a `Crash`.
        Dead,
    }

    thread_local! {
        static PLAN: Cell<Option<(u32, Fault)>> = const { Cell::new(None) };
        static TRACE: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }

    /// Runs `work` with its step number `nth` (from 0) failing; true when there was such a step.
    pub(crate) fn at<R>(nth: u32, fault: Fault, work: impl FnOnce() -> R) -> (R, bool) {
        PLAN.set(Some((nth, fault)));
        let result = work();
        let untouched = PLAN.take().is_some_and(|(_, left)| left == fault);
        (result, !untouched)
    }

    /// The names of the steps that change the disk or flush it, in the order in which `work` takes them.
    pub(crate) fn trace(work: impl FnOnce()) -> Vec<&'static str> {
        TRACE.take();
        work();
        let mut steps = TRACE.take();
        steps.retain(|name| !["look", "open", "seek", "read", "list"].contains(name));
        steps
    }

    pub(super) fn due(name: &'static str) -> Option<Fault> {
        TRACE.with_borrow_mut(|trace| trace.push(name));
        let (left, fault) = PLAN.get()?;
        PLAN.set(match (left, fault) {
            (0, Fault::Crash | Fault::Dead) => Some((0, Fault::Dead)),
            (0, Fault::Refused | Fault::Late) => None,
            (left, fault) => Some((left - 1, fault)),
        });
        (left == 0).then_some(fault)
    }

    impl Fault {
        pub(super) fn spoil<R>(self, work: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
            if matches!(self, Fault::Late | Fault::Crash) {
                let _ = work();
            }
            Err(io::ErrorKind::StorageFull.into())
        }
    }
}
