//! What a guard shares with those of the other nodes, as ports.
//!
//! Alone, a guard needs nobody. With several nodes on one account or one site, two things must be one: the rate, and
//! whether the service is left alone. `app` plugs in where they are kept together; while that is away, each node keeps to
//! its [share](Peers::share), and finds out by itself how the service is.

use futures_util::future::BoxFuture;
use std::time::Duration;
use tokio::time::Instant;

/// How long the others may count on a node after it asked for turns, the way of the question included.
///
/// One that is cut off from them keeps still for so long before it goes by its own share, or both would be used.
pub const COUNTED_ON_FOR: Duration = Duration::from_secs(3);

/// The guards of the other nodes, as far as they can be reached.
pub trait Peers: Send + Sync + 'static {
    /// The part of the service's rate that is this node's when each keeps to itself; 1 when there is no other node that
    /// calls it, 0 when this one must not. All nodes' shares are 1 together at the most.
    fn share(&self, service: &str) -> f64;

    /// Whether the others can be reached.
    fn are_reachable(&self) -> bool;

    /// Asks for turns of the common rate; `None` when nobody answers. A question counts as presence for at most
    /// [`COUNTED_ON_FOR`] from when it was put.
    fn turns(&self, service: &str, asked: TurnsAsked) -> BoxFuture<'static, Option<Turns>>;

    /// Whether this node is the one that tries a service again, for `lasts`; `None` when nobody answers.
    fn may_probe(&self, service: &str, lasts: Duration) -> BoxFuture<'static, Option<bool>>;

    /// Tells the others. Called while the guard is locked: hand it over and return.
    fn tell(&self, service: &str, news: News);
}

/// What is asked of the common rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TurnsAsked {
    /// This node's share.
    pub share: f64,
    /// How far two requests are apart by the whole rate.
    pub interval: Duration,
    /// How many turns.
    pub wanted: u32,
}

/// What it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turns {
    /// When each turn is; it is this node's alone, and it is lost when it is not used about then.
    pub at: Vec<Instant>,
    /// How far two turns of all nodes are apart.
    pub apart: Duration,
    /// When it is worth asking again, where there was none.
    pub again_at: Option<Instant>,
}

/// What one node tells the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The service fails: it is left alone.
    Shut {
        /// For so long.
        lasts: Duration,
        /// The exponent of the next wait.
        trips: u32,
    },
    /// It answers.
    Open,
    /// The one who was to try it again did not: somebody else may.
    ProbeReturned,
}

/// What one node hears of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// For how long the service is left alone from now; `None` when it answers.
    pub shut_for: Option<Duration>,
    /// The exponent of the next wait.
    pub trips: u32,
    /// Another number is other news.
    pub number: i64,
}
