//! HTTP for a client of model APIs.
//!
//! - [`Refusal`] reads the body of an error: the server's words, and what they are about.
//! - [`Retries`] says whether and when a request is sent again, by [`Advice`].
//! - [`read_body`] and [`cause`] bound what is read and say what went wrong.
mod refusal;
mod response;
mod retry;

pub use refusal::{Refusal, unreadable};
pub use response::{cause, header, proxy, read_body};
pub use retry::{Advice, Retries, advice, retry_after};
