//! Commands and queries that every door shares.
//!
//! A door reads a request, asks here, and shows the answer; what a command means, checks and changes is stated once, in
//! this room. Input is checked whole, and all its problems are told at once, before anything is changed. While the
//! daemon starts, [`Ops::status`] answers what it waits for, and everything else says that it is not ready.

mod alerts;
mod bulk;
mod credentials;
pub mod doctor;
mod drift;
mod error;
mod errors;
mod holds;
mod import;
mod importing;
mod listings;
mod nodes;
mod own_rules;
mod platforms;
mod preview;
mod process;
mod products;
mod queue;
mod rates;
mod registering;
mod reload;
mod schedule;
mod scrape;
mod status;
mod summary;

pub use alerts::{AlertsDecision, SilenceOrder};
pub use bulk::bulk_problems;
pub use credentials::{
    Account, Consent, ConsentAnswer, CredentialParts, CredentialsOrder, CredentialsRemoval,
    CredentialsRotation, NoConsent, fields_of, is_name,
};
pub use drift::DriftFilter;
pub use error::{InputProblem, OpsError};
pub use errors::{ErrorsAsked, ErrorsResolution};
pub use holds::{HoldEdit, HoldsDecision};
pub use listings::{LinkOrder, ListingFilter, ListingsSwitch};
pub use own_rules::RulesOrder;
pub use platforms::{Switched, Switching};
pub use products::{NewProductOrder, ProductFilter};
pub use queue::{JobEdit, JobFilter, JobsOrder, Queues, WorkersOrder};
pub use rates::{RATES_JUMPED, RatesDecision};
pub use registering::{CategoryQuestion, ListingDraft, RegisterOrder, RegistrationFilter, RetryOrder};
pub use reload::{Reload, Reloaded};
pub use schedule::{ExecutionFilter, SchedulesOrder, check_health};
pub use summary::Figures;

use crate::alert::Desk;
use crate::clock::Clock;
use crate::domain::{DestinationPlatform, SourcePlatform};
use crate::nodes::Keeper;
use crate::platform::gateway::RegistrarGateway;
use crate::pricing::PriceBook;
use crate::queue::fast::FastLanes;
use crate::resilience::Registry;
use crate::schedule::Scheduler;
use crate::store::status::StatusBoard;
use crate::store::views::{self, Thing, Window};
use crate::store::{Conn, Db};
use crate::supervision::{Handle, SendError, Tree};
use crate::sync::{Outlet, Syncer};
use crate::watch::holds::HoldsEnv;
use crate::watch::{Counters, Roster};
use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use tokio::time::Instant;

/// The orders that can be given to a daemon. Cheap to clone.
#[derive(Clone)]
pub struct Ops(Arc<Inner>);

struct Inner {
    started: Instant,
    started_at: DateTime<Utc>,
    /// What the start waits for, until `parts` is there.
    phase: watch::Sender<String>,
    parts: OnceLock<Parts>,
    tree: OnceLock<Tree>,
    /// How the settings are read again.
    reload: OnceLock<Reload>,
    /// Who pauses and resumes, one after another.
    switching: Switching,
    /// Where lists are imported.
    desk: importing::Desk,
    /// Held while `doctor` looks.
    examining: tokio::sync::Mutex<()>,
    /// The database's counts of `/metrics`.
    scraped: scrape::Kept,
}

/// What a started daemon consists of.
pub struct Parts {
    /// The database.
    pub db: Db,
    /// Every guard by its service's name.
    pub guards: Registry,
    /// Who knows which products are watched, and by whom.
    pub roster: Handle<Roster>,
    /// The watching side's numbers, by source.
    pub counters: Arc<HashMap<SourcePlatform, Arc<Counters>>>,
    /// How holds are decided.
    pub holds: HoldsEnv,
    /// This daemon among the nodes.
    pub keeper: Keeper,
    /// Each destination's syncer and way out.
    pub destinations: HashMap<DestinationPlatform, Selling>,
    /// What lets the daemon in at the platforms.
    pub credentials: CredentialParts,
    /// How prices are made.
    pub book: Arc<ArcSwap<PriceBook>>,
    /// How the database is.
    pub database: StatusBoard,
    /// Redis, and what is copied there, if it is used.
    pub redis: Option<FastLanes>,
    /// What is ordered of the queues, and what is done of them.
    pub queues: Queues,
    /// Who is told, and over what.
    pub alerts: Desk,
    /// What is done at which time.
    pub scheduler: Scheduler,
    /// Names of services whose endpoint is this machine.
    pub simulated: Vec<String>,
    /// What `doctor` looks at, in the order in which it is told.
    pub probes: doctor::Probes,
}

/// One destination.
pub struct Selling {
    /// Who keeps it in line.
    pub syncer: Handle<Syncer>,
    /// The way out.
    pub outlet: Arc<dyn Outlet>,
    /// The way to first listings, where it has one.
    pub registrar: Option<RegistrarGateway>,
}

