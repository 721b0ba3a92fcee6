//! Which host has room: a ledger of free processors, memory and bandwidth with a search tree over it.
//!
//! Both sides of the seam keep one: the planner to place virtual machines, the simulated world to refuse a plan that
//! does not fit. A search costs O(log hosts) when hosts are alike, and never visits a host that cannot fit.

use crate::{BitsPerSecond, Bytes, Cpu, Flavour, Host};

/// What a host has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Room {
    /// Processors \[1/1000 vCPU\].
    pub cpu: Cpu,
    /// Memory \[byte\].
    pub memory: Bytes,
    /// Network interface \[bit/s\].
    pub bandwidth: BitsPerSecond,
}

impl Room {
    /// All that `host` has.
    pub fn of_host(host: &Host) -> Self {
        Room { cpu: host.cpu, memory: host.memory, bandwidth: host.bandwidth }
    }

    /// What a virtual machine of `flavour` takes.
    pub fn of_flavour(flavour: &Flavour) -> Self {
        Room { cpu: flavour.cpu, memory: flavour.memory, bandwidth: flavour.bandwidth }
    }

    /// Whether `need` fits in.
    pub fn fits(&self, need: &Room) -> bool {
        need.cpu <= self.cpu && need.memory <= self.memory && need.bandwidth <= self.bandwidth
    }

    fn max(&self, other: &Room) -> Room {
        Room {
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
            bandwidth: self.bandwidth.max(other.bandwidth),
        }
    }
}

/// Free room of a list of hosts, with first-fit search by a tournament tree of component-wise maxima.
#[derive(Clone, Debug)]
pub struct HostLedger {
    /// Leaves hold each host's room; an inner node holds the component-wise maximum of its children. Node 1 is the root.
    tree: Vec<Room>,
    hosts: usize,
    leaves: usize,
}

impl HostLedger {
    /// A ledger of `rooms`, indexed as given.
    pub fn new(rooms: impl IntoIterator<Item = Room>) -> Self {
        let rooms: Vec<Room> = rooms.into_iter().collect();
        let leaves = rooms.len().next_power_of_two().max(1);
        let mut tree = vec![Room::default(); 2 * leaves];
        tree[leaves..leaves + rooms.len()].copy_from_slice(&rooms);
        for node in (1..leaves).rev() {
            tree[node] = tree[2 * node].max(&tree[2 * node + 1]);
        }
        HostLedger { tree, hosts: rooms.len(), leaves }
    }

    /// Number of hosts.
    pub fn len(&self) -> usize {
        self.hosts
    }

    /// True without hosts.
    pub fn is_empty(&self) -> bool {
        self.hosts == 0
    }

    /// What `host` has left.
    pub fn room(&self, host: usize) -> Room {
        self.tree[self.leaves + host]
    }

    /// The first host with room for `need`.
    pub fn first_fit(&self, need: &Room) -> Option<usize> {
        self.search(1, need).filter(|host| *host < self.hosts)
    }

    /// Takes `need` from `host`; false, and nothing taken, when it does not fit.
    pub fn take(&mut self, host: usize, need: &Room) -> bool {
        let room = self.room(host);
        if !room.fits(need) {
            return false;
        }
        self.set(
            host,
            Room {
                cpu: room.cpu - need.cpu,
                memory: room.memory - need.memory,
                bandwidth: room.bandwidth - need.bandwidth,
            },
        );
        true
    }

    /// Gives `need` back to `host`.
    pub fn give_back(&mut self, host: usize, need: &Room) {
        let room = self.room(host);
        self.set(
            host,
            Room {
                cpu: room.cpu + need.cpu,
                memory: room.memory + need.memory,
                bandwidth: room.bandwidth + need.bandwidth,
            },
        );
    }

    /// Sets what `host` has left: nothing when it is down, all when it is repaired and empty.
    pub fn set(&mut self, host: usize, room: Room) {
        let mut node = self.leaves + host;
        self.tree[node] = room;
        while node > 1 {
            node /= 2;
            let above = self.tree[2 * node].max(&self.tree[2 * node + 1]);
            if above == self.tree[node] {
                break;
            }
            self.tree[node] = above;
        }
    }

    /// Depth-first, left to right. A subtree whose maxima fit may still hold no fitting host (the maxima can come from
    /// different hosts), so the search may turn back.
    fn search(&self, node: usize, need: &Room) -> Option<usize> {
        if !self.tree[node].fits(need) {
            return None;
        }
        if node >= self.leaves {
            return Some(node - self.leaves);
        }
        self.search(2 * node, need).or_else(|| self.search(2 * node + 1, need))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn room(cpu: u64, memory: u64, bandwidth: u64) -> Room {
        Room { cpu: Cpu(cpu), memory: Bytes(memory), bandwidth: BitsPerSecond(bandwidth) }
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_a_linear_scan_finds(
            rooms in prop::collection::vec((0u64..9, 0u64..9, 0u64..9), 0..40),
            asks in prop::collection::vec(((0u64..9, 0u64..9, 0u64..9), any::<bool>()), 0..80),
        ) {
            let mut plain: Vec<Room> = rooms.iter().map(|&(c, m, b)| room(c, m, b)).collect();
            let mut ledger = HostLedger::new(plain.clone());
            let mut taken = Vec::new();
            for ((c, m, b), give) in asks {
                if give && let Some((host, need)) = taken.pop() {
                    ledger.give_back(host, &need);
                    let have: &mut Room = &mut plain[host];
                    *have = room(have.cpu.0 + need.cpu.0, have.memory.0 + need.memory.0, have.bandwidth.0 + need.bandwidth.0);
                }
                let need = room(c, m, b);
                let want = plain.iter().position(|have| have.fits(&need));
                prop_assert_eq!(ledger.first_fit(&need), want);
                if let Some(host) = want {
                    prop_assert!(ledger.take(host, &need));
                    let have = &mut plain[host];
                    *have = room(have.cpu.0 - c, have.memory.0 - m, have.bandwidth.0 - b);
                    taken.push((host, need));
                }
            }
        }
    }

    #[test]
    fn nothing_is_taken_where_it_does_not_fit() {
        let mut ledger = HostLedger::new([room(4, 4, 4)]);
        assert!(!ledger.take(0, &room(5, 1, 1)));
        assert_eq!(ledger.room(0), room(4, 4, 4));
        assert_eq!(HostLedger::new([]).first_fit(&room(0, 0, 0)), None);
    }
}
