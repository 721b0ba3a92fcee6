//! Views are no executors: the compiler says so.

use forebay_adapters::steering::fake::{FakeExecutor, FakeView};
use forebay_adapters::steering::responder::{ResponderExecutor, ResponderView};
use forebay_adapters::steering::rfc2136::{Rfc2136Executor, Rfc2136View};
use forebay_adapters::steering::{Guarded, SteeringExecutor, SteeringView};

/// Has one implementation for what only looks, and two for what writes as well.
trait LooksOnly<Which> {
    fn looks_only() {}
}

struct Looks;
struct Writes;

impl<V: SteeringView + ?Sized> LooksOnly<Looks> for V {}
impl<E: SteeringExecutor + ?Sized> LooksOnly<Writes> for E {}

fn is_sent<T: Send + ?Sized>() {}

#[test]
fn a_view_cannot_write_and_can_be_sent() {
    // Which is meant could not be told of what writes: none of these lines would compile.
    <FakeView as LooksOnly<_>>::looks_only();
    <Rfc2136View as LooksOnly<_>>::looks_only();
    <ResponderView as LooksOnly<_>>::looks_only();
    <dyn SteeringView as LooksOnly<_>>::looks_only();
    <Box<dyn SteeringView> as LooksOnly<_>>::looks_only();
    #[cfg(feature = "fetch")]
    <forebay_adapters::steering::powerdns::PowerDnsView as LooksOnly<_>>::looks_only();
    // Of an executor both can be asked for.
    <FakeExecutor as LooksOnly<Looks>>::looks_only();
    <Box<dyn SteeringExecutor> as LooksOnly<Writes>>::looks_only();
    is_sent::<Box<dyn SteeringView>>();
    is_sent::<Box<dyn SteeringExecutor>>();
    is_sent::<Guarded<Box<dyn SteeringExecutor>>>();
    is_sent::<Rfc2136Executor>();
    is_sent::<ResponderExecutor>();
    #[cfg(feature = "fetch")]
    is_sent::<forebay_adapters::steering::powerdns::PowerDnsExecutor>();
}
