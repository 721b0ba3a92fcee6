//! What machines are called on switches, and by which addresses they are known: a function of who they are.

use std::net::IpAddr;

use forebay_adapters::slices::MacAddress;
use forebay_world::{RegionId, VmId};

use crate::production::Production;

/// Names and addresses of one owner's machines.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a>(pub &'a Production);

impl Names<'_> {
    /// The interface of a machine on its host: `fb` and four digits of its owner, so that two owners' machines on one host
    /// are never called the same; 15 characters at most (linux/if.h: `IFNAMSIZ`).
    pub fn port(&self, vm: VmId) -> String {
        self.prefix() + &base36(vm.0)
    }

    /// What says whose interface one of this name is, where it is of one of this owner's machines: its owner's digits are
    /// worked out once.
    pub fn machines(&self) -> impl Fn(&str) -> Option<VmId> + use<> {
        let prefix = self.prefix();
        move |port| port.strip_prefix(&prefix).and_then(number).map(VmId)
    }

    fn prefix(&self) -> String {
        let owner = self.0.owner.uuid_of(VmId(u64::MAX)).as_u128() & 0xffff;
        format!("fb{owner:04x}-")
    }

    /// Its address on the link layer: locally administered, from its identity.
    pub fn mac(&self, vm: VmId) -> MacAddress {
        let bytes = self.0.owner.uuid_of(vm).into_bytes();
        MacAddress([0x02, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]])
    }

    /// The address that a region's machine has; `None` where the file gives it none.
    pub fn address(&self, region: RegionId, index: u32) -> Option<IpAddr> {
        let pool = self.0.network(region)?.addresses.as_ref()?;
        (u64::from(index) < pool.size()).then(|| pool.at(u64::from(index)))
    }

    /// The address at which clients reach it.
    pub fn public(&self, region: RegionId, index: u32) -> Option<IpAddr> {
        let pool = self.0.network(region)?.addresses.as_ref()?;
        self.address(region, index).map(|address| pool.public_of(address))
    }
}

fn base36(mut number: u64) -> String {
    // 36¹³ is more than there are numbers.
    let (mut digits, mut first) = ([0; 13], 13);
    loop {
        first -= 1;
        digits[first] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
        if number == 0 {
            return String::from_utf8_lossy(&digits[first..]).into_owned();
        }
    }
}

/// The number that [`base36`] writes so.
fn number(digits: &str) -> Option<u64> {
    let is_own = digits == "0" || !digits.starts_with(['0', '+']);
    let is_lower = !digits.bytes().any(|digit| digit.is_ascii_uppercase());
    u64::from_str_radix(digits, 36).ok().filter(|_| is_own && is_lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_read_back(written: u64, text in "[0-9a-zA-Z+-]{0,14}") {
            prop_assert_eq!(number(&base36(written)), Some(written));
            prop_assert!(number(&text).is_none_or(|read| base36(read) == text));
        }
    }

    #[test]
    fn numbers_are_short() {
        let of = |number| base36(number);
        assert_eq!([of(0), of(35), of(36), of(1_000_000)], ["0", "z", "10", "lfls"]);
        // Eight digits are left for it in the name of an interface.
        assert_eq!(base36(36_u64.pow(8) - 1).len(), 8);
        assert_eq!(base36(u64::MAX), "3w5e11264sgsf");
    }
}
