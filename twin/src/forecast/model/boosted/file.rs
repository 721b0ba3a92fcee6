//! Forests as numbers in a file, and back.
//!
//! `starts` and `trees` have one number a forest: what its trees are added to, and how many there are. `sizes` has the
//! inner nodes of each tree, one forest after the other; `nodes` their feature, first and second child, `limits` their
//! limits, `leaves` one more than nodes for each tree.

use super::forest::{Forest, Node, Tree};
use super::scorer::LEAVES_MOST;
use super::{Boosted, GROWN, TREES};
use crate::forecast::artefact::{ArtefactError, Data, Shelf, Tensors};
use crate::forecast::model::features::Base;

impl Boosted {
    /// Puts its numbers into a file.
    pub(super) fn put(&self, numbers: &mut Tensors) {
        let starts: Vec<f64> = self.forests.iter().map(Forest::start).collect();
        let counts: Vec<i32> = self.forests.iter().map(|forest| forest.trees().len() as i32).collect();
        let trees: Vec<&Tree> = self.forests.iter().flat_map(Forest::trees).collect();
        let sizes: Vec<i32> = trees.iter().map(|tree| tree.nodes.len() as i32).collect();
        let nodes: Vec<&Node> = trees.iter().flat_map(|tree| &tree.nodes).collect();
        let whole: Vec<i32> = nodes
            .iter()
            .flat_map(|node| [i32::from(node.feature), i32::from(node.children[0]), i32::from(node.children[1])])
            .collect();
        let limits: Vec<f32> = nodes.iter().map(|node| node.limit).collect();
        let leaves: Vec<f32> = trees.iter().flat_map(|tree| &tree.leaves).copied().collect();
        numbers.put("starts", &[starts.len()], Data::Double(&starts));
        numbers.put("trees", &[counts.len()], Data::Whole(&counts));
        numbers.put("sizes", &[sizes.len()], Data::Whole(&sizes));
        numbers.put("nodes", &[nodes.len(), 3], Data::Whole(&whole));
        numbers.put("limits", &[limits.len()], Data::Single(&limits));
        numbers.put("leaves", &[leaves.len()], Data::Single(&leaves));
    }

    /// Takes its numbers from a file.
    pub(in crate::forecast::model) fn take(
        base: Base,
        horizon: usize,
        numbers: &mut Shelf<'_>,
    ) -> Result<Self, ArtefactError> {
        let starts = numbers.double("starts", &[Some(GROWN.len())])?;
        let counts = numbers.whole("trees", &[Some(GROWN.len())])?;
        let sizes = numbers.whole("sizes", &[None])?;
        let nodes = numbers.whole("nodes", &[None, Some(3)])?;
        let limits = numbers.single("limits", &[Some(nodes.len() / 3)])?;
        let leaves = numbers.single("leaves", &[Some(nodes.len() / 3 + sizes.len())])?;
        let trees = counts.iter().try_fold(0usize, |sum, count| Some(sum + usize::try_from(*count).ok()?));
        if trees != Some(sizes.len()) {
            return Err(numbers.problem("trees", format!("allowed are numbers that add up to {}", sizes.len())));
        }
        let possible = |size: &i32| (0..LEAVES_MOST as i32).contains(size);
        let inner = sizes.iter().map(|size| *size as usize);
        if !sizes.iter().all(possible) || inner.clone().sum::<usize>() != limits.len() {
            let allowed = format!("allowed are 0 to {} that add up to {}", LEAVES_MOST - 1, limits.len());
            return Err(numbers.problem("sizes", allowed));
        }
        let (mut nodes, mut limits, mut leaves) = (nodes.as_chunks::<3>().0, &limits[..], &leaves[..]);
        let mut read = Vec::with_capacity(sizes.len());
        for size in inner {
            let (own, own_limits, own_leaves);
            (own, nodes) = nodes.split_at(size);
            (own_limits, limits) = limits.split_at(size);
            (own_leaves, leaves) = leaves.split_at(size + 1);
            let tree = tree(own, own_limits, own_leaves);
            read.push(tree.ok_or_else(|| numbers.problem("nodes", format!("tree {} is none", read.len())))?);
        }
        let mut read = read.into_iter();
        let forests = starts.iter().zip(counts);
        let forests = forests.map(|(start, count)| Forest::new(*start, read.by_ref().take(count as usize).collect()));
        Ok(Boosted { base, horizon, forests: forests.collect() })
    }
}

/// The tree, if it is one: every node after its parent, and every node and leaf below exactly one.
fn tree(nodes: &[[i32; 3]], limits: &[f32], leaves: &[f32]) -> Option<Tree> {
    let (mut below, mut leaf_below) = (vec![false; nodes.len()], vec![nodes.is_empty(); leaves.len()]);
    let mut read = Vec::with_capacity(nodes.len());
    for (at, ([feature, low, high], limit)) in nodes.iter().zip(limits).enumerate() {
        let feature = u8::try_from(*feature).ok().filter(|feature| TREES.contains(&usize::from(*feature)))?;
        for child in [*low, *high] {
            let seen = match usize::try_from(child) {
                Ok(node) if node > at => below.get_mut(node)?,
                Ok(_) => return None,
                Err(_) => leaf_below.get_mut(usize::try_from(-1 - i64::from(child)).ok()?)?,
            };
            if std::mem::replace(seen, true) {
                return None;
            }
        }
        read.push(Node { feature, limit: *limit, children: [*low as i16, *high as i16] });
    }
    let whole = below.iter().skip(1).chain(&leaf_below).all(|seen| *seen);
    whole.then(|| Tree { nodes: read, leaves: leaves.to_vec() })
}
