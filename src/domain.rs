//! The words of the trade as types: values that are wrong cannot be held.
//!
//! Everything here is plain data and pure rules, made at the one place where text or JSON becomes a value. The
//! vocabulary is that of the documents: *product*, *source*, *listing*, *destination*, *observation*, *change*,
//! *hold*, *job*. Nothing in this room does I/O or asks the time.

mod alert;
mod change;
mod error_class;
mod exchange;
mod hold;
mod id;
mod listing;
mod money;
mod observation;
mod platform;
mod shard;
mod stock;
mod wanted;

pub use alert::{
    Affected, AlertChannel, AlertEvent, AlertFacts, AlertKind, AlertLevel, AlertStatus, NAMED_PRODUCTS,
};
pub use change::{ChangeSource, ChangeType, Committed, CommittedSender};
pub use error_class::{Classified, ErrorClass};
pub use exchange::{BadQuote, Quote, QuoteInUse, RateSource, RateStatus, day_in_frankfurt};
pub use hold::{BY_DEADLINE, HoldDefault, HoldReason, HoldStatus, KnownHold, NewHold, Proposal};
pub use id::{
    BadSourceProductId, BulkFeedId, HoldId, JobId, ListingId, ProductId, RegistrationId, SourceProductId,
    SyncLogId, Version, WatchId,
};
pub use listing::{ListingRef, ListingState, ListingStatus};
pub use money::{BasisPoints, Currency, Money, MoneyError};
pub use observation::{
    CostRule, DataSource, ItemStatus, Observation, SellerMark, SourceState, TitleHash, UrlStatus,
};
pub(crate) use platform::names;
pub use platform::{DestinationPlatform, Platform, SourcePlatform, UnknownName};
pub use shard::{Epoch, Shard};
pub use stock::{BadQuantity, Quantity};
pub use wanted::{ListingBasis, Meanwhile, Wanted, WatchState};
