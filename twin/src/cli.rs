//! The command line: what can be asked, and how it is answered. Data on stdout, talk on stderr.
//!
//! Exit status: 0 done, 1 the answer is no (journals differ, something does not answer), 2 error. A reader that goes away is no error.

mod arguments;
mod check;
mod compare;
mod events;
mod failure;
mod forecast;
mod import;
mod init;
mod interrupt;
mod link;
mod live;
mod plan;
mod reach;
mod replay;
mod run;
mod shadow;
mod slices;
mod train;
mod watch;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::anyhow;
use clap::{CommandFactory, Parser};
use forebay_world::Timestamp;
use jiff::tz::TimeZone;

pub use arguments::Arguments;
use arguments::Command;
use failure::Failure;

use crate::scenario::zone;

/// How a command answered, when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// It was stopped from outside; what there was has been written.
    Interrupted,
}

/// Parses the command line, does what it asks and says how it went.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are data, the rest is talk; clap knows which.
            let status = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let result = match arguments.command {
        Command::Run(options) => run::run(options),
        Command::Shadow(options) => shadow::run(options),
        Command::Compare(options) => compare::run(options),
        Command::Import(options) => import::run(&options),
        Command::Events(options) => events::run(&options),
        Command::Forecast(options) => forecast::run(options),
        Command::Train(options) => train::run(options),
        Command::Plan(options) => plan::run(&options),
        Command::Link(options) => link::run(&options),
        Command::Live(options) => live::run(&options),
        Command::Slices(options) => slices::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Init(options) => init::run(&options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "forebay", &mut script);
            print(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(Arguments::command()).render(&mut page) {
                Ok(()) => print(&page),
                Err(error) => Err(Failure::from(error)),
            }
        }
    };
    match result {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Ok(Answer::Interrupted) => ExitCode::from(130),
        Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(2)
        }
    }
}

/// The time zone that an option names.
fn time_zone(name: &str) -> Result<TimeZone, Failure> {
    zone::named(name)
        .map_err(|hint| Failure::Other(anyhow!("--time-zone {name}: not in the IANA time zone database"), hint))
}

/// The folder that a file lies in.
fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// The time of this machine's clock.
fn now() -> Option<Timestamp> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok().map(Timestamp::from_nanos)
}

/// Writes data to stdout.
fn print(data: &[u8]) -> Result<Answer, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(data).and_then(|()| out.flush()).map_err(Failure::stdout)?;
    Ok(Answer::Yes)
}
