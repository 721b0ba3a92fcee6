//! What every view of slices can do: look, and nothing else.

use std::collections::BTreeMap;

use forebay_world::{Capabilities, SliceId};

use super::SliceError;
use super::standing::Standing;

/// Sees the slices of one real link.
///
/// A view writes nothing and takes no lock, neither as it is opened nor later. Each executor's module has a type that is a
/// view and no [executor](super::SliceExecutor); what is given only such a type can touch nothing.
///
/// ```
/// use forebay_adapters::slices::fake::{FakeSwitch, FakeView};
/// use forebay_adapters::slices::SliceView;
/// use forebay_world::Capabilities;
///
/// let switch = FakeSwitch::default();
/// let mut view: Box<dyn SliceView> = Box::new(FakeView::connect(&switch, Capabilities::ALL));
/// assert!(view.read().unwrap().is_empty());
/// ```
///
/// It cannot be asked to write:
///
/// ```compile_fail,E0599
/// use forebay_adapters::slices::{Gate, SliceExecutor, SliceView};
///
/// fn harm(view: &mut dyn SliceView) {
///     let _ = view.remove(&mut Gate::open());
/// }
/// ```
pub trait SliceView: Send {
    /// The link, as operators know it: `fbpd of bridge fbr0 on unix:/run/openvswitch/db.sock`.
    fn link(&self) -> String;

    /// What an executor of the same kind can express here.
    fn capabilities(&self) -> Capabilities;

    /// What stands.
    ///
    /// # Errors
    /// [`SliceError`] when it cannot be seen.
    fn read(&mut self) -> Result<Standing, SliceError>;

    /// What each slice that stands has carried since it stands. Empty where nothing is counted.
    ///
    /// # Errors
    /// [`SliceError`] when it cannot be seen.
    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError>;
}

/// What a slice has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent, with link-layer headers.
    pub bytes: u64,
    /// Packets sent.
    pub packets: u64,
    /// Packets dropped.
    pub dropped: u64,
}

impl<V: SliceView + ?Sized> SliceView for Box<V> {
    fn link(&self) -> String {
        (**self).link()
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn read(&mut self) -> Result<Standing, SliceError> {
        (**self).read()
    }

    fn counters(&mut self) -> Result<BTreeMap<SliceId, Counters>, SliceError> {
        (**self).counters()
    }
}
