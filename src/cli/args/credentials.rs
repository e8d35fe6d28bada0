//! What can be said of credentials. No value is ever an argument: arguments are seen by everybody who lists processes.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Credentials {
    /// Keep a platform's secrets sealed; they count at once
    #[command(
        after_help = "On a terminal each value is asked for and not shown; an empty line leaves one as it is. Otherwise\nstandard input, or the file, holds lines `name=value`, or with --field the value alone. What the settings file\ngives stands over what is kept here.\n\nExample:\n  zaikoban credentials set ebay\n  zaikoban credentials set ebay --field client_secret --from-file secret.txt\n  zaikoban credentials set amazon --field client_secret --ends-on 2027-05-01\n  zaikoban credentials set ebay --ends-on 2028-05-01"
    )]
    Set {
        /// The platform: `ebay`, `amazon`, `amazon_seller`, `mercari`
        platform: String,
        /// Only this one: `client_id`, `client_secret`, `refresh_token`; of mercari `token`
        #[arg(long, value_name = "NAME")]
        field: Option<String>,
        /// Read from this file instead of standard input
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
        /// The last day of the one that ends (amazon: `client_secret`; ebay: `refresh_token`; mercari: `token`), given with
        /// it, or alone for the one that is kept; you are warned 14 days before
        #[arg(long, value_name = "YYYY-MM-DD")]
        ends_on: Option<chrono::NaiveDate>,
    },
    /// List which secrets are kept, by whom, with which key and until when; never a value
    #[command(after_help = "Example:\n  zaikoban credentials list")]
    List,
    /// Forget a platform's secrets, and its tokens with them
    #[command(
        after_help = "Nothing is sent to the platform until they are set again.\n\nExample:\n  zaikoban credentials remove ebay\n  zaikoban credentials remove ebay --field refresh_token"
    )]
    Remove {
        /// The platform: `ebay`, `amazon`, `amazon_seller`, `mercari`
        platform: String,
        /// Only this one
        #[arg(long, value_name = "NAME")]
        field: Vec<String>,
    },
    /// Seal everything again with the first key of the key file
    #[command(
        after_help = "All or nothing. Old keys stay in the key file: backups of the database need them.\n\nExample:\n  zaikoban credentials rotate --new-key"
    )]
    Rotate {
        /// Put a new key in front of the others first
        #[arg(long)]
        new_key: bool,
    },
    /// Ask for a seller's consent: prints an address to open, reads the code that it ends with, keeps the refresh token
    #[command(
        after_help = "Paste the code, or the whole address that the browser ended at; it works for some minutes and once.\nNeeded before: the client id and secret, and `platforms.ebay.ru_name` in the settings.\n\nExample:\n  zaikoban credentials authorize ebay"
    )]
    Authorize {
        /// The platform: ebay (the others take what their own pages give: `credentials set`)
        platform: String,
    },
}
