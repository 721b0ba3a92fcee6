//! `forebay init`: a production file to begin with, from what is found here.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::anyhow;

use super::arguments::InitOptions;
use super::{Answer, Failure, print};
use crate::production::example;
use crate::production::surroundings::Surroundings;

pub(super) fn run(options: &InitOptions) -> Result<Answer, Failure> {
    // Whether it may be written is known before anything is asked.
    if let Some(out) = &options.out
        && out.symlink_metadata().is_ok()
    {
        return Err(occupied(out));
    }
    let text = example::text(&Surroundings::look(&options.libvirt, &options.ovs));
    let Some(out) = &options.out else { return print(text.as_bytes()) };
    let written = OpenOptions::new().write(true).create_new(true).open(out).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    match written {
        Ok(()) => {
            eprintln!("{}: written; next: forebay check {0}", out.display());
            Ok(Answer::Yes)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(occupied(out)),
        Err(error) => Err(Failure::Other(
            anyhow!(error).context(format!("{} cannot be written", out.display())),
            "name a file in a folder that can be written".to_owned(),
        )),
    }
}

fn occupied(out: &Path) -> Failure {
    let hint = "name another file, or move this one away: nothing is written over".to_owned();
    Failure::Other(anyhow!("{} is there already", out.display()), hint)
}
