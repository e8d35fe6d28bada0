//! What can be typed.

mod credentials;
mod rates;
mod schedule;

pub(crate) use credentials::Credentials;
pub(crate) use rates::Rates;
pub(crate) use schedule::{Executions, Schedule, SummaryArgs};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Example:
  zaikoban run --config /etc/zaikoban/zaikoban.toml
  zaikoban products add https://auctions.yahoo.co.jp/jp/auction/s1238539612
  zaikoban listings link 1 --sku MY-SKU
  zaikoban listings plan
  zaikoban listings resume 1
  zaikoban status

What was asked for goes to stdout, everything else to stderr.
Exit codes: 0 done; 1 refused, failed, or done only in part; 2 the arguments cannot be read; 3 the page cannot be read;
69 no daemon answers; 70 the daemon gave up; 75 another daemon runs; 78 the settings cannot be used.";

/// Watches the stock and price of goods at Japanese sources and keeps the listings on other shops in line.
#[derive(Debug, Parser)]
#[command(
    name = "zaikoban",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = AFTER_HELP
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
    #[command(after_help = "Example:\n  zaikoban run --config /etc/zaikoban/zaikoban.toml")]
    Run(RunArgs),
    /// Show the daemon's state: database, platforms, counts, what needs a person
    #[command(after_help = "Example:\n  zaikoban status\n  zaikoban status --watch")]
    Status(WatchArgs),
    /// Show the live supervision tree: state, restarts, last exit, mailbox, uptime
    #[command(after_help = "Example:\n  zaikoban tree\n  zaikoban tree --watch 5")]
    Tree(WatchArgs),
    /// Look at everything the daemon stands on, and say what to do about each trouble
    #[command(
        after_help = "It looks at settings, socket, database, disk, memory, clock, credentials and each platform (one harmless question, within its rate). Without a daemon it looks at what can be seen without one. Exit 0: nothing failed (warnings there may be); exit 1: something failed.\n\nExample:\n  zaikoban doctor\n  zaikoban doctor --offline\n  zaikoban doctor --json"
    )]
    Doctor {
        /// Ask nobody outside of this machine
        #[arg(long)]
        offline: bool,
    },
    /// Print the daemon's numbers as Prometheus reads them
    #[command(
        after_help = "The control socket serves the same at /metrics:\n  curl --unix-socket /run/zaikoban/control.sock http://zaikoban/metrics\n\nExample:\n  zaikoban metrics"
    )]
    Metrics,
    /// Register, list, pause and check products
    #[command(subcommand)]
    Products(Products),
    /// Link, list, plan and push the offers at the destinations
    #[command(subcommand)]
    Listings(Listings),
    /// Decide on changes that wait for a person
    #[command(subcommand)]
    Holds(Holds),
    /// Show the exchange rates that were quoted, and decide about one that moved too far
    #[command(subcommand)]
    Rates(Rates),
    /// Show and switch the outside services
    #[command(subcommand)]
    Platforms(Platforms),
    /// Keep, list, remove and renew what lets the daemon in at the platforms
    #[command(subcommand)]
    Credentials(Credentials),
    /// Show the queues (without a further word), mend the work that waits, and say how many workers do it
    #[command(after_help = "Example:\n  zaikoban queue\n  zaikoban queue --json")]
    Queue {
        #[command(subcommand)]
        order: Option<Queue>,
    },
    /// Show what is done at which time, have it done now, stop it for a while
    #[command(subcommand)]
    Schedule(Schedule),
    /// Show what was run: sweeps, reports, clean-ups, backups
    #[command(subcommand)]
    Executions(Executions),
    /// Show a day in figures, as it was mailed
    #[command(
        after_help = "It is written each evening by the time-table's `daily_summary`.\n\nExample:\n  zaikoban summary\n  zaikoban summary --day 2026-11-22 --html > day.html\n  zaikoban summary --json"
    )]
    Summary(SummaryArgs),
    /// Save the database into `backups` in the state folder, and wait until that is done
    #[command(
        after_help = "The same as `zaikoban schedule run backup --wait`. The file is written by pg_dump and read back by pg_restore before it bears its name; the newest few are kept (`schedules.keep.backups`).\n\nExample:\n  zaikoban backup"
    )]
    Backup,
    /// Show what zaikoban recorded as going wrong, and say what was done about it
    #[command(subcommand)]
    Errors(Errors),
    /// Show what a person was told, acknowledge, silence, and test the ways to tell
    #[command(subcommand)]
    Alerts(Alerts),
    /// Show how long it takes from a page being read to its listing being accepted: p50, p95, p99
    #[command(after_help = "Example:\n  zaikoban delay --window 24h")]
    Delay {
        /// Over how long, for example 30m or 24h
        #[arg(long, default_value = "1h", value_parser = parse_time)]
        window: std::time::Duration,
    },
    /// Show the daemons that work on this database: which lives, since when, and what each does
    #[command(
        after_help = "HEARD is how long ago a node was heard of, by the database's clock; after 10 s it counts as dead and the others do its part. SHARDS is its part of the watching, of 256; ROLES is what one node does for all.\n\nExample:\n  zaikoban nodes\n  zaikoban nodes --json"
    )]
    Nodes,
    /// Hand everything this node does to the others; then it can be stopped without a gap
    #[command(
        after_help = "It waits until all is handed over. The daemon goes on running, with nothing to do, until it is stopped; `--undo` lets it take part again. A stop (SIGTERM) hands over by itself.\n\nExample:\n  zaikoban drain\n  zaikoban drain --undo"
    )]
    Drain {
        /// Take part in the work again
        #[arg(long)]
        undo: bool,
    },
    /// Emergency stop: send nothing to any destination (watching goes on)
    #[command(
        after_help = "Requests that are on their way already end by themselves. The stop is kept over a restart.\n\nExample:\n  zaikoban stop-all"
    )]
    StopAll,
    /// End the emergency stop
    #[command(
        after_help = "What changed meanwhile is sent at once. A platform that was paused by itself stays paused.\n\nExample:\n  zaikoban resume-all"
    )]
    ResumeAll,
    /// Have the daemon read its settings again: what can change does, the rest is named
    #[command(
        after_help = "All or nothing: while one setting cannot be used, all stay as they are, and every problem is told. SIGHUP does the same, and opens the log's files anew.\n\nExample:\n  zaikoban reload"
    )]
    Reload,
    /// Check, show and take over settings without starting anything
    #[command(subcommand)]
    Config(ConfigOrder),
    /// Bring the database to this program's schema
    #[command(after_help = "Example:\n  zaikoban migrate --dry-run")]
    Migrate(MigrateArgs),
    /// Serve simulated marketplaces on loopback, driven by a seeded script
    #[command(after_help = "Example:\n  zaikoban simulate --products 50 --seed 7 --calm")]
    Simulate(SimulateArgs),
    /// Start simulator, database and daemon together and show the chain at work
    #[command(after_help = "Example:\n  zaikoban demo --for 60s")]
    Demo(DemoArgs),
    /// Print a script that completes commands in a shell
    #[command(
        after_help = "Example:\n  zaikoban completions bash\n\nbash looks for what this prints in /etc/bash_completion.d/zaikoban."
    )]
    Completions {
        #[arg(value_parser = clap::value_parser!(clap_complete::Shell))]
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages, one for each command
    #[command(after_help = "Example:\n  zaikoban man /usr/local/share/man/man1")]
    Man {
        /// The folder, made when it is not there
        folder: PathBuf,
    },
    /// Print what zaikoban reads from a saved page (exit 3: the page cannot be read)
    #[command(
        after_help = "Example:\n  zaikoban extract page.html --url https://auctions.yahoo.co.jp/jp/auction/s1238539612"
    )]
    Extract(ExtractArgs),
    /// Break a part on purpose (builds with the feature `failpoints` only)
    #[command(after_help = "Example:\n  zaikoban fault panic ledger/writer")]
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
pub(crate) struct WatchArgs {
    /// Show it again and again, every so many seconds (2 unless said), until Ctrl-C; with --json one object a line
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) watch: Option<u64>,
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
    #[command(
        after_help = "It is looked at at once. Its offers are linked with `zaikoban listings link`.\n\nExample:\n  zaikoban products add https://auctions.yahoo.co.jp/jp/auction/s1238539612 --title lamp"
    )]
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
    /// `destination`, `sku`, `auto_sync`, `rules`); all problems are named by line, and nothing is changed when there are any
    #[command(
        after_help = "Example:\n  zaikoban products import list.csv --dry-run\n  zaikoban products import list.csv\n\nOnce the daemon has the list it goes on, whether this command waits or not; what came of it is in its log, too.\n\nA list:\n  source_url,sku,auto_sync\n  https://auctions.yahoo.co.jp/jp/auction/s1238539612,MY-SKU,false"
    )]
    Import {
        /// The file, in UTF-8 or CP932; `-` is standard input
        file: PathBuf,
        /// Only say what would be done; offers are not read
        #[arg(long)]
        dry_run: bool,
    },
    /// List products
    #[command(
        after_help = "Example:\n  zaikoban products list --state held\n  zaikoban products list --search lamp --limit 20"
    )]
    List {
        #[command(flatten)]
        page: PageArgs,
        /// Only these: `in_stock`, `out_of_stock`, `held`, `dead`, `changed`, `active`, `paused`
        #[arg(long)]
        state: Option<String>,
        /// Only titles that hold this text, or the item of this id
        #[arg(long)]
        search: Option<String>,
    },
    /// Show one product: its watches, listings and latest changes
    #[command(after_help = "Example:\n  zaikoban products show 1")]
    Show { id: i64 },
    /// Stop looking at products
    #[command(after_help = "Their listings stay as they are.\n\nExample:\n  zaikoban products pause 1 2")]
    Pause {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Look at products again
    #[command(
        after_help = "It also ends the quarantine of a product whose watcher kept crashing.\n\nExample:\n  zaikoban products resume 1 2"
    )]
    Resume {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Forget products, their watches and listings (the offers at the destinations stay as they are)
    #[command(after_help = "Example:\n  zaikoban products remove 1 2")]
    Remove {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Look at products now, before all others
    #[command(after_help = "Example:\n  zaikoban products check 1 2")]
    Check {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Listings {
    /// Link an offer to a product: it is read first, and its auto-sync stays off unless --auto-sync
    #[command(
        after_help = "Example:\n  zaikoban listings link 1 --sku MY-SKU\n  zaikoban listings link 2 --sku OTHER --set margin_bp=1500 --set floor=20\n  zaikoban listings plan\n  zaikoban listings resume 1"
    )]
    Link {
        /// The product's number
        product: i64,
        /// Where it is offered
        #[arg(long, default_value = "ebay")]
        destination: String,
        /// The seller's own key of the offer at the destination
        #[arg(long)]
        sku: String,
        /// Which offer, where the destination has several of that key
        #[arg(long)]
        offer: Option<String>,
        /// Begin to sync at once
        #[arg(long)]
        auto_sync: bool,
        /// A pricing rule that differs from the destination's, as in the settings
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse_rule)]
        set: Vec<(String, serde_json::Value)>,
    },
    /// List products for the first time: a dry run unless --yes
    #[command(
        after_help = "The file is JSON: `defaults` holds what all listings have in common, `listings` one object each with `product`, `sku` and what is its own. Quantity and price are worked out by the pricing rules.\n\nExample:\n  zaikoban listings create new.json\n  zaikoban listings create new.json --yes --wait\n  zaikoban listings create --status\n  zaikoban listings create --retry"
    )]
    Create {
        /// The listings to be, or - for standard input
        #[arg(required_unless_present_any = ["status", "retry"])]
        file: Option<std::path::PathBuf>,
        /// Where, whatever the file says
        #[arg(long)]
        to: Option<String>,
        /// Begin; without it only what would be sent is shown
        #[arg(long)]
        yes: bool,
        /// Keep the new listings in line at once
        #[arg(long)]
        auto_sync: bool,
        /// Show how far they are until nothing is under way
        #[arg(long, requires = "yes")]
        wait: bool,
        /// Show how far first listings are
        #[arg(long, conflicts_with_all = ["file", "yes", "auto_sync", "wait"])]
        status: bool,
        /// Go on with those whose work was given up after errors or discarded, from where each stands
        #[arg(long, conflicts_with_all = ["file", "yes", "auto_sync", "wait", "status"])]
        retry: bool,
        /// With --status: only these: `waiting`, `item_made`, `offer_made`, `published`, `failed`
        #[arg(long, requires = "status")]
        state: Option<String>,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Ask a destination for categories that fit some words
    #[command(after_help = "Example:\n  zaikoban listings category film camera --marketplace EBAY_US")]
    Category {
        /// What is to be sold
        #[arg(required = true)]
        words: Vec<String>,
        /// Where
        #[arg(long, default_value = "ebay")]
        destination: String,
        /// On which of its marketplaces
        #[arg(long, default_value = "EBAY_US")]
        marketplace: String,
    },
    /// List offers
    #[command(after_help = "Example:\n  zaikoban listings list --state behind")]
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
    #[command(after_help = "Example:\n  zaikoban listings show 1")]
    Show { id: i64 },
    /// Dry run: what would be sent now, and why, without sending it
    #[command(after_help = "Example:\n  zaikoban listings plan\n  zaikoban listings plan --id 1 --preview")]
    Plan {
        #[command(flatten)]
        page: PageArgs,
        /// Only this offer
        #[arg(long)]
        id: Option<i64>,
        /// Ask the destinations that can say so whether they would take it (Amazon); at most 20 questions
        #[arg(long)]
        preview: bool,
    },
    /// Push offers now
    #[command(
        after_help = "Only those that are behind and kept in line have anything to push.\n\nExample:\n  zaikoban listings push 1 2"
    )]
    Push {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// List what differed when offers were read back, the newest first
    #[command(
        after_help = "What is done about it says `sync.reconcile` in the settings.\n\nExample:\n  zaikoban listings drift --open\n  zaikoban listings drift --destination ebay --json"
    )]
    Drift {
        #[command(flatten)]
        page: PageArgs,
        /// Only this destination
        #[arg(long, alias = "platform")]
        destination: Option<String>,
        /// Only what is not over
        #[arg(long)]
        open: bool,
    },
    /// List the documents by which many prices were sent at once, the newest first
    #[command(
        after_help = "Only prices go so, and only to Amazon, when more wait than `bulk_after_s` allows. With --json the first refused prices stand beside each.\n\nExample:\n  zaikoban listings bulk\n  zaikoban listings bulk --destination amazon_seller --json"
    )]
    Bulk {
        #[command(flatten)]
        page: PageArgs,
        /// Only this destination
        #[arg(long, alias = "platform")]
        destination: Option<String>,
    },
    /// Read offers back now and compare them with what is believed
    #[command(
        after_help = "A difference is believed when it is seen twice, a minute or two apart. All of them: `zaikoban schedule run reconcile`.\n\nExample:\n  zaikoban listings read 1 2"
    )]
    Read {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// Why an offer has its quantity and price: observation, rule, version, who approved, each step to the price
    #[command(after_help = "Example:\n  zaikoban listings explain 1")]
    Explain { id: i64 },
    /// Show an offer's pricing rules, or change what differs from its destination's
    #[command(
        after_help = "The keys and values are those of `[pricing.destinations…]` in the settings; what is not set follows them. Quantity and price are worked out anew at once.\n\nExample:\n  zaikoban listings rules 1\n  zaikoban listings rules 1 --set margin_bp=1500 --set floor=20\n  zaikoban listings rules 1 --unset floor\n  zaikoban listings rules 1 --clear"
    )]
    Rules {
        id: i64,
        /// Let this rule differ
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse_rule)]
        set: Vec<(String, serde_json::Value)>,
        /// Let this rule follow the destination's again
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
        /// Let all of them follow, but for those that are set beside it
        #[arg(long)]
        clear: bool,
    },
    /// Stop syncing offers (by number, or all of a destination)
    #[command(
        after_help = "Example:\n  zaikoban listings pause 1 2\n  zaikoban listings pause --destination ebay"
    )]
    Pause {
        #[arg(required_unless_present = "destination")]
        ids: Vec<i64>,
        /// All of this destination
        #[arg(long, conflicts_with = "ids")]
        destination: Option<String>,
    },
    /// Sync offers again (by number, or all of a destination); a hold that was rejected ends with it
    #[command(
        after_help = "A hold that waits for a decision stays: `zaikoban holds list`.\n\nExample:\n  zaikoban listings resume 1 2\n  zaikoban listings resume --destination ebay"
    )]
    Resume {
        #[arg(required_unless_present = "destination")]
        ids: Vec<i64>,
        /// All of this destination
        #[arg(long, conflicts_with = "ids")]
        destination: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Holds {
    /// List what waits for a decision
    #[command(after_help = "Example:\n  zaikoban holds list")]
    List(PageArgs),
    /// Let held changes through
    #[command(after_help = "Example:\n  zaikoban holds accept 1 2 --note checked")]
    Accept {
        #[arg(required = true)]
        ids: Vec<i64>,
        /// Why; kept with the decision
        #[arg(long)]
        note: Option<String>,
    },
    /// Drop held changes
    #[command(
        after_help = "The listing of a rejected listing's hold stays as it stands until `zaikoban listings resume`.\n\nExample:\n  zaikoban holds reject 1 --note typo"
    )]
    Reject {
        #[arg(required = true)]
        ids: Vec<i64>,
        /// Why; kept with the decision
        #[arg(long)]
        note: Option<String>,
    },
    /// Let a held change through with other values
    #[command(after_help = "Example:\n  zaikoban holds edit 1 --stock 1 --price 4980")]
    Edit {
        id: i64,
        /// Pieces in stock
        #[arg(long)]
        stock: Option<i64>,
        /// What one costs, in the source's currency
        #[arg(long)]
        price: Option<String>,
        /// Why; kept with the decision
        #[arg(long)]
        note: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Errors {
    /// List troubles, each once with its count
    #[command(after_help = "Example:\n  zaikoban errors list --severity critical")]
    List {
        #[command(flatten)]
        page: PageArgs,
        /// Those that were resolved, too
        #[arg(long)]
        all: bool,
        /// Only these: low, medium, high, critical
        #[arg(long)]
        severity: Option<String>,
        /// Only of this product
        #[arg(long)]
        product: Option<i64>,
    },
    /// Show one trouble with all that was kept of it
    #[command(after_help = "Example:\n  zaikoban errors show 7")]
    Show { id: i64 },
    /// Mark troubles as dealt with; the same trouble afterwards is a new one
    #[command(after_help = "Example:\n  zaikoban errors resolve 7 8 --note signed-in-again")]
    Resolve {
        #[arg(required = true)]
        ids: Vec<i64>,
        /// What was done; kept with the error
        #[arg(long)]
        note: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// List alerts, each trouble once with its count
    #[command(after_help = "Example:\n  zaikoban alerts list\n  zaikoban alerts list --all --limit 200")]
    List {
        #[command(flatten)]
        page: PageArgs,
        /// Those that are over, too
        #[arg(long)]
        all: bool,
    },
    /// Show one alert: what is wrong, what happens next, what to do, and over what it was told
    #[command(after_help = "Example:\n  zaikoban alerts show 3")]
    Show { id: i64 },
    /// Say that you know: it is not told again unless it becomes worse
    #[command(after_help = "Example:\n  zaikoban alerts ack 3 4 --note looking-into-it")]
    Ack {
        #[arg(required = true)]
        ids: Vec<i64>,
        /// Why; kept with the alert
        #[arg(long)]
        note: Option<String>,
    },
    /// Say that it is over; met again, it is told again
    #[command(after_help = "Example:\n  zaikoban alerts resolve 3 --note new-keys")]
    Resolve {
        #[arg(required = true)]
        ids: Vec<i64>,
        /// What was done; kept with the alert
        #[arg(long)]
        note: Option<String>,
    },
    /// Tell nothing of a kind, a service or one alert for a while (it is recorded all the same)
    #[command(
        after_help = "What lasts longer than the silence is told at its end.\n\nExample:\n  zaikoban alerts silence --kind outage --platform ebay --for 2h --note maintenance\n  zaikoban alerts silence --id 3 --for 8h"
    )]
    Silence {
        /// Only this alert
        #[arg(long)]
        id: Option<i64>,
        /// Only this kind: `hold`, `error`, `dead_letter`, `outage`, `credentials`, `part_down`, `database`, `mass_out_of_stock`, `emergency_stop`, `channel`, `change`
        #[arg(long)]
        kind: Option<String>,
        /// Only this service
        #[arg(long)]
        platform: Option<String>,
        /// For how long, for example 30m or 8h
        #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
        time: std::time::Duration,
        /// Why
        #[arg(long)]
        note: Option<String>,
    },
    /// End silences
    #[command(after_help = "Example:\n  zaikoban alerts unsilence 1")]
    Unsilence {
        #[arg(required = true)]
        ids: Vec<i64>,
    },
    /// List the silences that have not ended
    #[command(after_help = "Example:\n  zaikoban alerts silences")]
    Silences,
    /// Show how mail, Slack, text messages and webhook do, and what waits for them
    #[command(after_help = "Example:\n  zaikoban alerts channels")]
    Channels,
    /// Send a test over every channel that is set up (or one) and say what came back
    #[command(after_help = "Example:\n  zaikoban alerts test\n  zaikoban alerts test --channel slack")]
    Test {
        /// Only this one: email, slack, sms, webhook
        #[arg(long)]
        channel: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Platforms {
    /// List the outside services: gate, rate, what became of the calls, last error
    #[command(after_help = "Example:\n  zaikoban platforms list")]
    List,
    /// What is left of the requests that a service grants: eBay counts them itself, Mercari's points are counted here
    #[command(after_help = "Example:\n  zaikoban platforms quotas ebay\n  zaikoban platforms quotas mercari")]
    Quotas { platform: String },
    /// Make no calls to a service
    #[command(after_help = "Kept over a restart.\n\nExample:\n  zaikoban platforms pause ebay")]
    Pause { platform: String },
    /// Make calls again
    #[command(after_help = "Example:\n  zaikoban platforms resume ebay")]
    Resume { platform: String },
    /// Let calls through a tripped breaker now, at the full rate, and sign in again at once
    #[command(
        after_help = "A pause stays. After new keys or a new permission were given at the platform, this ends the wait.\n\nExample:\n  zaikoban platforms reset ebay"
    )]
    Reset { platform: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List jobs
    #[command(
        after_help = "Example:\n  zaikoban queue list --status dead\n  zaikoban queue list --status dead --error 503 --destination ebay"
    )]
    List {
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        filter: JobFilterArgs,
    },
    /// Show one job: what it is about, where it stands, and why it did not succeed
    #[command(after_help = "Example:\n  zaikoban queue show 1")]
    Show { id: i64 },
    /// Put waiting, failed or dead jobs back in line, due now and with all their retries
    #[command(
        after_help = "Jobs are named by their numbers or by a filter. More than 20 by a filter need --yes.\n\nExample:\n  zaikoban queue retry 1 2\n  zaikoban queue retry --status dead --error 503 --dry-run\n  zaikoban queue retry --status dead --error 503 --yes"
    )]
    Retry(JobsArgs),
    /// Give up waiting, failed or dead jobs
    #[command(
        after_help = "Jobs are named by their numbers or by a filter. More than 20 by a filter need --yes.\n\nExample:\n  zaikoban queue discard 1 2\n  zaikoban queue discard --queue validation --status dead --yes"
    )]
    Discard(JobsArgs),
    /// Change the priority of waiting jobs: 1 is first, 10 last (high 1-3, normal 4-6, low 7-10)
    #[command(
        after_help = "Example:\n  zaikoban queue priority 1 17 18\n  zaikoban queue priority 9 --queue price_sync --yes"
    )]
    Priority {
        /// 1 to 10
        #[arg(value_parser = clap::value_parser!(i16).range(1..=10))]
        priority: i16,
        #[command(flatten)]
        jobs: JobsArgs,
    },
    /// Replace what a waiting or dead job tells its worker
    #[command(
        after_help = "Run `zaikoban queue retry` after it to have a dead one done.\n\nExample:\n  zaikoban queue edit 17 '{\"watch_id\":7}'"
    )]
    Edit {
        id: i64,
        /// A JSON object
        payload: String,
    },
    /// Say how many workers a queue has: a number, or from how many to how many by how long jobs wait
    #[command(
        after_help = "Reaches every daemon on this database within a second, and outlives restarts.\n\nExample:\n  zaikoban queue workers stock_check 5\n  zaikoban queue workers stock_check 2..8"
    )]
    Workers { queue: String, workers: String },
    /// Take nothing more from a queue; what runs is finished
    #[command(after_help = "Example:\n  zaikoban queue pause price_sync")]
    Pause { queue: String },
    /// Go on with a paused queue
    #[command(after_help = "Example:\n  zaikoban queue resume price_sync")]
    Resume { queue: String },
}

