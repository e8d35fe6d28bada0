//! What can be typed about the time-table, its runs and the day's figures.

use super::PageArgs;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Schedule {
    /// List what is done at which time: next and last firing in the time-table's zone, and what came of the last run
    #[command(
        after_help = "STATE is `off` when the settings say so, `paused` when a person does. The expressions are those of `[schedules]` in the settings.\n\nExample:\n  zaikoban schedule list"
    )]
    List,
    /// Have one run now, whatever the time-table says
    #[command(
        after_help = "One run of a kind goes on at a time: a second one is refused. Names: stock_sweep, price_sweep, reconcile, validation, health, clean_up, daily_summary, backup, exchange_rates.\n\nExample:\n  zaikoban schedule run stock_sweep\n  zaikoban schedule run validation --wait"
    )]
    Run {
        /// Which, as `zaikoban schedule list` names it
        name: String,
        /// Wait until it is done, and show what came of it (exit 1 unless all of it succeeded)
        #[arg(long)]
        wait: bool,
    },
    /// Keep some from firing by themselves; by hand they can be run all the same
    #[command(after_help = "It is kept over a restart.\n\nExample:\n  zaikoban schedule pause stock_sweep")]
    Pause {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Let them fire by themselves again
    #[command(
        after_help = "What was missed meanwhile is made up for once, or left out, as `missed` says in the settings.\n\nExample:\n  zaikoban schedule resume stock_sweep"
    )]
    Resume {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Executions {
    /// List runs, the newest first: when, how long, how many products, and what came of them
    #[command(
        after_help = "Example:\n  zaikoban executions list\n  zaikoban executions list --process stock_sweep --status failed"
    )]
    List {
        #[command(flatten)]
        page: PageArgs,
        /// Only of this kind, as `zaikoban schedule list` names it
        #[arg(long)]
        process: Option<String>,
        /// Only these: running, completed, failed, partial
        #[arg(long)]
        status: Option<String>,
    },
    /// Show one run with all that it found, by its id or its number
    #[command(after_help = "Example:\n  zaikoban executions show 12")]
    Show {
        /// Its id, or the number that stands in the log
        id: String,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SummaryArgs {
    /// Of this day, such as 2026-11-22 [default: the newest]
    #[arg(long, value_name = "DAY")]
    pub(crate) day: Option<String>,
    /// Print the page that was mailed
    #[arg(long, conflicts_with = "json")]
    pub(crate) html: bool,
}
