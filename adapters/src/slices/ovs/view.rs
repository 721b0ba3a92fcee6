//! What looks at a port of Open vSwitch: its rows by OVSDB, its device by netlink, its flows by OpenFlow.

use std::collections::BTreeMap;

use forebay_world::{Capabilities, SliceId};

use super::flows::{self, Queueing};
use super::openflow::OpenFlow;
use super::rows::{DATABASE, Mark, Rows};
use super::seen::{Seen, class_of, is_passing};
use super::{DISCIPLINE, OvsPort};
use crate::netlink::{Handle, Link, Netlink, Qdisc};
use crate::ovsdb::Endpoint;
use crate::slices::database::Database;
use crate::slices::{Counters, SliceError, SliceView, Standing};

/// Sees the slices of one port. It takes no lock of the database, and asks it, the kernel and the bridge to show what they
/// have.
pub struct OvsView {
    pub(super) mark: Mark,
    pub(super) database: Database,
    pub(super) netlink: Netlink,
    pub(super) openflow: OpenFlow,
    pub(super) cookie: u64,
}

impl OvsView {
    /// Connects to the switch; devices are looked for in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`SliceError::Ovsdb`] when the database cannot be reached, [`SliceError::Unknown`] when there is no such bridge,
    /// port or device, [`SliceError::Contradiction`] when the OpenFlow side has to be named and is not.
    pub fn connect(port: &OvsPort) -> Result<Self, SliceError> {
        let OvsPort { endpoint, bridge, port, owner, openflow } = port.clone();
        let target = match (openflow, &endpoint) {
            (Some(target), _) => target,
            (None, Endpoint::Unix(path)) => {
                let folder = path.parent().map_or_else(Default::default, |folder| folder.display().to_string());
                format!("unix:{folder}/{bridge}.mgmt")
            }
            (None, _) => {
                let what = format!("the OpenFlow side of bridge {bridge} must be named where the database is remote");
                return Err(SliceError::Contradiction { what });
            }
        };
        let thing = format!("port {port} of bridge {bridge}");
        let mut view = OvsView {
            cookie: flows::cookie(&owner, &port),
            mark: Mark { owner, bridge, port },
            database: Database::connect(&endpoint, DATABASE, &thing)?,
            netlink: Netlink::open()?,
            openflow: OpenFlow { target },
        };
        view.look()?;
        Ok(view)
    }

    pub(super) fn rows(&mut self) -> Result<Rows, SliceError> {
        self.database.refresh()?;
        let outcomes = self.database.select(self.mark.selection())?;
        let rows = self.mark.rows(&outcomes);
        if !rows.bridges.contains(&self.mark.bridge) {
            let known = rows.bridges.into_iter().collect();
            return Err(SliceError::Unknown { kind: "bridge", name: self.mark.bridge.clone(), known });
        }
        if !rows.ports.contains_key(&self.mark.port) {
            let known = rows.ports.into_keys().collect();
            return Err(SliceError::Unknown { kind: "port", name: self.mark.port.clone(), known });
        }
        Ok(rows)
    }

    pub(super) fn look(&mut self) -> Result<Seen, SliceError> {
        let rows = self.rows()?;
        let devices: BTreeMap<String, Link> =
            self.netlink.links()?.into_iter().map(|link| (link.name.clone(), link)).collect();
        let Some(link) = devices.get(&self.mark.port).cloned() else {
            let known = devices.into_keys().collect();
            return Err(SliceError::Unknown { kind: "device", name: self.mark.port.clone(), known });
        };
        let qdiscs = self.netlink.qdiscs(&link)?;
        let moving = qdiscs.iter().filter(|seen| is_passing(&seen.qdisc)).map(|seen| seen.qdisc.parent).collect();
        let set = |qdisc: &Qdisc| qdisc.parent == Handle::ROOT && qdisc.handle.major != 0;
        let root = qdiscs.into_iter().map(|seen| seen.qdisc).find(set);
        let has_discipline = root.as_ref().is_some_and(|root| root.handle == DISCIPLINE && root.name() == "htb");
        let (mut classes, mut filters) = (BTreeMap::new(), Vec::new());
        if has_discipline {
            classes = self.netlink.classes(&link)?.into_iter().map(|seen| (seen.class.handle, seen)).collect();
            filters = self.netlink.filters(&link, DISCIPLINE)?;
        }
        let flows = self.openflow.flows(self.cookie)?;
        let up = devices.into_iter().map(|(name, link)| (name, link.is_up)).collect();
        Ok(Seen { rows, link, root, has_discipline, classes, moving, filters, flows, up })
    }

    pub(super) fn queueing(&self, rows: &Rows) -> Queueing {
        if rows.of_kernel { Queueing::SetQueue } else { Queueing::Filters }
    }
}

impl SliceView for OvsView {
    fn link(&self) -> String {
        self.database.link().to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        // Open vSwitch does not let quanta be chosen. The kernel makes them of guarantees: those of one priority share what is
        // left over by their guarantees below 16 Mbit/s, evenly above (sch_htb.c: rate / r2q, at most 200,000 bytes).
        Capabilities { weight: false, ..Capabilities::ALL }
    }

    fn read(&mut self) -> Result<Standing, SliceError> {
        let seen = self.look()?;
        Ok(seen.standing(&self.mark, self.queueing(&seen.rows), self.cookie))
    }

    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError> {
        let seen = self.look()?;
        let Some(qos) = seen.rows.qos.as_ref().filter(|qos| qos.is_ours) else { return Ok(BTreeMap::new()) };
        let of = |(number, uuid): (&i64, &uuid::Uuid)| {
            let slice = seen.rows.queues.get(uuid)?.slice?;
            let counted = seen.classes.get(&class_of(*number))?.statistics;
            Some((slice, Counters { bytes: counted.bytes, packets: counted.packets, dropped: counted.drops }))
        };
        Ok(qos.queues.iter().filter_map(of).collect())
    }
}
