//! Fault injection: every operation on the disk passes through here, so that a test can make any
//! single one fail.

use std::{
    fs::File,
    io::{self, Read, Write},
};

/// Runs one operation. The tests that check the order of operations see its name.
pub(crate) fn step<R>(_name: &'static str, work: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    #[cfg(test)]
    if let Some(fault) = fault::next(_name) {
        return fault.inject(work);
    }
    work()
}

/// Writes all of `bytes`. With a fault, half of them may be written, as on a full disk.
pub(crate) fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    if let Some(fault) = fault::next("write") {
        return fault.inject(|| file.write_all(&bytes[..bytes.len() / 2]));
    }
    file.write_all(bytes)
}

/// Reads a file, each read a step of its own.
pub(crate) struct StepReader<'a>(pub(crate) &'a File);

impl Read for StepReader<'_> {
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

    /// How a step fails.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub(crate) enum Fault {
        /// It has no effect and reports an error.
        WithoutEffect,
        /// It takes effect (a write by half), but reports an error.
        AfterEffect,
        /// Like `AfterEffect`, and all later steps fail without effect: what a crash leaves behind.
        Crash,
        /// A step after a `Crash`.
        Crashed,
    }

    thread_local! {
        static PLAN: Cell<Option<(u32, Fault)>> = const { Cell::new(None) };
        static TRACE: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }

    /// Runs `work` with a fault in its step number `nth` (from 0); true when there was such a step.
    pub(crate) fn with_fault<R>(nth: u32, fault: Fault, work: impl FnOnce() -> R) -> (R, bool) {
        PLAN.set(Some((nth, fault)));
        let result = work();
        let untouched = PLAN.take().is_some_and(|(_, left)| left == fault);
        (result, !untouched)
    }

    /// The names of the steps of `work` that change or flush the disk, in their order.
    pub(crate) fn trace(work: impl FnOnce()) -> Vec<&'static str> {
        TRACE.take();
        work();
        let mut steps = TRACE.take();
        steps.retain(|name| !["stat", "open", "seek", "read", "list"].contains(name));
        steps
    }

    pub(super) fn next(name: &'static str) -> Option<Fault> {
        TRACE.with_borrow_mut(|trace| trace.push(name));
        let (left, fault) = PLAN.get()?;
        PLAN.set(match (left, fault) {
            (0, Fault::Crash | Fault::Crashed) => Some((0, Fault::Crashed)),
            (0, Fault::WithoutEffect | Fault::AfterEffect) => None,
            (left, fault) => Some((left - 1, fault)),
        });
        (left == 0).then_some(fault)
    }

    impl Fault {
        pub(super) fn inject<R>(self, work: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
            if matches!(self, Fault::AfterEffect | Fault::Crash) {
                let _ = work();
            }
            Err(io::ErrorKind::StorageFull.into())
        }
    }
}
