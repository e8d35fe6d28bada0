//! Every call to an outside service goes through its [`Guard`], and this is the one place that says in which order.
//!
//! ```text
//! permit → gate → time limit → call → classify → record
//! ```
//!
//! 1. **Permit.** Rate and concurrency. Callers stand in a bounded line by [`Priority`], zeros first; the rate is spread
//!    evenly, never a burst. A permit may be [reserved](Guard::reserve) before its use is known and is given back when it
//!    is dropped: the patrol asks for one first, and then asks the planner what is worth most *now*.
//! 2. **Gate.** Open, limited to one probe, or shut until an instant. It is looked at again when a reserved permit is
//!    used, because the service may have died in between. An operator's pause is a gate of its own.
//! 3. **Time limit.** A call that takes longer is dropped, which closes its connection.
//! 4. **Call.** A panic in it is caught, so that one strange answer does not take the caller's task along.
//! 5. **Classify.** By [`ErrorClass`](crate::domain::ErrorClass), the one classification of the house. Adapters decide
//!    the class; nothing here looks into messages.
//! 6. **Record.** Whatever the end was, dropping included, exactly once.
//!
//! | outcome | breaker | rate | as a probe |
//! |---|---|---|---|
//! | value, `NotFound`, `Rejected`, `Unauthorized` | well: the service answers | | opens the gate |
//! | `Transient`, `Blocked`, time limit, panic | a failure | | shuts it for twice as long |
//! | `Protocol` | nothing: the service is there, its pages changed | | shuts it: a probation asks for a good answer |
//! | `RateLimited` | nothing, until it persists three times at the floor rate: then it trips | halved, and nothing before `Retry-After` | shuts it |
//! | dropped | nothing | | the next caller probes |
//!
//! **Words.** A *breaker* decides whether to *trip* (`failsafe`, with our rule). The *gate* is *open*, *limited* or
//! *shut*, and owns until when. A *permit* is the right to make one call. The *pace* is the rate in force.
//!
//! **Retries** are not here: a durable queue repeats its jobs, a check is repeated by the planner (one layer only).
//!
//! **Over a restart** the gate and the cut rate are kept through [`GateStore`]: an open breaker stays open. What is kept
//! is a hint for politeness; without it the daemon works, and starts with an open gate.
//!
//! **Over several nodes** the rate is one and so is the gate, through [`Peers`]: a request goes at a turn of the common rate,
//! a gate that one node shuts is shut on all, and one node tries again. While they cannot be reached, each node keeps to
//! its share of the rate and finds out by itself.
//!
//! **An outage is a value**: [`CallError::Shut`] says until when, and work waits for it. Nothing here fails the process.

mod breaker;
mod gate;
mod guard;
mod pace;
mod peers;
mod permits;
pub mod policy;
mod portion;
mod record;
mod registry;

pub use guard::{CallError, Guard, Permit};
pub use peers::{COUNTED_ON_FOR, Heard, News, Peers, Turns, TurnsAsked};
pub use permits::Priority;
pub use policy::{BadPolicy, Opening, Policy, Rate};
pub use record::{Counts, GateRecord, GateStore, GateView, GuardStatus, LastError};
pub use registry::Registry;
