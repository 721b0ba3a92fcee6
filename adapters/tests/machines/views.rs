//! Views are no executors: the compiler says so.

use forebay_adapters::machines::fake::{FakeExecutor, FakeView};
use forebay_adapters::machines::qemu::{QemuExecutor, QemuView};
use forebay_adapters::machines::{MachineExecutor, MachineView};

/// Has one implementation for what only looks, and two for what writes as well.
trait LooksOnly<Which> {
    fn looks_only() {}
}

struct Looks;
struct Writes;

impl<V: MachineView + ?Sized> LooksOnly<Looks> for V {}
impl<E: MachineExecutor + ?Sized> LooksOnly<Writes> for E {}

fn is_sent<T: Send + ?Sized>() {}

#[test]
fn a_view_cannot_write_and_can_be_sent() {
    // Which is meant could not be told of what writes: none of these lines would compile.
    <FakeView as LooksOnly<_>>::looks_only();
    <QemuView as LooksOnly<_>>::looks_only();
    <dyn MachineView as LooksOnly<_>>::looks_only();
    <Box<dyn MachineView> as LooksOnly<_>>::looks_only();
    #[cfg(feature = "ec2")]
    <forebay_adapters::machines::ec2::Ec2View as LooksOnly<_>>::looks_only();
    #[cfg(feature = "libvirt")]
    <forebay_adapters::machines::libvirt::LibvirtView as LooksOnly<_>>::looks_only();
    // Of an executor both can be asked for.
    <FakeExecutor as LooksOnly<Looks>>::looks_only();
    <Box<dyn MachineExecutor> as LooksOnly<Writes>>::looks_only();
    is_sent::<Box<dyn MachineView>>();
    is_sent::<Box<dyn MachineExecutor>>();
    is_sent::<QemuView>();
    is_sent::<QemuExecutor>();
    #[cfg(feature = "libvirt")]
    is_sent::<forebay_adapters::machines::libvirt::LibvirtExecutor>();
}
