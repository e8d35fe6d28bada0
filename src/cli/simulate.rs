//! `zaikoban simulate`: the marketplaces on loopback until Ctrl-C.

use super::args::SimulateArgs;
use super::output::{self, Exit};
use crate::app::rehearsal;
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
    let (yahoo_port, ebay_port, mercari_port) = ports(arguments.listen.port());
    let tls = arguments.listen_tls.map(|a| ports(a.port()));
    let simulator = Simulator::start(SimulatorSettings {
        bind: arguments.listen.ip(),
        yahoo_port,
        ebay_port,
        mercari_port,
        tls: tls.is_some(),
        yahoo_tls_port: tls.map_or(0, |t| t.0),
        ebay_tls_port: tls.map_or(0, |t| t.1),
        mercari_tls_port: tls.map_or(0, |t| t.2),
        directory: Some(directory.clone()),
        seed: arguments.seed,
        products: arguments.products,
        listings: arguments.products,
        mercari_listings: arguments.products,
        change_rate_per_s: arguments.changes_per_s,
        faults: if arguments.calm {
            FaultPlan::default()
        } else {
            super::demo::lively()
        },
        ..SimulatorSettings::default()
    })?;
    write_down(&simulator, &directory)?;
    output::talk(&format!(
        "Yahoo! Auctions: {}\neBay: {}\nMercari Shops: {}\nproducts, keys and addresses: {}\nCtrl-C ends it",
        simulator.urls.yahoo,
        simulator.urls.ebay,
        simulator.urls.mercari,
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

/// eBay's door is one port further, Mercari's two; a free port is taken for each when none was named.
fn ports(first: u16) -> (u16, u16, u16) {
    if first == 0 {
        (0, 0, 0)
    } else {
        (first, first.saturating_add(1), first.saturating_add(2))
    }
}

/// Addresses, keys and a product list, for whoever sets up a daemon against it. The list is written first: whoever finds
/// the addresses finds it too.
fn write_down(simulator: &Running, directory: &std::path::Path) -> anyhow::Result<()> {
    let catalogue = simulator.catalogue();
    std::fs::write(directory.join("products.csv"), rehearsal::csv(&catalogue))?;
    let mut found = serde_json::to_value(&simulator.urls)?;
    if let Some(fields) = found.as_object_mut() {
        fields.insert("credentials".to_owned(), json!(catalogue.credentials));
    }
    let (whole, draft) = (
        directory.join("simulator.json"),
        directory.join("simulator.json.new"),
    );
    std::fs::write(&draft, serde_json::to_vec_pretty(&found)?)?;
    std::fs::rename(draft, whole)?;
    Ok(())
}
