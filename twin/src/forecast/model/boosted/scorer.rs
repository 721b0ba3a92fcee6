//! Values of a forest for many rows at once, without a jump.
//!
//! Every node is asked about every row; one that sends a row to its second child strikes the leaves below the first.
//! The leaf that a row reaches is the first that is left (C. Lucchese et al., "QuickScorer: a Fast Algorithm to Rank
//! Documents with Additive Ensembles of Regression Trees", SIGIR 2015). Leaves are added up in the order of their
//! trees, so that sums are those of a walk from root to leaf, bit for bit.

use pulp::{Arch, Simd, WithSimd};

use super::TREES;

/// Rows that are looked at together.
pub(super) const LANES: usize = 16;

/// Most leaves of a tree: a bit each.
pub(super) const LEAVES_MOST: usize = 32;

/// Features by their place, each of [`LANES`] rows.
pub(super) type Lanes = [[f32; LANES]; TREES.end];

/// A forest, laid out for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scorer {
    nodes: Vec<Question>,
    /// Leaves of all trees, each tree's from left to right.
    leaves: Vec<f32>,
    /// Nodes of each tree; it has one leaf more.
    trees: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Question {
    feature: u32,
    limit: f32,
    /// The leaves that stay where a feature is above its limit.
    stay: u32,
}

impl Scorer {
    /// Adds a tree: its inner nodes in any order, each as feature, limit and the range of leaves below its first
    /// child, counted from left to right, and its leaves.
    pub(super) fn push(&mut self, nodes: impl Iterator<Item = (usize, f32, std::ops::Range<usize>)>, leaves: &[f32]) {
        assert!((1..=LEAVES_MOST).contains(&leaves.len()), "as many leaves as a word has bits");
        let before = self.nodes.len();
        self.nodes.extend(nodes.map(|(feature, limit, first)| {
            assert!(feature < TREES.end, "a feature that there is");
            let struck = first.fold(0u32, |struck, leaf| struck | 1 << leaf);
            Question { feature: feature as u32, limit, stay: !struck }
        }));
        self.trees.push((self.nodes.len() - before) as u32);
        assert_eq!(leaves.len(), self.nodes.len() - before + 1, "a leaf more than nodes");
        self.leaves.extend_from_slice(leaves);
    }

    /// The sum of all trees' leaves for each of the first `count` rows.
    pub(super) fn sums(&self, rows: &Lanes, count: usize) -> [f64; LANES] {
        assert!(count <= LANES);
        Arch::new().dispatch(Sums { scorer: self, rows, count })
    }
}

struct Sums<'a> {
    scorer: &'a Scorer,
    rows: &'a Lanes,
    count: usize,
}

impl WithSimd for Sums<'_> {
    type Output = [f64; LANES];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f64; LANES] {
        let Sums { scorer, rows, count } = self;
        let (mut nodes, mut leaves) = (&scorer.nodes[..], &scorer.leaves[..]);
        let (mut sums, mut left) = ([0.0; LANES], [u32::MAX; LANES]);
        let all = simd.splat_u32s(u32::MAX);
        let vectors = count.div_ceil(S::F32_LANES);
        for size in &scorer.trees {
            let (own, other) = nodes.split_at(*size as usize);
            let (own_leaves, other_leaves) = leaves.split_at(own.len() + 1);
            (nodes, leaves) = (other, other_leaves);
            for (vector, left) in S::as_mut_simd_u32s(&mut left).0[..vectors].iter_mut().enumerate() {
                // In a register over all nodes: through memory it would take thirty times as long.
                let mut stays = all;
                for Question { feature, limit, stay } in own {
                    let values = S::as_simd_f32s(&rows[*feature as usize]).0[vector];
                    let above = simd.greater_than_f32s(values, simd.splat_f32s(*limit));
                    stays = simd.and_u32s(stays, simd.select_u32s(above, simd.splat_u32s(*stay), all));
                }
                *left = stays;
            }
            for (sum, left) in sums[..count].iter_mut().zip(left) {
                // No row strikes its own leaf.
                *sum += f64::from(own_leaves[left.trailing_zeros() as usize]);
            }
        }
        sums
    }
}
