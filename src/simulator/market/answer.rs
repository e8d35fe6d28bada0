//! What the API says, in the published shapes.

use crate::simulator::faults::{CallFault, EbayFaults};
use serde_json::{Value, json};

/// An answer before it is sent.
#[derive(Debug)]
pub(in crate::simulator) struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, if there is one.
    pub body: Option<Value>,
    /// The fault that the door has to play.
    pub fault: Option<CallFault>,
}

/// Why something is refused: one entry of `errors`.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub id: u32,
    category: &'static str,
    message: String,
    parameters: Vec<(&'static str, String)>,
}

impl Refusal {
    fn new(status: u16, id: u32, message: String) -> Self {
        Self {
            status,
            id,
            category: "REQUEST",
            message,
            parameters: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    /// 25709: a field holds what it may not hold.
    pub(super) fn invalid(field: &'static str, info: &str) -> Self {
        Self::new(400, 25_709, format!("Invalid value for {field}. {info}"))
            .with("fieldName", field)
            .with("additionalInfo", info)
    }

    /// 25702: no such SKU.
    pub(super) fn no_sku(sku: &str) -> Self {
        let message = format!("{sku} could not be found or is not available in the system.");
        Self::new(404, 25_702, message).with("skuValue", sku)
    }

    /// 25713: no such offer.
    pub(super) fn no_offer(status: u16, info: &str) -> Self {
        Self::new(status, 25_713, format!("This Offer is not available : {info}."))
            .with("additionalInfo", info)
    }

    /// 25002: a user error of another kind.
    pub(super) fn user(info: &str) -> Self {
        Self::new(400, 25_002, format!("A user error has occurred. {info}")).with("additionalInfo", info)
    }

    /// 25002 for an offer that exists already.
    pub(super) fn exists(offer_id: &str) -> Self {
        Self::new(
            400,
            25_002,
            "A user error has occurred. Offer entity already exists.".into(),
        )
        .with("offerId", offer_id)
    }

    /// 25003: a price that cannot be published.
    pub(super) fn price(info: &str) -> Self {
        Self::new(400, 25_003, format!("The eBay listing associated with the inventory item, or the unpublished offer has an invalid price. {info}"))
            .with("additionalInfo", info)
    }

    /// 25004: a quantity that cannot be published.
    pub(super) fn quantity(info: &str) -> Self {
        Self::new(400, 25_004, format!("The eBay listing associated with the inventory item, or the unpublished offer has an invalid quantity. {info}"))
            .with("additionalInfo", info)
    }

    /// A field of a listing that is missing or cannot be published.
    pub(super) fn field(id: u32, field: &'static str) -> Self {
        let message = format!(
            "The eBay listing associated with the inventory item, or the unpublished offer has an invalid {field}."
        );
        Self::new(400, id, message).with("fieldName", field)
    }

    /// 25727, 25730: more entries than a call takes, or none.
    pub(super) fn too_large(items: bool, most: usize) -> Self {
        let (id, what) = if items {
            (25_727, "InventoryItems")
        } else {
            (25_730, "offers")
        };
        let message = format!("The number of {what} in the request cannot exceed {most}.");
        Self::new(400, id, message).with("additionalInfo", &most.to_string())
    }

    /// An entry that stands twice in one call.
    pub(super) fn twice(bulk: super::first::Bulk) -> Self {
        use super::first::Bulk;
        let (id, message) = match bulk {
            Bulk::Items => (25_728, "InventoryItems should be unique in the request."),
            Bulk::Offers => (
                25_729,
                "The combination of SKU, marketplaceId and format should be unique.",
            ),
            Bulk::Publish => (25_731, "OfferId should be unique in the request."),
        };
        Self::new(400, id, message.into())
    }

    /// 25733: an item without a key or a locale.
    pub(super) fn no_locale() -> Self {
        let message =
            "Valid SKU and locale information are required for all the InventoryItems in the request.";
        Self::new(400, 25_733, message.into())
    }

    /// A refusal of the Taxonomy API.
    pub(super) fn taxonomy(status: u16, id: u32, message: &str) -> Self {
        Self::new(status, id, message.into())
    }

    /// 25019: the listing cannot be revised again today.
    pub(super) fn too_many_revisions(most: u32, sku: &str) -> Self {
        let info = format!(
            "Cannot revise the listing. It was revised {most} times today; it can be revised again on the next calendar day."
        );
        Self::new(400, 25_019, info).with("sku", sku)
    }

    /// 25001: the system's own fault.
    pub(super) fn system(status: u16) -> Self {
        let mut refusal = Self::new(
            status,
            25_001,
            "A system error has occurred. Try again later.".into(),
        );
        refusal.category = "APPLICATION";
        refusal
    }

    /// 25025: two writers at once.
    fn concurrent() -> Self {
        let message = "Concurrent access of the same Inventory or Inventory Item Group object is not allowed. Please try again later.";
        let mut refusal = Self::new(500, 25_025, message.into());
        refusal.category = "APPLICATION";
        refusal
    }

    /// The entry as JSON.
    pub(super) fn json(&self) -> Value {
        let parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        json!({
            "errorId": self.id,
            "domain": "API_INVENTORY",
            "subdomain": "Selling",
            "category": self.category,
            "message": self.message,
            "longMessage": self.message,
            "parameters": parameters,
        })
    }
}

/// A warning inside an answer that is a success.
pub(super) fn warning() -> Value {
    json!({
        "errorId": 25_402,
        "domain": "API_INVENTORY",
        "subdomain": "Selling",
        "category": "APPLICATION",
        "message": "System warning. The change may take a while to show.",
    })
}

impl Answer {
    pub(super) fn ok(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
            fault: None,
        }
    }

    pub(super) fn no_content() -> Self {
        Self {
            status: 204,
            body: None,
            fault: None,
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self::ok(refusal.status, json!({ "errors": [refusal.json()] }))
    }

    /// The answer of a call that never reaches the register; `None` for faults that come after it.
    pub(super) fn of_fault(fault: CallFault, faults: &EbayFaults) -> Option<Self> {
        let mut answer = match fault {
            CallFault::Http500 => Self::refused(&Refusal::system(500)),
            CallFault::Http503 => Self::refused(&Refusal::system(503)),
            CallFault::Concurrent => Self::refused(&Refusal::concurrent()),
            CallFault::Http429 => Self::too_many(faults),
            CallFault::Unauthorized => Self::unauthorized(),
            CallFault::Cut | CallFault::Delay => return None,
        };
        answer.fault = Some(fault);
        Some(answer)
    }

    fn too_many(_: &EbayFaults) -> Self {
        Self::ok(
            429,
            json!({ "errors": [{
                "errorId": 2001,
                "domain": "ACCESS",
                "category": "REQUEST",
                "message": "Too many requests.",
                "longMessage": "The request limit has been reached for the resource.",
            }] }),
        )
    }

    /// The answer to a missing, unknown or expired access token.
    pub(in crate::simulator) fn unauthorized() -> Self {
        Self::ok(
            401,
            json!({ "errors": [{
                "errorId": 1001,
                "domain": "OAuth",
                "category": "REQUEST",
                "message": "Invalid access token",
                "longMessage": "Invalid access token. Check the value of the Authorization HTTP request header.",
            }] }),
        )
    }

    /// The answer to a token that is not for this: an application's for a seller's business, or the other way round.
    pub(in crate::simulator) fn forbidden() -> Self {
        Self::ok(
            403,
            json!({ "errors": [{
                "errorId": 1100,
                "domain": "ACCESS",
                "category": "REQUEST",
                "message": "Access denied",
                "longMessage": "Insufficient permissions to fulfill the request.",
            }] }),
        )
    }

    /// The answer to a body that is no JSON, or a header that is missing.
    pub(in crate::simulator) fn bad_request(status: u16, message: &str) -> Self {
        Self::ok(
            status,
            json!({ "errors": [{
                "errorId": 2004,
                "domain": "ACCESS",
                "category": "REQUEST",
                "message": "Invalid request",
                "longMessage": message,
            }] }),
        )
    }
}
