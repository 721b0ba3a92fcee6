//! What every view of machines can do: look, and nothing else.

use std::collections::BTreeMap;

use forebay_world::VmId;

use super::MachineError;
use super::identity::Owner;
use super::inventory::Inventory;
use super::statistics::MachineStatistics;

/// Sees the machines of one hypervisor: those of one owner, and what else is there.
///
/// A view writes nothing: neither as it is opened (no folder, no lock, no connection that may write) nor later. Each
/// executor's module has a type that is a view and no [executor](super::MachineExecutor); what is given only such a type
/// can touch nothing.
///
/// ```
/// use forebay_adapters::machines::fake::{FakeHypervisor, FakeView};
/// use forebay_adapters::machines::{MachineView, MachineError};
///
/// fn count(view: &mut dyn MachineView) -> Result<usize, MachineError> {
///     let seen = view.list()?;
///     Ok(seen.machines.len() + seen.foreign.len())
/// }
///
/// let owner = "edge".parse().unwrap();
/// let capabilities = forebay_adapters::machines::fake::ALL;
/// assert_eq!(count(&mut FakeView::connect(&FakeHypervisor::default(), owner, capabilities)).unwrap(), 0);
/// ```
///
/// It cannot be asked to write:
///
/// ```compile_fail,E0599
/// use forebay_adapters::machines::{Gate, MachineExecutor, MachineView};
/// use forebay_world::VmId;
///
/// fn harm(view: &mut dyn MachineView) {
///     let _ = view.destroy(VmId(1), &mut Gate::open());
/// }
/// ```
pub trait MachineView: Send {
    /// The hypervisor, as operators know it: `qemu in /run/forebay`.
    fn hypervisor(&self) -> String;

    /// Whose machines are told from all others.
    fn owner(&self) -> &Owner;

    /// What an executor of the same kind can do.
    fn capabilities(&self) -> MachineCapabilities;

    /// What is there.
    ///
    /// # Errors
    /// [`MachineError`] when it cannot be seen; never a part of it.
    fn list(&mut self) -> Result<Inventory, MachineError>;

    /// What each machine of the owner's that runs has used.
    ///
    /// # Errors
    /// [`MachineError`] when it cannot be seen. A machine that ends meanwhile is left out.
    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError>;
}

/// What an executor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineCapabilities {
    /// A machine can be asked to end by itself.
    pub graceful_stop: bool,
    /// What machines use is counted.
    pub statistics: bool,
    /// A machine can be made that does not run yet.
    pub paused_creation: bool,
    /// Making the same machine twice makes one, whatever was lost in between.
    pub idempotent_creation: bool,
    /// The hypervisor keeps a token of each request, and answers a repeated one as it did before.
    pub native_token: bool,
    /// A machine can be given configuration that cloud-init reads.
    pub configuration: bool,
    /// Machines can be attached to ports of a switch.
    pub ports: bool,
    /// Whoever makes a machine may say which address the hypervisor's network gives it.
    pub addresses: bool,
    /// A machine that has ended can be started again.
    pub restart: bool,
}

impl<V: MachineView + ?Sized> MachineView for Box<V> {
    fn hypervisor(&self) -> String {
        (**self).hypervisor()
    }

    fn owner(&self) -> &Owner {
        (**self).owner()
    }

    fn capabilities(&self) -> MachineCapabilities {
        (**self).capabilities()
    }

    fn list(&mut self) -> Result<Inventory, MachineError> {
        (**self).list()
    }

    fn statistics(&mut self) -> Result<BTreeMap<VmId, MachineStatistics>, MachineError> {
        (**self).statistics()
    }
}
