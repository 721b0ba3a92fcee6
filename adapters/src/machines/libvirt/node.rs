//! The machine behind a libvirt daemon, for whoever wants to know how much there is.

use forebay_world::Bytes;
use virt::connect::Connect;

use super::connection::{Connection, unreachable};
use crate::machines::MachineError;

/// A machine that runs others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its processors.
    pub cpus: u32,
    /// Its memory.
    pub memory: Bytes,
}

/// Asks a daemon for the machine that it is on, by a connection that may read only.
///
/// # Errors
/// [`MachineError::Unreachable`] when it does not answer.
pub fn node(uri: &str) -> Result<Node, MachineError> {
    let connection = Connection::open(uri, Connect::open_read_only)?;
    let asked = connection.get_hostname().and_then(|name| {
        let info = connection.get_node_info()?;
        // libvirt counts in kibibytes.
        Ok(Node { name, cpus: info.cpus, memory: Bytes(info.memory.saturating_mul(1024)) })
    });
    asked.map_err(|error| unreachable(uri, &error))
}
