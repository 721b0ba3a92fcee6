//! What the simulator's network says.

use forebay_sim::network::Network;
use forebay_world::{SliceId, Timestamp};

use crate::table::{Configuration, Load};

/// Simulated time over which usage is taken \[s\].
const SECONDS: u64 = 10;

/// What each slice carries \[Mbit/s\]: a link, its slices, datagrams as a flow that takes no more than they offer,
/// connections as elastic flows that the link alone limits.
pub(crate) fn predict(configuration: &Configuration, link_mbit_per_s: f64) -> Vec<f64> {
    let mut network = Network::new();
    let (begin, end) = (Timestamp::EPOCH, Timestamp::from_secs(SECONDS));
    let capacity = link_mbit_per_s * 1e6;
    let link = network.add_link(capacity);
    for (at, terms) in configuration.terms(link_mbit_per_s).into_iter().enumerate() {
        network.set_slice(begin, SliceId::at(at), link, terms);
    }
    for (at, slice) in configuration.slices.iter().enumerate() {
        let id = Some(SliceId::at(at));
        match slice.load {
            Load::Idle => {}
            Load::Udp(_) => {
                let group = network.group(begin, &[link], id, slice.load.offered(capacity), 0.0);
                network.join(begin, group);
            }
            Load::Tcp(flows) => {
                let group = network.group(begin, &[link], id, capacity, 0.0);
                // More than the link carries in the time.
                for tag in 0..flows as u64 {
                    network.start(begin, group, 10.0 * capacity * SECONDS as f64, tag);
                }
            }
        }
    }
    let carried = |at| network.take_slice_usage(end, SliceId::at(at)).bits / SECONDS as f64 / 1e6;
    (0..configuration.slices.len()).map(carried).collect()
}
