//! What can be typed.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Watches the stock and price of goods at Japanese sources and keeps the listings on other shops in line.
#[derive(Debug, Parser)]
#[command(
    name = "zaikoban",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Answer as JSON, for machines
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The settings file [default: /etc/zaikoban/zaikoban.toml when it is there]
    #[arg(long, global = true, env = "ZAIKOBAN_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The daemon's control socket [default: the one in the settings]
    #[arg(long, global = true, env = "ZAIKOBAN_SOCKET", value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in the foreground until SIGTERM or Ctrl-C
    Run(RunArgs),
    /// Show the daemon's state: database, platforms, counts, what needs a person
    Status,
    /// Show the live supervision tree: state, restarts, last exit, mailbox, uptime
    Tree,
    /// Register, list, pause and check products
    #[command(subcommand)]
    Products(Products),
    /// Link, list, plan and push the offers at the destinations
    #[command(subcommand)]
    Listings(Listings),
    /// Decide on changes that wait for a person
    #[command(subcommand)]
    Holds(Holds),
    /// Show and switch the outside services
    #[command(subcommand)]
    Platforms(Platforms),
    /// Show and mend the work that waits
    #[command(subcommand)]
    Queue(Queue),
    /// Show what zaikoban recorded as going wrong, one trouble a line
    Errors(PageArgs),
    /// Emergency stop: send nothing to any destination (watching goes on)
    StopAll,
    /// End the emergency stop
    ResumeAll,
    /// Read the settings without starting anything
    #[command(subcommand)]
    Config(ConfigOrder),
    /// Bring the database to this program's schema
    Migrate(MigrateArgs),
    /// Serve simulated marketplaces on loopback, driven by a seeded script
    Simulate(SimulateArgs),
    /// Start simulator, database and daemon together and show the chain at work
    Demo(DemoArgs),
    /// Print what zaikoban reads from a saved page (exit 3: the page cannot be read)
    Extract(ExtractArgs),
    /// Break a part on purpose (builds with the feature `failpoints` only)
    #[cfg(feature = "failpoints")]
    Fault {
        /// What to do to it: panic, wedge (it waits for ever), fill (its mailbox) or block (its thread)
        #[arg(value_parser = ["panic", "wedge", "fill", "block"])]
        kind: String,
        /// The child's path as `zaikoban tree` shows it
        child: String,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Write the log as one JSON object a line
    #[arg(long)]
    pub(crate) log_json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PageArgs {
    /// How many rows
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Start behind this id (the last one of the page before)
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<i64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Products {
    /// Register one product by its source's address
    Add {
        /// The item's page, for example `https://auctions.yahoo.co.jp/jp/auction/s1238539612`
        source_url: String,
        /// A title to know it by until its page was read
        #[arg(long)]
        title: Option<String>,
        /// What the item costs: its buy-now price, or the current bid
        #[arg(long, default_value = "buy_now", value_parser = ["buy_now", "current_bid"])]
        cost_rule: String,
        /// Yen lost per hour while its listing is wrong; dearer products are looked at more often
        #[arg(long, value_name = "YEN", default_value_t = 1.0)]
        value_at_risk: f32,
    },
    /// Register many from a CSV file (columns: `source_url`, `title`, `cost_rule`, `value_at_risk`,
    /// `destination`, `sku`, `auto_sync`); all problems are named by line, and nothing is changed when there are any
    Import {
        /// The file; `-` is standard input
        file: PathBuf,
    },
    /// List products
    List {
        #[command(flatten)]
        page: PageArgs,
        /// Only these: `in_stock`, `out_of_stock`, `held`, `dead`, `changed`, `paused`
        #[arg(long)]
        state: Option<String>,
        /// Only titles that hold this text
        #[arg(long)]
        search: Option<String>,
    },
    /// Show one product: its watches, listings and latest changes
    Show { id: i64 },
    /// Stop looking at products
    Pause { ids: Vec<i64> },
    /// Look at products again
    Resume { ids: Vec<i64> },
    /// Forget products, their watches and listings (the offers at the destinations stay as they are)
    Remove { ids: Vec<i64> },
    /// Look at products now, before all others
    Check { ids: Vec<i64> },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Listings {
    /// Link an offer to a product: it is read first, and its auto-sync stays off unless --auto-sync
    Link {
        /// The product's number
        product: i64,
        /// Where it is offered
        #[arg(long, default_value = "ebay")]
        destination: String,
        /// The seller's own key of the offer at the destination
        #[arg(long)]
        sku: String,
        /// Begin to sync at once
        #[arg(long)]
        auto_sync: bool,
    },
    /// List offers
    List {
        #[command(flatten)]
        page: PageArgs,
        /// Only this destination
        #[arg(long)]
        destination: Option<String>,
        /// Only these: behind, held, paused, ended, active
        #[arg(long)]
        state: Option<String>,
    },
    /// Show one offer with its latest pushes
    Show { id: i64 },
    /// Dry run: what would be sent now, and why, without sending it
    Plan {
        #[command(flatten)]
        page: PageArgs,
        /// Only this offer
        #[arg(long)]
        id: Option<i64>,
    },
    /// Push offers now
    Push { ids: Vec<i64> },
    /// Why an offer has its quantity and price: observation, rule, version, who approved
    Explain { id: i64 },
    /// Stop syncing offers (by number, or all of a destination)
    Pause {
        ids: Vec<i64>,
        #[arg(long, conflicts_with = "ids")]
        destination: Option<String>,
    },
    /// Sync offers again (by number, or all of a destination)
    Resume {
        ids: Vec<i64>,
        #[arg(long, conflicts_with = "ids")]
        destination: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Holds {
    /// List what waits for a decision
    List(PageArgs),
    /// Let held changes through
    Accept {
        ids: Vec<i64>,
        /// Why; kept with the decision
        #[arg(long)]
        note: Option<String>,
    },
    /// Drop held changes
    Reject {
        ids: Vec<i64>,
        /// Why; kept with the decision
        #[arg(long)]
        note: Option<String>,
    },
    /// Let a held change through with other values
    Edit {
        id: i64,
        /// Pieces in stock
        #[arg(long)]
        stock: Option<u32>,
        /// What one costs, in the source's currency
        #[arg(long)]
        price: Option<String>,
        /// Why; kept with the decision
        #[arg(long)]
        note: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Platforms {
    /// List the outside services: gate, rate, latencies, last error
    List,
    /// Make no calls to a service
    Pause { platform: String },
    /// Make calls again
    Resume { platform: String },
    /// Close a tripped breaker now
    Reset { platform: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List jobs
    List {
        #[command(flatten)]
        page: PageArgs,
        /// Only these: pending, processing, failed, dead, completed
        #[arg(long)]
        status: Option<String>,
        /// Only this queue
        #[arg(long)]
        queue: Option<String>,
    },
    /// Show one job
    Show { id: i64 },
    /// Put failed or dead jobs back in line
    Retry { ids: Vec<i64> },
    /// Give up waiting, failed or dead jobs
    Discard { ids: Vec<i64> },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigOrder {
    /// Read the settings and name every problem; exit 78 when there are any
    Check,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Where to listen without TLS
    #[arg(long, default_value = "127.0.0.1:8480")]
    pub(crate) listen: std::net::SocketAddr,
    /// Where to listen with TLS; the certificate authority is written to --dir
    #[arg(long)]
    pub(crate) listen_tls: Option<std::net::SocketAddr>,
    /// Where the certificate authority and the addresses are written
    #[arg(long, default_value = "simulator")]
    pub(crate) dir: PathBuf,
    /// Products offered
    #[arg(long, default_value_t = 300)]
    pub(crate) products: u32,
    /// What happens is drawn from this number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Changes of stock or price a second, over all products
    #[arg(long, default_value_t = 2.0)]
    pub(crate) changes_per_s: f64,
    /// Without outages, slow, cut and drifted pages
    #[arg(long)]
    pub(crate) calm: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long, for example 60s or 5m [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    pub(crate) duration: Option<std::time::Duration>,
    /// The demo's settings
    #[arg(long, default_value = "config/demo.toml")]
    pub(crate) settings: PathBuf,
    /// Where database, sockets and log live; kept afterwards [default: a folder of its own under the temporary folder,
    /// removed when all went well]
    #[arg(long)]
    pub(crate) state_dir: Option<PathBuf>,
    /// What happens is drawn from this number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ExtractArgs {
    /// The platform whose page it is
    #[arg(long, default_value = "yahoo_auction", value_parser = ["yahoo_auction"])]
    pub(crate) platform: String,
    /// The saved page
    pub(crate) page: PathBuf,
    /// The address it was saved from
    #[arg(long)]
    pub(crate) url: String,
}

/// Reads `60s`, `5m`, `1h` or plain seconds.
fn parse_time(text: &str) -> Result<std::time::Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("expected a time such as 60s, 5m or 1h".to_owned()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|s| (1..=86_400).contains(s))
        .map(std::time::Duration::from_secs)
        .ok_or_else(|| "expected a time from 1s to 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(parse_time("60s").unwrap().as_secs(), 60);
        assert_eq!(parse_time("5m").unwrap().as_secs(), 300);
        for bad in ["", "0", "x", "5d", "99999999999999999999s"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
