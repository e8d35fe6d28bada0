//! What is around the daemon: settings shown and taken over, units, and the installation.

mod config;
mod install;
