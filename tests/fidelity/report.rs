//! Rows of what was predicted and what was measured, as text and as figures.

use std::fmt::{self, Write as _};
use std::path::Path;

use crate::Trial;
use crate::lab::Switch;
use crate::real::Measured;
use crate::table::{Load, Slice};

/// How far apart the two may be, as a share of what was predicted …
const TOLERANCE: f64 = 0.05;
/// … and as a share of the link where that is more: a slice that shall get nothing gets a packet now and then, as HTB has
/// no class without a rate.
const TOLERANCE_OF_LINK: f64 = 0.005;
/// A source that sent less than this share of what it should have was kept from running.
const STARVED: f64 = 0.98;

/// One slice of one trial.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    switch: &'static str,
    link_mbit_per_s: f64,
    configuration: String,
    note: String,
    slice: String,
    load: String,
    predicted: f64,
    measured: Measured,
    attempt: u32,
    sender_starved: bool,
}

impl Row {
    pub(crate) fn new(trial: Trial, slice: (usize, &Slice), predicted: f64, measured: Measured, attempt: u32) -> Row {
        let (at, slice) = slice;
        let name = ["A", "B", "C"][at];
        let load = match slice.load {
            Load::Idle => "idle".to_owned(),
            Load::Udp(percent) => format!("udp {percent} %"),
            Load::Tcp(flows) => format!("tcp {flows}"),
        };
        let udp = matches!(slice.load, Load::Udp(_));
        Row {
            switch: if trial.switch == Switch::Bridge { "tc" } else { "ovs" },
            link_mbit_per_s: trial.link_mbit_per_s,
            configuration: trial.configuration.name.clone(),
            note: trial.configuration.note.clone(),
            slice: format!("{name} {}-{} p{} w{}", slice.guarantee, slice.ceiling, slice.priority, slice.weight),
            load,
            predicted,
            measured,
            attempt,
            sender_starved: udp && measured.sent < STARVED * slice.load.offered(trial.link_mbit_per_s),
        }
    }

    fn difference(&self) -> f64 {
        self.measured.mean - self.predicted
    }

    /// Whether its source was kept from sending.
    pub(crate) fn is_starved(&self) -> bool {
        self.sender_starved
    }

    pub(crate) fn is_true(&self) -> bool {
        let tolerance = (TOLERANCE * self.predicted).max(TOLERANCE_OF_LINK * self.link_mbit_per_s);
        self.difference().abs() <= tolerance
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { switch, link_mbit_per_s, configuration, slice, load, predicted, measured, .. } = self;
        let percent = if *predicted > 0.0 {
            format!("{:+.1} %", 100.0 * self.difference() / predicted)
        } else {
            format!("{:+.2}", self.difference())
        };
        let mut remarks = String::new();
        for (is, remark) in [
            (!self.is_true(), " MISS".to_owned()),
            (self.attempt > 1, format!(" attempt {}", self.attempt)),
            (self.sender_starved, " sender starved".to_owned()),
        ] {
            remarks.push_str(if is { &remark } else { "" });
        }
        write!(
            f,
            "{switch:3} {link_mbit_per_s:4} {configuration:44} {slice:18} {load:9} {predicted:7.2} {:7.2} {percent:>8}  \
             ({:.2}-{:.2}, class {:.2}){remarks}",
            measured.mean, measured.min, measured.max, measured.class,
        )
    }
}

const HEADER: &str = "     link configuration                                slice: %          load          twin    real     \
                      diff  (worst and best second, class) Mbit/s of frames";

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    fn text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for row in &self.rows {
            let _ = writeln!(text, "{row}");
        }
        for switch in ["tc", "ovs"] {
            for link in [10.0, 100.0] {
                let of = |row: &&Row| row.switch == switch && row.link_mbit_per_s == link;
                let count = self.rows.iter().filter(of).count();
                let true_rows = self.rows.iter().filter(of).filter(|row| row.is_true()).count();
                if count > 0 {
                    let _ = writeln!(text, "{switch} at {link} Mbit/s: {true_rows} of {count} rows within 5 %");
                }
            }
        }
        for row in self.rows.iter().filter(|row| !row.is_true()) {
            let starved = if row.sender_starved { "the machine kept its sender from sending; " } else { "" };
            let note = if row.note.is_empty() { "not understood" } else { &row.note };
            let _ = writeln!(text, "miss: {row}\n      {starved}{note}");
        }
        text
    }

    /// Prints the table; how many rows are true, of how many, when there are any.
    pub(crate) fn print(&self) -> Option<(usize, usize)> {
        println!("{}", self.text());
        let true_rows = self.rows.iter().filter(|row| row.is_true()).count();
        let again = self.rows.iter().filter(|row| row.attempt > 1).count();
        println!("{true_rows} of {} rows within 5 %; {again} of a later attempt", self.rows.len());
        (!self.rows.is_empty()).then_some((true_rows, self.rows.len()))
    }

    /// Writes `table.txt` and `raw.csv`.
    pub(crate) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("table.txt"), self.text()).unwrap();
        let mut csv = String::from(
            "switch,link_mbit_per_s,configuration,slice,load,predicted,measured,worst,best,sent,class,attempt,true\n",
        );
        for row in &self.rows {
            let Measured { mean, min, max, sent, class } = row.measured;
            let _ = writeln!(
                csv,
                "{},{},\"{}\",{},{},{:.3},{mean:.3},{min:.3},{max:.3},{sent:.3},{class:.3},{},{}",
                row.switch,
                row.link_mbit_per_s,
                row.configuration,
                row.slice,
                row.load,
                row.predicted,
                row.attempt,
                row.is_true()
            );
        }
        std::fs::write(folder.join("raw.csv"), csv).unwrap();
    }
}
