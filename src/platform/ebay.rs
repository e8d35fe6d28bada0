//! ebay
