//! Views are no executors: the compiler says so.

use forebay_adapters::slices::fake::{FakeExecutor, FakeView};
use forebay_adapters::slices::ovn::{OvnExecutor, OvnView};
use forebay_adapters::slices::ovs::{OvsExecutor, OvsView};
use forebay_adapters::slices::tc::{TcExecutor, TcView};
use forebay_adapters::slices::{SliceExecutor, SliceView};

/// Has one implementation for what only looks, and two for what writes as well.
trait LooksOnly<Which> {
    fn looks_only() {}
}

struct Looks;
struct Writes;

impl<V: SliceView + ?Sized> LooksOnly<Looks> for V {}
impl<E: SliceExecutor + ?Sized> LooksOnly<Writes> for E {}

fn is_sent<T: Send + ?Sized>() {}

#[test]
fn a_view_cannot_write_and_can_be_sent() {
    // Which is meant could not be told of what writes: none of these lines would compile.
    <FakeView as LooksOnly<_>>::looks_only();
    <TcView as LooksOnly<_>>::looks_only();
    <OvsView as LooksOnly<_>>::looks_only();
    <OvnView as LooksOnly<_>>::looks_only();
    <dyn SliceView as LooksOnly<_>>::looks_only();
    <Box<dyn SliceView> as LooksOnly<_>>::looks_only();
    // Of an executor both can be asked for.
    <FakeExecutor as LooksOnly<Looks>>::looks_only();
    <Box<dyn SliceExecutor> as LooksOnly<Writes>>::looks_only();
    is_sent::<Box<dyn SliceView>>();
    is_sent::<Box<dyn SliceExecutor>>();
    is_sent::<TcExecutor>();
    is_sent::<OvsExecutor>();
    is_sent::<OvnExecutor>();
}
