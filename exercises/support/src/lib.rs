//! What the tests of exercises share: [`support`], and [`sum`] for the capstone.

// The file of the lessons' own tests asks its crate for these.
use lessons::{models, rehearse, s01_loop};

/// An agent before a scripted model, over real HTTP, in a fresh folder; and what a test looks at
/// afterwards. It is the very file that the lessons' tests use.
#[path = "../../../testing.rs"]
pub mod support;

pub mod sum;
