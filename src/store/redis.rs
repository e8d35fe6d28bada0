//! Redis: what may be lost at any moment.
//!
//! PostgreSQL is the truth. Redis holds three things that are cheaper there, and nothing needs it to be right:
//!
//! | what | without it |
//! |---|---|
//! | [`lane`]: the ids of jobs that are due, so that workers need not search the table | the queue claims from PostgreSQL |
//! | [`limits`]: one rate for all nodes | each node keeps to its share of it |
//! | [`gates`]: that a platform is left alone, and who tries it again | each node finds out by itself |
//!
//! **An outage is a value**: a [`Trouble`], which says what it is and what to do. The first one closes the link's door:
//! whoever asks next hears at once that it is away, and nobody waits for a server that does not answer more than
//! [`ANSWER_LIMIT`] once. One keeper knocks again, with growing waits, and opens the door when the server can be written
//! to; whoever used it before uses it again by itself.
//!
//! **Emptied, restored, failed over.** A marker key tells the keeper every second whether what was put there may still be
//! there: it is gone after a `FLUSHALL`, another one after somebody else noticed first, and a new connection says that the
//! server may have come back with an older copy. Each of them changes [`Link::fills`], and whoever fills fills again.
//!
//! **Answers are bounded.** The client's parser reads what a server announces, half a gigabyte if it says so; so the
//! stream below it ends after [`bounded::MOST`] bytes for one question. This is also why there is no pool here: its
//! connections bring their own streams. One connection that all share carries more than the queue can use.
//!
//! **Keys** are `PREFIX:INSTANCE:…`, where the instance is the database itself ([`instance`]), so daemons of different
//! databases never meet, also when somebody points them at one Redis by mistake. All keys end by themselves when nobody
//! writes them any more. What is found under them and is not ours is removed or ignored, never believed.

pub mod bounded;
pub mod gates;
pub mod instance;
pub mod lane;
pub mod limits;
mod link;
mod server_clock;
mod settings;
mod status;
mod trouble;

pub use link::{ANSWER_LIMIT, Link, child};
pub use server_clock::ServerClock;
pub use settings::{BadRedis, RedisSettings};
pub use status::{Counted, Facts, RedisStatus};
pub use trouble::{Trouble, TroubleKind};