/// A page of a list, as a door asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    limit: u16,
    after: i64,
}

/// Rows, and where the next page starts.
#[derive(Clone, Debug, Serialize)]
pub struct Rows {
    /// The rows.
    pub items: Vec<Value>,
    /// The id to pass as `after`; `None` on the last page.
    pub next: Option<i64>,
}

impl Page {
    /// At most 1,000 rows (50 unless said) behind the row `after`.
    #[must_use]
    pub fn new(limit: Option<u16>, after: Option<i64>) -> Self {
        Self {
            limit: limit.unwrap_or(50).clamp(1, 1000),
            after: after.unwrap_or(0),
        }
    }

    fn window(self) -> Window {
        Window {
            after: self.after,
            limit: i64::from(self.limit),
        }
    }

    /// The rows of this page; a full page may have another behind it.
    fn rows(self, items: Vec<Value>) -> Rows {
        let full = items.len() >= usize::from(self.limit);
        let last = items.last().and_then(|i| i.get("id")).and_then(Value::as_i64);
        Rows {
            items,
            next: last.filter(|_| full),
        }
    }
}

impl Ops {
    /// The orders of a daemon that has just begun to start.
    #[must_use]
    pub fn starting() -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            started_at: Clock::system().now(),
            phase: watch::Sender::new("starting".to_owned()),
            parts: OnceLock::new(),
            tree: OnceLock::new(),
            reload: OnceLock::new(),
            switching: Switching::default(),
            desk: importing::Desk::default(),
            examining: tokio::sync::Mutex::default(),
            scraped: scrape::Kept::default(),
        }))
    }

    /// Where whoever else sets the guards by the tables waits for its turn.
    #[must_use]
    pub fn switching(&self) -> Switching {
        self.0.switching.clone()
    }

    /// Says what the start waits for.
    pub fn set_phase(&self, phase: impl Into<String>) {
        self.0.phase.send_replace(phase.into());
    }

    /// What the daemon is doing.
    #[must_use]
    pub fn phase(&self) -> String {
        self.0.phase.borrow().clone()
    }

    /// Every change of [`phase`](Self::phase).
    #[must_use]
    pub fn phases(&self) -> watch::Receiver<String> {
        self.0.phase.subscribe()
    }

    /// The daemon is up: from here on every order is carried out. What it is doing is said with
    /// [`set_phase`](Self::set_phase): `phase` now, `running` once every product is watched.
    pub fn ready(&self, parts: Parts, tree: Tree, phase: &str) {
        self.set_phase(phase);
        drop(self.0.tree.set(tree));
        drop(self.0.parts.set(parts));
    }

    /// The tree, once the daemon is up.
    #[must_use]
    pub fn running_tree(&self) -> Option<&Tree> {
        self.0.tree.get()
    }

    fn parts(&self) -> Result<&Parts, OpsError> {
        self.0.parts.get().ok_or_else(|| OpsError::NotReady {
            what: "the daemon",
            why: self.phase(),
        })
    }

    /// The numbers, each once, of things that are all there.
    async fn all_there(&self, thing: Thing, ids: &[i64]) -> Result<Vec<i64>, OpsError> {
        let ids = checked_ids(ids)?;
        let missing = views::missing(&mut *self.conn().await?, thing, &ids).await?;
        if missing.is_empty() {
            Ok(ids)
        } else {
            Err(OpsError::missing(thing, &missing))
        }
    }

    async fn conn(&self) -> Result<Conn, OpsError> {
        Ok(self.parts()?.db.conn().await?)
    }
}

/// An actor that did not take the order.
fn unsent(what: &'static str) -> impl Fn(SendError) -> OpsError {
    move |error| OpsError::NotReady {
        what,
        why: error.to_string(),
    }
}

/// Numbers as a request gives them: at least one, at most 1,000; each counts once.
fn checked_ids(ids: &[i64]) -> Result<Vec<i64>, OpsError> {
    if ids.is_empty() || ids.len() > 1000 {
        let got = format!("{} of them", ids.len());
        return Err(OpsError::invalid("ids", "1 to 1000 numbers", &got));
    }
    let mut known = HashSet::new();
    Ok(ids.iter().copied().filter(|id| known.insert(*id)).collect())
}

/// A text that the tables can keep and a terminal can show.
fn text_problem(place: &str, text: &str, most: usize) -> Option<InputProblem> {
    let plain = text.chars().count() <= most && !text.chars().any(char::is_control);
    (!plain).then(|| {
        let expected = format!("at most {most} characters, none of them a control character");
        InputProblem::new(place, expected, &text.escape_debug().to_string())
    })
}

/// One word of several.
fn word_problem(place: &str, word: Option<&str>, known: &[&str]) -> Option<InputProblem> {
    let word = word.filter(|word| !known.contains(word))?;
    Some(InputProblem::new(
        place,
        format!("one of {}", known.join(", ")),
        word,
    ))
}
