//! yahoo
