//! `updateProductVariants`: what its answer says about each SKU.
//!
//! The shape of its input is not published, so its answer is read strictly: a SKU counts as set only when the answer shows
//! it, once, with the quantity that was sent. Every other is unknown and read back, whatever is complained of beside it:
//! nothing says whether the call does all or nothing. Only a refusal of the *query* itself comes before anything is done:
//! then each listing is sent alone, and so are all that follow.

use super::client::Reply;
use super::fault::{self, BAD_QUERY};
use super::variant::holds;
use crate::platform::Revision;
use crate::platform::json::{At, Drift};
use crate::platform::lost::Lost;

/// The most SKUs of one call.
pub(super) const MAX_ENTRIES: usize = 20;

/// What became of the stock of several listings.
pub(super) enum Bulk {
    /// One outcome for each, in order.
    Each(Vec<Result<(), Lost>>),
    /// The call is not understood; nothing was done.
    NotUnderstood(Lost),
}

/// What setting the stock of `revision` is called in messages.
pub(super) fn doing(revision: &Revision) -> String {
    let quantity = revision.quantity.map(|q| q.to_string()).unwrap_or_default();
    format!("set the stock of SKU `{}` to {quantity}", revision.listing.sku)
}

/// What `answer` says about each of the revisions `sent`.
pub(super) fn read(sent: &[&Revision], answer: Result<Reply, Lost>) -> Bulk {
    let reply = match answer {
        Ok(reply) => reply,
        Err(lost) if is_not_understood(&lost) => return Bulk::NotUnderstood(lost),
        Err(lost) => return Bulk::Each(sent.iter().map(|_| Err(lost.clone())).collect()),
    };
    if let Err(lost) = reply.value("set the stock of several SKUs")
        && is_not_understood(&lost)
    {
        return Bulk::NotUnderstood(lost);
    }
    let root = At::root(reply.field, &reply.value);
    let items = root.get("productVariants").and_then(|list| list.items());
    let items = items.as_deref().unwrap_or_default();
    Bulk::Each(
        sent.iter()
            .map(|revision| of_one(revision, items, &reply))
            .collect(),
    )
}

fn is_not_understood(lost: &Lost) -> bool {
    *lost.error.code == *BAD_QUERY && !lost.maybe_applied
}

fn of_one(revision: &Revision, items: &[At<'_>], reply: &Reply) -> Result<(), Lost> {
    let Some(wanted) = revision.quantity else {
        return Ok(());
    };
    let sku = &*revision.listing.sku;
    let named = |item: &&At<'_>| {
        item.get("skuCode")
            .and_then(|at| at.text())
            .is_ok_and(|text| text == sku)
    };
    let unknown = |drift: &Drift| {
        let doing = doing(revision);
        let error = if reply.faults.is_empty() {
            fault::contract(&format!("tell whether it did {doing}"), drift, reply.kept.clone())
        } else {
            fault::from_faults(&doing, &reply.faults, reply.kept.clone())
        };
        Err(Lost {
            error,
            maybe_applied: true,
        })
    };
    let of = |what: &str| Drift {
        path: format!("{}.productVariants[skuCode={sku}]", reply.field),
        what: what.to_owned(),
    };
    let mut own = items.iter().filter(named);
    match (own.next(), own.next()) {
        (None, _) => unknown(&of("expected an entry, got none")),
        (Some(_), Some(_)) => unknown(&of("expected one entry, got more")),
        (Some(item), None) => match holds(item, sku, wanted) {
            Ok(()) => Ok(()),
            Err(drift) => unknown(&drift),
        },
    }
}
