//! The desk of the terminal UI: what stands is put here by whoever runs production, what is typed goes to him.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use forebay_adapters::kill_switch::KillSwitch;

use super::voice::Voice;
use super::yes::{ALLOWED, Yes};
use crate::tui::alert::Severity;
use crate::tui::{Desk, Standing};

/// Room for what stands: the latest.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Arc<Standing>>>>);

impl Slot {
    pub(super) fn put(&self, standing: Standing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(standing));
    }
}

/// The desk.
pub(super) struct Counter {
    pub(super) slot: Slot,
    pub(super) yes: Sender<Yes>,
    pub(super) kill_switch: KillSwitch,
    pub(super) voice: Voice,
    /// Where it is noted that the kill switch is closed.
    pub(super) kept: PathBuf,
}

impl Desk for Counter {
    fn news(&mut self) -> Option<Arc<Standing>> {
        self.slot.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn answer(&mut self, line: &str) -> String {
        match Yes::read(line) {
            None | Some(Yes::Unclear) => format!("\"{}\": nothing was done; {ALLOWED}", line.trim()),
            Some(yes) if self.yes.send(yes).is_ok() => {
                format!("{}: heard; what came of it is among the alerts", line.trim())
            }
            Some(_) => "nobody hears it any more".to_owned(),
        }
    }

    fn close_kill_switch(&mut self) -> String {
        let closed = self.kill_switch.close("a key in the terminal", super::wall());
        let kept = closed.err().map_or_else(String::new, |error| format!(" ({error})"));
        let opened = |file: &str| format!("to open it: stop, rm {file}, start again");
        let text = format!("kill switch closed by a key{kept}; {}", opened(&self.kept.display().to_string()));
        self.voice.show(Severity::Critical, &text);
        format!("kill switch closed{kept}; {}", opened("STATE/kill-switch.json"))
    }
}