/// Jobs by what they are.
#[derive(Clone, Debug, Args)]
pub(crate) struct JobFilterArgs {
    /// Only these: pending, processing, failed, dead, completed
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only this queue
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// Only for this destination
    #[arg(long)]
    pub(crate) destination: Option<String>,
    /// Only about this product
    #[arg(long)]
    pub(crate) product: Option<i64>,
    /// Only with an error that holds this text
    #[arg(long)]
    pub(crate) error: Option<String>,
}

/// Jobs by number, or by what they are.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "status", "queue", "destination", "product", "error"]))]
pub(crate) struct JobsArgs {
    #[arg(conflicts_with_all = ["status", "queue", "destination", "product", "error"])]
    pub(crate) ids: Vec<i64>,
    #[command(flatten)]
    pub(crate) filter: JobFilterArgs,
    /// Only count them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// However many they are
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigOrder {
    /// Read the settings and name every problem; exit 78 when there are any
    #[command(after_help = "Example:\n  zaikoban config check --config /etc/zaikoban/zaikoban.toml")]
    Check,
    /// Show every setting as it is in force and where it is from: default, file and line, or environment
    #[command(after_help = "Secrets are only said to be there.\n\nExample:\n  zaikoban config show --json")]
    Show,
    /// Print the settings that an old `.env` comes to
    #[command(
        after_help = "The settings go to stdout; what has no counterpart, and what must go to `zaikoban credentials set`, is named on stderr. Secrets are never printed: with --secrets-dir each goes into a file of its own, readable by its owner alone, which the settings name. The old file is only read. Exit 1 when a value could not be used.\n\nExample:\n  zaikoban config import /srv/old/.env --secrets-dir /etc/zaikoban/secrets"
    )]
    Import {
        /// The old file
        file: PathBuf,
        /// The folder for the secrets' files, made when it is not there
        #[arg(long, value_name = "DIR")]
        secrets_dir: Option<PathBuf>,
    },
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
    #[arg(long, conflicts_with = "every_fault")]
    pub(crate) calm: bool,
    /// Every fault that the simulator knows, in place of a bad day's
    #[arg(long)]
    pub(crate) every_fault: bool,
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
    /// Every fault that the simulator knows, in place of a bad day's; at the end the daemon reads all listings back
    #[arg(long)]
    pub(crate) every_fault: bool,
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

