//! What can be typed about exchange rates.

use super::PageArgs;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Rates {
    /// List what was quoted, the newest first: yen for one unit of each currency
    #[command(
        after_help = "With `exchange.source = \"fixed\"` the rates of the settings are in use, whatever is listed here.\n\nExample:\n  zaikoban rates list\n  zaikoban rates list --json"
    )]
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Take a quote that waits into use: every listing is priced by it within half a minute
    #[command(after_help = "Example:\n  zaikoban rates accept 3 --note checked")]
    Accept {
        /// Which, as `zaikoban rates list` numbers it
        id: i64,
        /// Why; kept with the decision
        #[arg(long)]
        note: Option<String>,
    },
    /// Refuse a quote that waits: the rates in use stay until another one comes
    #[command(after_help = "Example:\n  zaikoban rates refuse 3 --note typo")]
    Refuse {
        /// Which, as `zaikoban rates list` numbers it
        id: i64,
        /// Why; kept with the decision
        #[arg(long)]
        note: Option<String>,
    },
}
