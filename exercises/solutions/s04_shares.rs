use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How many steps are left, in a budget or in a share.
#[derive(Clone)]
struct Left(Arc<AtomicUsize>);

impl Left {
    /// Takes so many, or nothing and says false. Several threads may ask at the same moment.
    fn take(&self, wanted: usize) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(wanted)).is_ok()
    }

    /// A share of what is left.
    fn share(&self, steps: usize) -> Option<Share> {
        let left = Left(Arc::new(steps.into()));
        self.take(steps).then(|| Share { left, from: self.clone() })
    }
}

/// The steps of a prompt.
struct Budget {
    left: Left,
}

/// The steps of one subagent.
struct Share {
    left: Left,
    /// Where the rest goes when this share is dropped.
    from: Left,
}

impl Budget {
    fn new(steps: usize) -> Self {
        Budget { left: Left(Arc::new(steps.into())) }
    }

    fn share(&self, steps: usize) -> Option<Share> {
        self.left.share(steps)
    }
}

impl Share {
    fn take(&self) -> bool {
        self.left.take(1)
    }

    fn share(&self, steps: usize) -> Option<Share> {
        self.left.share(steps)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.from.0.fetch_add(self.left.0.swap(0, Relaxed), Relaxed);
    }
}
