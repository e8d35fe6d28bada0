//! The scheduler: what is done at which time of the day, once, whoever and however many there are to do it.
//!
//! ```text
//!  time-table ─┐
//!  row ────────┼─▶ decide ──Fire──▶ one transaction: the next moment (compare-and-set), the run's row, its jobs
//!  the db's ───┘      │                    │ won
//!  clock              ├─Skip, Plan         ▼
//!                     ▼               the run: sign of life, counts, time limit ──▶ completed · partial · failed
//!                   the row
//! ```
//!
//! - **Once.** A firing is a compare-and-set on the row's next moment, by the database's clock. Any number of schedulers
//!   may try; one wins. What the clock does to it is decided purely ([`decide`]).
//! - **One run of a kind at a time.** The run's row is a lock: a second one is refused by an index, and the firing left
//!   out and said to be. A run whose owner died is given up, so that the next one may begin.
//! - **Work in pieces is jobs.** A sweep's jobs are enqueued in the transaction of its firing; whoever runs the queue does
//!   them, and the run counts. What is one piece (a report, a backup) is done by the scheduler that won.
//! - **An outage is waited out.** A run goes on while the database is away; what came of it is written when it is back.

mod action;
mod backup;
mod clean_up;
pub mod decide;
mod reconcile;
mod report;
mod run;
mod scheduler;
mod sweep;
pub mod timetable;

pub use action::{Action, Done, Failure, Progress, Run, action};
pub use backup::{BackupPlace, back_up};
pub use clean_up::{Keep, clean_up};
pub use reconcile::{ReadBackPlan, ReadBackShop, read_back};
pub use report::{day_of, summarise, validate};
pub use run::{HEARTBEAT, SILENCE};
pub use scheduler::{Refused, Scheduler, SchedulerParts};
pub use sweep::{Sweep, SweepKind};
pub use timetable::{Cron, Entry, Missed, ScheduleName, Timetable};
