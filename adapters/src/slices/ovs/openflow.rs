//! OpenFlow by `ovs-ofctl`: the flows of one cookie, read and replaced in one bundle.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::slices::SliceError;

/// Versions that bundles need; the switch takes the newest that it has.
const VERSIONS: &str = "OpenFlow13,OpenFlow14,OpenFlow15";
const SECONDS: &str = "--timeout=10";

/// A bridge, by the socket or address of its OpenFlow side (ovs-ofctl(8)).
#[derive(Clone, Debug)]
pub(super) struct OpenFlow {
    pub(super) target: String,
}

impl OpenFlow {
    /// The flows of a cookie, as they are shown.
    pub(super) fn flows(&self, cookie: u64) -> Result<BTreeSet<String>, SliceError> {
        let of_cookie = format!("cookie={cookie:#x}/-1");
        let shown = self.run(&["--no-stats", "--no-names", "dump-flows", &self.target, &of_cookie], "")?;
        Ok(shown.lines().map(str::trim).filter(|line| line.starts_with("cookie=")).map(uniform).collect())
    }

    /// Takes flows away and adds others, all of it or nothing, and no packet between.
    pub(super) fn change(&self, surplus: &[&String], missing: &[&String]) -> Result<(), SliceError> {
        let mut lines = String::new();
        for flow in surplus {
            // The match and the priority name it; actions are no part of that, nor is a cookie without a mask.
            let (named, _) = flow.split_once(" actions=").unwrap_or((flow, ""));
            let unnamed = ["idle_timeout=", "hard_timeout=", "importance="];
            let parts = named.split(", ").filter(|part| !unnamed.iter().any(|key| part.starts_with(key)));
            let named = parts.collect::<Vec<_>>().join(",").replacen(',', "/-1,", 1).replace("send_flow_rem ", "");
            lines.push_str(&format!("delete_strict {named}\n"));
        }
        for flow in missing {
            lines.push_str(&format!("add {flow}\n"));
        }
        self.run(&["--bundle", "add-flows", &self.target, "-"], &lines).map(|_| ())
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String, SliceError> {
        let failed = |why: String| SliceError::Rejected {
            endpoint: self.target.clone(),
            what: format!("ovs-ofctl {}", arguments.iter().find(|word| !word.starts_with('-')).unwrap_or(&"")),
            why,
        };
        let mut child = Command::new("ovs-ofctl")
            .args(["-O", VERSIONS, SECONDS])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("{error}; hint: it comes with Open vSwitch")))?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = input.to_owned();
        // It may write before it has read all.
        let feeder = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        let fed = feeder.join().is_ok_and(|fed| fed.is_ok());
        if !output.status.success() {
            return Err(failed(last_line(&output.stderr)));
        }
        if !fed {
            return Err(failed("it did not read all that it was told".to_owned()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Before OpenFlow 1.5 a register is shown to be loaded, from then on to be set.
fn uniform(flow: &str) -> String {
    let Some((before, rest)) = flow.split_once("load:") else { return flow.to_owned() };
    match rest.split_once("->NXM_NX_REG7[]") {
        Some((value, after)) => format!("{before}set_field:{value}->reg7{after}"),
        None => flow.to_owned(),
    }
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it did not say why").trim().to_owned()
}
