//! Who has which address of a region.

use std::collections::BTreeMap;

use forebay_world::{RegionId, VmId};

/// Addresses in use, by region, dense, and whose they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    most: Vec<u32>,
    taken: Vec<BTreeMap<u32, VmId>>,
}

impl Addresses {
    pub(super) fn new(most: &[u32]) -> Self {
        Addresses { most: most.to_vec(), taken: vec![BTreeMap::new(); most.len()] }
    }

    /// One that nobody has: by its number, or the next that is free.
    pub(super) fn take(&mut self, region: RegionId, vm: VmId) -> Option<u32> {
        let (most, taken) = (self.most[region.index()], &mut self.taken[region.index()]);
        if taken.len() >= most as usize {
            return None;
        }
        let first = (vm.0 % u64::from(most)) as u32;
        let free = (first..most).chain(0..first).find(|address| !taken.contains_key(address))?;
        taken.insert(free, vm);
        Some(free)
    }

    /// Whoever has it already keeps it.
    pub(super) fn keep(&mut self, region: RegionId, address: u32, vm: VmId) {
        if let Some(taken) = self.taken.get_mut(region.index()) {
            taken.entry(address).or_insert(vm);
        }
    }

    pub(super) fn let_go(&mut self, region: RegionId, address: u32, vm: VmId) {
        let taken = &mut self.taken[region.index()];
        if taken.get(&address) == Some(&vm) {
            taken.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_shares_an_address() {
        let mut addresses = Addresses::new(&[3, 1]);
        let mut take = |vm| addresses.take(RegionId(0), VmId(vm));
        assert_eq!([take(4), take(7), take(1), take(2)], [Some(1), Some(2), Some(0), None]);
        assert_eq!(addresses.take(RegionId(1), VmId(5)), Some(0));
        addresses.let_go(RegionId(0), 2, VmId(4));
        assert_eq!(addresses.take(RegionId(0), VmId(9)), None, "it is another's");
        addresses.let_go(RegionId(0), 2, VmId(7));
        assert_eq!(addresses.take(RegionId(0), VmId(9)), Some(2));
    }
}
