//! Things that go wrong on order, in the context of any child (feature `failpoints`; never in a release build).

use super::mailbox::Post;
use actix::fut::wrap_future;
use actix::{Actor, AsyncContext, Context};
use std::sync::Arc;
use std::time::Duration;

/// What is to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A panic in a future on the actor's context.
    Panic,
    /// An await that never ends, during which the actor takes no message and runs none of its futures.
    Wedge,
    /// All free places of the mailbox are taken for two seconds, or until the actor is restarted.
    Fill,
    /// The actor blocks its thread and never gives it back.
    Block,
}

/// No actor has this path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no actor has the path `{path}`; there are: {}", .actors.join(", "))]
pub struct NoSuchChild {
    /// What was asked for.
    pub path: String,
    /// What there is.
    pub actors: Vec<String>,
}

/// For how long a filled mailbox stays full.
const FULL_FOR: Duration = Duration::from_secs(2);

// === impl Fault ===

impl Fault {
    pub(super) fn inject<A: Actor<Context = Context<A>>>(self, ctx: &mut Context<A>, post: &Arc<Post<A>>) {
        match self {
            Self::Panic => {
                #[expect(clippy::panic, reason = "this is what was asked for")]
                let boom = async { panic!("a panic was ordered") };
                ctx.spawn(wrap_future(boom));
            }
            Self::Wedge => ctx.wait(wrap_future(std::future::pending())),
            Self::Fill => {
                let places = post.fill();
                ctx.spawn(wrap_future(async move {
                    tokio::time::sleep(FULL_FOR).await;
                    drop(places);
                }));
            }
            Self::Block => {
                ctx.spawn(wrap_future(async {
                    loop {
                        std::thread::park();
                    }
                }));
            }
        }
    }
}
