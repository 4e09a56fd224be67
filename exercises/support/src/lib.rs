//! What the tests of exercises share: [`support`], and [`sum`] for the capstone.

// The file of the lessons' own tests asks its crate for these.
use lessons::{
    full, models, rehearse, rule_files, s01_loop, s05_skill_loading, s15_permissions,
    s16_event_bus, s17_session_management, s20_cache_optimization, s22_production_mailbox,
};

/// An agent before a scripted model, over real HTTP, in a fresh folder; and what a test looks at
/// afterwards. It is the very file that the lessons' tests use.
#[path = "../../../testing.rs"]
pub mod support;

pub mod sum;
