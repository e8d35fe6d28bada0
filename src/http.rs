//! The one HTTP client of the house: where it may go, how long it may take, how much it may swallow.
//!
//! A [`Client`] is made once per service, from [`ClientSettings`]. It reaches the **origins it was given and no other**:
//! the address is compared before a connection is opened, and redirects are not followed but handed to the caller, who
//! asks again if the new address is one of his. Proxies from the environment are not used, for the same reason. TLS
//! certificates are always verified: against the system's roots, or, with `ca_file`, against those in the file *only*,
//! because then the endpoint is a rehearsal and nothing else should pass for it.
//!
//! **Names lead to the internet.** Each connection's name is looked up once, and goes to the addresses that were looked at;
//! none of them may be of a private network, of this machine or otherwise special ([`refused`]). Only an origin that is
//! this machine by its own word (`localhost`, `127.0.0.1`) leads there: a rehearsal.
//!
//! **An answer is whole or it is an error.** A body that ends before its `Content-Length` or its last chunk, a gzip stream
//! without its trailer, and a connection that dies in between are [`HttpError`]s of class `Transient`, never a value; a
//! half page must not become "sold out". (A body that is ended by closing the connection, as HTTP/1.0 does, cannot show
//! that it was cut; whoever reads it must know its end.)
//!
//! **Everything is bounded**: connecting, the whole exchange, the silence within a body, the bytes on the wire, the bytes
//! after unpacking and the ratio between the two; hyper bounds the head (100 headers, about 400 KiB). Unpacking is ours
//! and not reqwest's, because reqwest's has no bounds.
//!
//! **What is repeated.** Nothing, but one case: a request that may be repeated (GET, HEAD, PUT, DELETE, or
//! [marked](Request::repeatable)), whose connection was lost before a single byte of answer, while kept connections were
//! about: then the server most likely closed an idle connection at that very moment. It is sent once more. All other
//! repeating belongs to the queue and the planner.
//!
//! **Secrets** travel in headers and bodies that no `Debug` or error shows; addresses appear without their query.

mod address;
mod answer;
mod client;
mod error;
mod request;
mod retry_after;
mod unpack;

pub use address::{RefusedAddress, check_literal, refused};
pub use answer::{Answer, status_class};
pub use client::{BadClient, Client, ClientSettings, Limits, Origin, check_ca_file, for_reports};
pub use error::{ConnectFailure, HttpError};
pub use request::Request;
pub use retry_after::{RETRY_AFTER_MAX, RETRY_AFTER_MIN, retry_after};

use url::Url;

/// An address for people and logs: without query, fragment, user and password.
fn shown(url: &Url) -> String {
    let mut text = url.origin().ascii_serialization();
    text.push_str(url.path());
    text
}

#[cfg(test)]
mod tests;
