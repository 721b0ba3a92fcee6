//! What every view of steering can do: look, and nothing else.

use std::collections::BTreeMap;

use forebay_world::Acknowledgement;

use super::SteeringError;
use super::dns_name::DnsName;
use super::expressed::Expressed;
use super::standing::Standing;

/// Sees what a name server answers.
///
/// A view writes nothing and is no writer, neither as it is opened nor later. Each executor's module has a type that is a
/// view and no [executor](super::SteeringExecutor); what is given only such a type can touch nothing.
///
/// ```
/// use forebay_adapters::steering::SteeringView;
/// use forebay_adapters::steering::fake::{ALL, FakeServer, FakeView, ZoneOptions};
///
/// let options = ZoneOptions::new("cdn.test".parse().unwrap(), "edge");
/// let view = FakeView::connect(&FakeServer::default(), ALL, options).unwrap();
/// let mut view: Box<dyn SteeringView> = Box::new(view);
/// assert!(view.read().unwrap().is_empty());
/// ```
///
/// It cannot be asked to write:
///
/// ```compile_fail,E0599
/// use forebay_adapters::steering::{Gate, SteeringExecutor, SteeringView};
///
/// fn harm(view: &mut dyn SteeringView) {
///     let _ = view.remove(&mut Gate::open());
/// }
/// ```
pub trait SteeringView: Send {
    /// The place, as operators know it: `zone cdn.example at 192.0.2.53:53`.
    fn place(&self) -> String;

    /// What an executor of the same kind can express there.
    fn capabilities(&self) -> SteeringCapabilities;

    /// What stands.
    ///
    /// # Errors
    /// [`SteeringError`] when it cannot be seen.
    fn read(&mut self) -> Result<Standing, SteeringError>;

    /// What clients that ask for these names are answered, whoever wrote it. A name is left out that nothing answers; it has
    /// `None` where what answers it does not say which addresses: an alias, a script of another's.
    ///
    /// # Errors
    /// [`SteeringError`] when it cannot be seen.
    fn answered(&mut self, names: &[DnsName]) -> Result<BTreeMap<DnsName, Option<Expressed>>, SteeringError>;
}

/// What an executor can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteeringCapabilities {
    /// How weights are kept.
    pub weights: Weights,
    /// Whether clients of different regions can be answered differently.
    pub per_region: bool,
    /// Whether the time to live can be set.
    pub ttl: bool,
    /// What is known after a write.
    pub acknowledgement: Acknowledgement,
}

/// How weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Not at all: every address that is answered counts the same.
    None,
    /// Between sites, by how many of their addresses are answered.
    ByAnswers {
        /// Most records of a set.
        most: usize,
    },
    /// By a script of the server's, that picks an address for each client.
    ByScript,
    /// As they are, whatever they are.
    Exact,
}

impl<V: SteeringView + ?Sized> SteeringView for Box<V> {
    fn place(&self) -> String {
        (**self).place()
    }

    fn capabilities(&self) -> SteeringCapabilities {
        (**self).capabilities()
    }

    fn read(&mut self) -> Result<Standing, SteeringError> {
        (**self).read()
    }

    fn answered(&mut self, names: &[DnsName]) -> Result<BTreeMap<DnsName, Option<Expressed>>, SteeringError> {
        (**self).answered(names)
    }
}
