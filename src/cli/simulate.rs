//! `zaikoban simulate`: the marketplaces on loopback until Ctrl-C.

use super::args::SimulateArgs;
use super::output::{self, Exit};
use crate::app::rehearsal::{Markets, csv, registered};
use crate::simulator::{FaultPlan, Running, Simulator, SimulatorSettings};
use anyhow::Context;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn run(arguments: &SimulateArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::talk(&format!("error: no runtime: {error}"));
            return Exit::Failed;
        }
    };
    match runtime.block_on(simulate(arguments)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            output::talk(&format!("error: {error:#}"));
            Exit::Failed
        }
    }
}

async fn simulate(arguments: &SimulateArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&arguments.dir)
        .with_context(|| format!("cannot make `{}`", arguments.dir.display()))?;
    let directory = std::path::absolute(&arguments.dir)?;
    let [yahoo_port, ebay_port, mercari_port, amazon_port] = ports(arguments.listen.port());
    let tls = arguments.listen_tls.map(|a| ports(a.port()));
    let [yahoo_tls_port, ebay_tls_port, mercari_tls_port, amazon_tls_port] = tls.unwrap_or_default();
    let simulator = Simulator::start(SimulatorSettings {
        bind: arguments.listen.ip(),
        yahoo_port,
        ebay_port,
        mercari_port,
        amazon_port,
        tls: tls.is_some(),
        yahoo_tls_port,
        ebay_tls_port,
        mercari_tls_port,
        amazon_tls_port,
        directory: Some(directory.clone()),
        seed: arguments.seed,
        products: arguments.products,
        listings: arguments.products,
        mercari_listings: arguments.products,
        change_rate_per_s: arguments.changes_per_s,
        faults: if arguments.every_fault {
            FaultPlan::every()
        } else if arguments.calm {
            FaultPlan::default()
        } else {
            FaultPlan::bad_day()
        },
        ..SimulatorSettings::default()
    })?;
    write_down(&simulator, &directory)?;
    output::talk(&format!(
        "Yahoo! Auctions: {}\neBay: {}\nMercari Shops: {}\nAmazon: {}\nproducts, keys and addresses: {}\nCtrl-C ends it",
        simulator.urls.yahoo,
        simulator.urls.ebay,
        simulator.urls.mercari,
        simulator.urls.amazon,
        directory.display()
    ));
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    simulator.stop();
    Ok(())
}

/// eBay's door is one port further, Mercari's two, Amazon's three; a free port is taken for each when none was named.
fn ports(first: u16) -> [u16; 4] {
    if first == 0 {
        [0; 4]
    } else {
        [0, 1, 2, 3].map(|further| first.saturating_add(further))
    }
}

/// Addresses, keys and a product list, for whoever sets up a daemon against it. The list is written first: whoever finds
/// the addresses finds it too.
fn write_down(simulator: &Running, directory: &std::path::Path) -> anyhow::Result<()> {
    let catalogue = simulator.catalogue();
    for (name, markets) in [
        ("products.csv", Markets::Two),
        ("products-everywhere.csv", Markets::All),
    ] {
        std::fs::write(directory.join(name), csv(&registered(&catalogue, markets)))?;
    }
    let mut found = serde_json::to_value(&simulator.urls)?;
    if let Some(fields) = found.as_object_mut() {
        fields.insert("credentials".to_owned(), json!(catalogue.credentials));
        let amazon = catalogue.amazon;
        let keys = json!({
            "client_id": amazon.client_id, "client_secret": amazon.client_secret,
            "refresh_token": amazon.refresh_token, "seller_id": amazon.seller_id,
        });
        fields.insert("amazon_credentials".to_owned(), keys);
    }
    let (whole, draft) = (
        directory.join("simulator.json"),
        directory.join("simulator.json.new"),
    );
    std::fs::write(&draft, serde_json::to_vec_pretty(&found)?)?;
    std::fs::rename(draft, whole)?;
    Ok(())
}
