//! `forebay check`: says what is wrong with scenario files, or what is in them.

use super::arguments::CheckOptions;
use super::{Answer, Failure, print};
use crate::scenario::{Overrides, Scenario};

pub(super) fn run(options: &CheckOptions) -> Result<Answer, Failure> {
    let overrides = Overrides { replay: options.replay.clone(), ..Overrides::default() };
    let mut failed = None;
    for file in &options.files {
        match Scenario::load(file, &overrides) {
            Ok(scenario) => {
                for remark in &scenario.remarks {
                    eprintln!("{}: {remark}", scenario.name);
                }
                let topology = &scenario.setup.topology;
                print(
                    format!(
                        "{}: sound: {} regions, {} hosts, {} links, {} classes, {} to {}\n",
                        file.display(),
                        topology.regions.len(),
                        topology.hosts.len(),
                        topology.links.len(),
                        topology.classes.len(),
                        scenario.setup.start,
                        scenario.setup.end,
                    )
                    .as_bytes(),
                )?;
            }
            Err(error) => {
                // All files are looked at; the last failure is returned, those before are said here.
                if let Some(before) = failed.replace(Failure::from(error)) {
                    before.print();
                }
            }
        }
    }
    failed.map_or(Ok(Answer::Yes), Err)
}
