//! What goes through a domain's monitor, by which libvirt speaks with QEMU. It waits for an answer for ever, and a QEMU whose
//! disk is gone gives none: that must keep neither other machines from being seen nor this one from being ended, which
//! takes no monitor. So threads of their own wait.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use forebay_world::VmId;
use uuid::Uuid;
use virt::domain::{BlockStats, Domain, MemoryStat};
use virt::error::Error;

use super::connection::{Connection, Opens};

/// Time for what takes milliseconds.
const ANSWER_LONGEST: Duration = Duration::from_secs(5);

/// Does something to a domain; `None` where that has not come back in time. Once the domain has ended it does.
pub(super) fn wait_for(
    domain: &Domain,
    act: impl FnOnce(&Domain) -> Result<(), Error> + Send + 'static,
) -> Option<Result<(), Error>> {
    let (sender, done) = channel();
    let domain = domain.clone();
    let work = move || {
        let _ = sender.send(act(&domain));
    };
    thread::Builder::new().name("libvirt-monitor".to_owned()).spawn(work).ok()?;
    done.recv_timeout(ANSWER_LONGEST).ok()
}

/// What a domain's monitor says.
#[derive(Default)]
pub(super) struct Said {
    pub(super) memory: Vec<MemoryStat>,
    /// By the names that the domain has for its disks.
    pub(super) disks: BTreeMap<String, BlockStats>,
}

/// Which domain is asked for what: the machine, its UUID, its disks.
pub(super) type Question = (VmId, Uuid, Vec<&'static str>);

/// Asks monitors, over a connection of its own. While one does not answer, nothing is known of any.
#[derive(Default)]
pub(super) struct Monitors {
    asker: Option<Asker>,
}

struct Asker {
    questions: Sender<Vec<Question>>,
    answers: Receiver<BTreeMap<VmId, Said>>,
    is_asked: bool,
}

impl Monitors {
    /// What the monitors of these say, as far as that is known in time.
    pub(super) fn ask(&mut self, uri: &str, opens: Opens, questions: Vec<Question>) -> BTreeMap<VmId, Said> {
        if self.asker.is_none() {
            self.asker = Asker::start(uri.to_owned(), opens);
        }
        let Some(asker) = &mut self.asker else { return BTreeMap::new() };
        if asker.is_asked {
            // What is told late is of another time.
            asker.is_asked = matches!(asker.answers.try_recv(), Err(TryRecvError::Empty));
        }
        if asker.is_asked {
            return BTreeMap::new();
        }
        if asker.questions.send(questions).is_err() {
            // Its thread is gone, as after a panic: another is started.
            self.asker = None;
            return BTreeMap::new();
        }
        let told = asker.answers.recv_timeout(ANSWER_LONGEST);
        asker.is_asked = told.is_err();
        told.unwrap_or_default()
    }
}

impl Asker {
    fn start(uri: String, opens: Opens) -> Option<Asker> {
        let (questions, asked) = channel::<Vec<Question>>();
        let (told, answers) = channel();
        let work = move || {
            let mut connection: Option<Connection> = None;
            for questions in asked {
                if !connection.as_ref().is_some_and(Connection::is_open) {
                    connection = Connection::open(&uri, opens).ok();
                }
                let said = connection.as_ref().map(|connection| answer(connection, questions));
                if told.send(said.unwrap_or_default()).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("libvirt-monitors".to_owned()).spawn(work).ok()?;
        Some(Asker { questions, answers, is_asked: false })
    }
}

fn answer(connection: &Connection, questions: Vec<Question>) -> BTreeMap<VmId, Said> {
    let said = |(vm, uuid, disks): Question| {
        let domain = Domain::lookup_by_uuid(connection, uuid).ok()?;
        let disks = disks.into_iter().filter_map(|disk| Some((disk.to_owned(), domain.get_block_stats(disk).ok()?)));
        Some((vm, Said { disks: disks.collect(), memory: domain.memory_stats(0).unwrap_or_default() }))
    };
    questions.into_iter().filter_map(said).collect()
}
