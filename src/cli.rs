//! The command line: arguments, and one short file per group of commands.
//!
//! Most commands are clients of a running daemon's socket; `run`, `demo`, `simulate`, `extract`, `config` and `migrate`
//! work by themselves, and `doctor` does when there is none. stdout is data, stderr is talk, `--json` is for machines.

mod args;
mod config;
mod config_import;
mod daemon;
mod demo;
mod doctor;
#[cfg(test)]
mod documents;
mod extract;
mod manual;
mod output;
mod remote;
mod simulate;

pub(crate) use args::Arguments;
use args::Command;
use clap::Parser;
use output::Exit;
pub use remote::listed;
use std::process::ExitCode;

/// Runs the command line of this process and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    crate::app::install_tls();
    let arguments = Arguments::parse();
    run(arguments).into()
}

fn run(arguments: Arguments) -> Exit {
    let Arguments { global, command } = arguments;
    match command {
        Command::Run(run) => daemon::run(&global, &run),
        Command::Demo(demo) => demo::run(&demo, global.json),
        Command::Simulate(simulate) => simulate::run(&simulate),
        Command::Extract(extract) => extract::run(&extract, global.json),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { folder } => manual::pages(&folder, global.json),
        Command::Config(order) => config::run(&global, &order),
        Command::Doctor { offline } => doctor::run(&global, offline),
        Command::Metrics => doctor::metrics(&global),
        Command::Migrate(migrate) => config::migrate(&global, &migrate),
        remote => remote::run(&global, remote),
    }
}