/// Reads `margin_bp=1500`. Whether it is a rule, and a good one, says the daemon, with all else that is wrong.
fn parse_rule(text: &str) -> Result<(String, serde_json::Value), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("expected a rule and its value, such as margin_bp=1500")?;
    let (key, value) = (key.trim(), value.trim());
    Ok((key.to_owned(), crate::pricing::typed_rule(key, value)))
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

    /// Every command that can be given, by its words.
    fn commands(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
        let mut below = command
            .get_subcommands()
            .filter(|c| c.get_name() != "help")
            .peekable();
        if below.peek().is_none() {
            found.push((words.to_owned(), command.clone()));
        }
        for command in below {
            commands(command, &format!("{words} {}", command.get_name()), found);
        }
    }

    #[test]
    fn every_command_teaches_by_examples_that_can_be_given() {
        let mut all = Vec::new();
        commands(&Arguments::command(), "zaikoban", &mut all);
        assert!(all.len() > 30, "{}", all.len());
        for (words, command) in all {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 8, "`{words}` says what it does");
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let examples: Vec<&str> = help
                .lines()
                .map(str::trim)
                .filter(|l| l.starts_with("zaikoban "))
                .collect();
            assert!(
                examples.iter().any(|e| e.starts_with(&words)),
                "`{words}` has an example of itself: {help}"
            );
            for example in examples {
                // What the shell takes: where the output goes, and what comes next.
                let own = [" > ", " && "].iter().fold(example, |line, mark| {
                    line.split_once(mark).map_or(line, |(before, _)| before)
                });
                let parsed = Arguments::try_parse_from(own.split_whitespace());
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
        let help = AFTER_HELP
            .lines()
            .map(str::trim)
            .filter(|l| l.starts_with("zaikoban "));
        for example in help {
            assert!(
                Arguments::try_parse_from(example.split_whitespace()).is_ok(),
                "{example}"
            );
        }
    }

    #[test]
    fn commands_about_rows_want_at_least_one() {
        for words in [
            "products pause",
            "listings resume",
            "holds accept",
            "queue retry",
            "listings push",
        ] {
            let words = format!("zaikoban {words}");
            assert!(Arguments::try_parse_from(words.split(' ')).is_err(), "{words}");
        }
        let all = "zaikoban listings resume --destination ebay";
        assert!(Arguments::try_parse_from(all.split(' ')).is_ok());
        assert!(Arguments::try_parse_from(format!("{all} 1").split(' ')).is_err());
    }

    #[test]
    fn a_rule_is_typed_with_its_value() {
        let rule = |text: &str| parse_rule(text).map(|(key, value)| format!("{key} {value}"));
        assert_eq!(rule("margin_bp=1500"), Ok("margin_bp 1500".to_owned()));
        assert_eq!(rule("rounding = 80"), Ok("rounding \"80\"".to_owned()));
        assert_eq!(rule("floor=none"), Ok("floor \"none\"".to_owned()));
        assert!(rule("margin_bp").is_err());
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
