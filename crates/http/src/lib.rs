//! HTTP for a client of model APIs.
//!
//! - [`base_url`] and [`client`] make a client that sends nothing to anybody else.
//! - [`Refusal`] reads the body of an error: the server's words, and what they are about.
//! - [`Retries`] says whether and when a request is sent again, by [`Advice`];
//!   [`Backoff`], how long to wait after failures of something larger.
//! - [`Secret`] is a key that nothing shows, [`Auth`] how it is sent.
//! - [`Limits`] bounds how long a request may take.
//! - [`read_body`] and [`cause`] bound what is read and say what went wrong.
//! - [`tapped`] lets somebody see what is read of a response.
mod backoff;
mod client;
mod limits;
mod refusal;
mod response;
mod retry;

pub use backoff::Backoff;
pub use client::{base_url, client, is_local, proxy};
pub use limits::{Auth, Limits, Secret, header_value};
pub use refusal::{Refusal, reported, status_of, unreadable};
pub use response::{cause, header, read_body, redact, redirect_host, tapped};
pub use retry::{Advice, Retries, advice, retry_after};
