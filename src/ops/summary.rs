//! How the daemon is, in one line and without asking anybody: for the service manager, and for the log's figures.

use super::Ops;
use crate::resilience::{GateView, GuardStatus};
use crate::store::status::DatabaseStatus;
use crate::supervision::{ChildState, NodeReport};
use serde::Serialize;

/// The daemon's figures at a moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Products that are watched.
    pub products: u64,
    /// Checks since the start.
    pub checks: u64,
    /// Changes found since the start.
    pub changes: u64,
    /// How long ago the product was looked at that has waited longest, in seconds.
    pub oldest_age_s: u64,
    /// Every outside service.
    pub services: Vec<GuardStatus>,
}

impl Ops {
    /// The figures; `None` while the daemon starts.
    #[must_use]
    pub fn figures(&self) -> Option<Figures> {
        let parts = self.parts().ok()?;
        let mut figures = Figures {
            services: parts.guards.statuses(),
            ..Figures::default()
        };
        for counters in parts.counters.values() {
            let seen = counters.snapshot();
            figures.products = figures.products.saturating_add(seen.products);
            figures.checks = figures.checks.saturating_add(seen.checks);
            figures.changes = figures.changes.saturating_add(seen.changes);
            figures.oldest_age_s = figures.oldest_age_s.max(seen.oldest_age_s);
        }
        Some(figures)
    }

    /// Phase, number of products, and what is degraded.
    #[must_use]
    pub fn summary(&self) -> String {
        let phase = self.phase();
        let Some(figures) = self.figures() else {
            return phase;
        };
        let mut line = format!("{phase}; {} products", figures.products);
        let troubles = self.troubles(&figures);
        if !troubles.is_empty() {
            line.push_str("; degraded: ");
            line.push_str(&troubles.join(", "));
        }
        line
    }

    fn troubles(&self, figures: &Figures) -> Vec<String> {
        let mut troubles = Vec::new();
        if let Ok(parts) = self.parts()
            && let DatabaseStatus::Away { reason, .. } = &*parts.database.watch().borrow()
        {
            troubles.push(format!("the database is away ({reason})"));
        }
        troubles.extend(figures.services.iter().filter_map(service));
        if let Some(tree) = self.running_tree() {
            parked(&tree.report().root, &mut troubles);
        }
        troubles
    }
}

fn service(status: &GuardStatus) -> Option<String> {
    let what = match status.gate {
        GateView::Open => return None,
        GateView::Limited => "is being tried again".to_owned(),
        GateView::Shut { until } => format!("is left alone until {}", until.format("%H:%M:%S UTC")),
        GateView::Paused => "is paused".to_owned(),
        GateView::Stopped => "is held by the emergency stop".to_owned(),
    };
    Some(format!("{} {what}", status.service))
}

fn parked(node: &NodeReport, troubles: &mut Vec<String>) {
    if node.state == ChildState::Parked {
        troubles.push(format!("`{}` is parked", node.path));
    }
    node.children.iter().for_each(|child| parked(child, troubles));
}
