//! `zaikoban simulate`
