//! Why a page gave no observation: one list of codes, each with its class.

use crate::domain::ErrorClass;
use crate::platform::PlatformError;

/// What kind of page, or of trouble, it was. The text of [`Code::as_str`] is what operators, tables and tests see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// An item page that lacks or contradicts what the contract says.
    Contract,
    /// An item page, but of another item than the one asked for.
    OtherItem,
    /// A redirect to another item.
    Moved,
    /// The page breaks off.
    Truncated,
    /// No HTML at all.
    NotHtml,
    /// Larger, or nested deeper, than any real page.
    TooLarge,
    /// "Please log in."
    LoginPage,
    /// "Prove that you are human."
    Captcha,
    /// "Access is concentrated, try later."
    AccessConcentrated,
    /// "Not from your country, not with your client."
    AccessDenied,
    /// "We are being repaired."
    Maintenance,
    /// "Are you of age?"
    AgeGate,
    /// A result list of running auctions.
    SearchPage,
    /// A result list of ended auctions.
    ClosedSearchPage,
    /// All that one seller offers.
    SellerPage,
    /// A result list of the flea market.
    FleaMarketList,
    /// One item of the flea market: another shop with another contract.
    FleaMarketItem,
    /// "Page not found", served with status 200.
    Soft404,
    /// The page is gone: 404, 410, or a text that says the auction was deleted or cancelled.
    Removed,
}

impl Code {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::OtherItem => "other_item",
            Self::Moved => crate::platform::MOVED,
            Self::Truncated => "truncated",
            Self::NotHtml => "not_html",
            Self::TooLarge => "too_large",
            Self::LoginPage => "login_page",
            Self::Captcha => "captcha",
            Self::AccessConcentrated => "access_concentrated",
            Self::AccessDenied => "access_denied",
            Self::Maintenance => "maintenance",
            Self::AgeGate => "age_gate",
            Self::SearchPage => "search_page",
            Self::ClosedSearchPage => "closed_search_page",
            Self::SellerPage => "seller_page",
            Self::FleaMarketList => "flea_market_list",
            Self::FleaMarketItem => "flea_market_item",
            Self::Soft404 => "soft_404",
            Self::Removed => "removed",
        }
    }

    pub(super) fn class(self) -> ErrorClass {
        match self {
            Self::Truncated => ErrorClass::Transient,
            Self::LoginPage
            | Self::Captcha
            | Self::AccessConcentrated
            | Self::AccessDenied
            | Self::Maintenance
            | Self::AgeGate => ErrorClass::Blocked,
            Self::Soft404 | Self::Removed | Self::Moved => ErrorClass::NotFound,
            Self::Contract
            | Self::OtherItem
            | Self::NotHtml
            | Self::TooLarge
            | Self::SearchPage
            | Self::ClosedSearchPage
            | Self::SellerPage
            | Self::FleaMarketList
            | Self::FleaMarketItem => ErrorClass::Protocol,
        }
    }
}

/// A page that gave no observation, before it is told to the outside.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    /// What was found, in words, without the item's id.
    pub(super) what: String,
    /// The paths that lack or contradict.
    pub(super) missing: Vec<Box<str>>,
}

impl Refusal {
    pub(super) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            missing: Vec::new(),
        }
    }

    /// A contract failure that names one path.
    pub(super) fn contract(path: impl Into<Box<str>>, what: impl Into<String>) -> Self {
        Self::naming(Code::Contract, path, what)
    }

    pub(super) fn naming(code: Code, path: impl Into<Box<str>>, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            missing: vec![path.into()],
        }
    }

    /// What the outside is told about the page at `url`.
    pub(super) fn told(self, url: &str) -> PlatformError {
        let address: String = url.chars().take(200).collect();
        let Self { code, what, missing } = self;
        let names = if missing.is_empty() {
            String::new()
        } else {
            format!(" (see {})", missing.join(", "))
        };
        PlatformError {
            class: code.class(),
            code: code.as_str().into(),
            message: format!("reading the Yahoo! Auctions page {address}: {what}{names}").into(),
            missing,
            body: None,
            away_for: None,
        }
    }
}
