//! `zaikoban run`

use super::args::{Global, RunArgs};
use super::output::{self, Exit};
use crate::app::{self, Ended};

pub(super) fn run(global: &Global, arguments: &RunArgs) -> Exit {
    let (mut settings, source) = match super::config::with_source(global) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    if let Some(socket) = &global.socket {
        settings.daemon.socket.clone_from(socket);
    }
    settings.log.json |= arguments.log_json;
    match app::run(settings, source) {
        Ok(Ended::Stopped) => Exit::Done,
        Ok(Ended::GaveUp(reason)) => {
            output::talk(&format!("error: the daemon gave up: {reason}"));
            Exit::GaveUp
        }
        Ok(Ended::Busy(reason)) => {
            output::talk(&format!("error: {reason}"));
            Exit::Busy
        }
        Err(error) => {
            output::talk(&format!("error: {error:#}"));
            Exit::Failed
        }
    }
}
