//! Trees that add up to a quantile.
//!
//! The pinball loss at level α has the gradient 1 − α above the target and −α below it, so that the sum of gradients
//! over rows is a count of those above less α times all: histograms hold two whole numbers, and no rounding depends on
//! an order. A leaf's value is the α-quantile of what its rows still miss.

use std::ops::Range;

use super::TREES;
use super::bins::{BINS, Binned};
use super::scorer::{LANES, Lanes, Scorer};
use crate::forecast::chance::Chance;

/// How trees grow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    pub(super) trees: usize,
    /// Leaves of a tree, at most.
    pub(super) leaves: usize,
    /// Rows of a leaf, at least.
    pub(super) rows: u32,
    /// Share of a leaf's value that is added.
    pub(super) rate: f64,
    /// Share of rows that a tree sees, and of features.
    pub(super) row_share: f64,
    pub(super) feature_share: f64,
}

impl Default for Growth {
    fn default() -> Self {
        Growth { trees: 200, leaves: 12, rows: 200, rate: 0.05, row_share: 0.8, feature_share: 0.5 }
    }
}

/// A sum of trees.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Forest {
    start: f64,
    trees: Vec<Tree>,
    scorer: Scorer,
}

/// Inner nodes in the order in which they were split; the first is the root. Without any, one leaf.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) leaves: Vec<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) feature: u8,
    /// Rows with at most this go to the first child.
    pub(super) limit: f32,
    /// An inner node when not negative, else the leaf −1 − child.
    pub(super) children: [i16; 2],
}

impl Tree {
    /// Leaves from left to right, and for each node how many stand left of it and how many below its first child.
    fn in_order(&self) -> (Vec<f32>, Vec<Range<usize>>) {
        let (mut leaves, mut first) = (Vec::with_capacity(self.leaves.len()), vec![0..0; self.nodes.len()]);
        // A child to visit, or a node whose first child has been.
        let mut open: Vec<(i16, bool)> = vec![(if self.nodes.is_empty() { -1 } else { 0 }, false)];
        while let Some((at, seen)) = open.pop() {
            if at < 0 {
                leaves.push(self.leaves[(-1 - at) as usize]);
            } else if seen {
                first[at as usize].end = leaves.len();
            } else {
                let [low, high] = self.nodes[at as usize].children;
                first[at as usize].start = leaves.len();
                open.extend([(high, false), (at, true), (low, false)]);
            }
        }
        (leaves, first)
    }
}

impl Forest {
    /// The sum of `start` and trees, each of which is one: nodes after their parents, every node and leaf referred to once.
    pub(super) fn new(start: f64, trees: Vec<Tree>) -> Self {
        let mut scorer = Scorer::default();
        for tree in &trees {
            let (leaves, first) = tree.in_order();
            let nodes = tree.nodes.iter().zip(first);
            scorer.push(nodes.map(|(node, first)| (usize::from(node.feature), node.limit, first)), &leaves);
        }
        Forest { start, trees, scorer }
    }

    /// What trees are added to.
    pub(super) fn start(&self) -> f64 {
        self.start
    }

    /// The trees, oldest first.
    pub(super) fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The quantile for the features of each of the first `count` rows.
    pub(super) fn values(&self, rows: &Lanes, count: usize) -> [f64; LANES] {
        self.scorer.sums(rows, count).map(|sum| self.start + sum)
    }

    /// Grows a forest for the quantile of `targets` at `level`, less what `said` says already, if anything.
    pub(super) fn grow(binned: &Binned, targets: &[f32], said: &[f32], level: f64, growth: &Growth, seed: u64) -> Self {
        let mut chance = Chance::new(seed, &format!("forest {level}"));
        let mut missing: Vec<f32> = targets.to_vec();
        missing.iter_mut().zip(said).for_each(|(missing, said)| *missing -= said);
        let start = quantile(&mut missing.clone(), level);
        missing.iter_mut().for_each(|missing| *missing -= start);
        let mut trees = Vec::with_capacity(growth.trees);
        for _ in 0..growth.trees {
            let rows: Vec<u32> = (0..binned.rows as u32).filter(|_| chance.uniform() < growth.row_share).collect();
            let features = pick(&mut chance, growth.feature_share);
            let (tree, splits) = Growing { binned, missing: &missing, level, growth, features: &features }.grow(rows);
            for (row, missing) in missing.iter_mut().enumerate() {
                let mut at: i16 = if splits.is_empty() { -1 } else { 0 };
                while at >= 0 {
                    let (feature, bin) = splits[at as usize];
                    at = tree.nodes[at as usize].children[usize::from(binned.columns[feature][row] > bin)];
                }
                *missing -= tree.leaves[(-1 - at) as usize];
            }
            trees.push(tree);
        }
        Forest::new(f64::from(start), trees)
    }
}

/// Some of the features, in order.
fn pick(chance: &mut Chance, share: f64) -> Vec<usize> {
    let mut features: Vec<usize> = TREES.collect();
    let count = ((features.len() as f64 * share).round() as usize).clamp(1, features.len());
    for at in 0..count {
        let other = at + chance.below(features.len() - at);
        features.swap(at, other);
    }
    features.truncate(count);
    features.sort_unstable();
    features
}

/// The quantile of values, linear between two; reorders them.
fn quantile(values: &mut [f32], level: f64) -> f32 {
    let place = level * (values.len() - 1) as f64;
    let (_, &mut low, above) = values.select_nth_unstable_by(place as usize, f32::total_cmp);
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    low + (high - low) * place.fract() as f32
}

/// Rows in the low half, rows above their target in the high half.
type Histogram = Vec<[u64; BINS + 1]>;

struct Growing<'a> {
    binned: &'a Binned,
    missing: &'a [f32],
    level: f64,
    growth: &'a Growth,
    features: &'a [usize],
}

/// A leaf that may yet be split.
struct Open {
    rows: Vec<u32>,
    histogram: Histogram,
    best: Option<Split>,
    /// Where its parent refers to it.
    parent: Option<(usize, usize)>,
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    /// Place among the features looked at.
    nth: usize,
    bin: u8,
}

impl Growing<'_> {
    fn grow(&self, rows: Vec<u32>) -> (Tree, Vec<(usize, u8)>) {
        let (mut tree, mut splits) = (Tree::default(), Vec::new());
        let histogram = self.count(&rows);
        let best = self.best(&histogram);
        let mut open = vec![Open { rows, histogram, best, parent: None }];
        while open.len() < self.growth.leaves {
            // The first of equals, so that the order of leaves decides nothing else.
            let gain = |open: &Open| open.best.map_or(0.0, |best| best.gain);
            let Some(nth) = (0..open.len()).rev().max_by(|&a, &b| gain(&open[a]).total_cmp(&gain(&open[b]))) else {
                break;
            };
            let Some(split) = open[nth].best else { break };
            let parent = open.swap_remove(nth);
            let feature = self.features[split.nth];
            let column = &self.binned.columns[feature];
            let (low, high): (Vec<u32>, Vec<u32>) =
                parent.rows.iter().partition(|&&row| column[row as usize] <= split.bin);
            // The smaller side is counted, the larger one is the rest.
            let low_is_smaller = low.len() < high.len();
            let counted = self.count(if low_is_smaller { &low } else { &high });
            let mut rest = parent.histogram;
            for (rest, counted) in rest.iter_mut().flatten().zip(counted.iter().flatten()) {
                *rest -= counted;
            }
            let (low_histogram, high_histogram) = if low_is_smaller { (counted, rest) } else { (rest, counted) };
            let node = tree.nodes.len();
            if let Some((above, side)) = parent.parent {
                tree.nodes[above].children[side] = node as i16;
            }
            let limit = self.binned.bounds[feature][usize::from(split.bin)];
            tree.nodes.push(Node { feature: feature as u8, limit, children: [0, 0] });
            splits.push((feature, split.bin));
            for (side, rows, histogram) in [(0, low, low_histogram), (1, high, high_histogram)] {
                let best = self.best(&histogram);
                open.push(Open { rows, histogram, best, parent: Some((node, side)) });
            }
        }
        for leaf in open {
            if let Some((above, side)) = leaf.parent {
                tree.nodes[above].children[side] = -1 - tree.leaves.len() as i16;
            }
            let mut missing: Vec<f32> = leaf.rows.iter().map(|&row| self.missing[row as usize]).collect();
            let value = if missing.is_empty() { 0.0 } else { quantile(&mut missing, self.level) };
            tree.leaves.push(value * self.growth.rate as f32);
        }
        (tree, splits)
    }

    fn count(&self, rows: &[u32]) -> Histogram {
        let marks: Vec<u64> = rows.iter().map(|&row| 1 | u64::from(self.missing[row as usize] < 0.0) << 32).collect();
        self.features
            .iter()
            .map(|&feature| {
                let mut counts = [0; BINS + 1];
                let column = &self.binned.columns[feature];
                for (&row, mark) in rows.iter().zip(&marks) {
                    counts[usize::from(column[row as usize])] += mark;
                }
                counts
            })
            .collect()
    }

    /// The split that takes most of the loss, if there is one that leaves enough rows on both sides.
    fn best(&self, histogram: &Histogram) -> Option<Split> {
        let total: u64 = histogram.first()?.iter().sum();
        let score = |counts: u64| {
            let (rows, above) = ((counts & 0xFFFF_FFFF) as f64, (counts >> 32) as f64);
            let gradient = above - self.level * rows;
            gradient * gradient / rows
        };
        let whole = score(total);
        let fewest = u64::from(self.growth.rows);
        let mut best: Option<Split> = None;
        for (nth, counts) in histogram.iter().enumerate() {
            let mut low = 0;
            for (bin, count) in counts.iter().enumerate().take(self.binned.bounds[self.features[nth]].len()) {
                low += count;
                let high = total - low;
                if low & 0xFFFF_FFFF < fewest {
                    continue;
                }
                if high & 0xFFFF_FFFF < fewest {
                    break;
                }
                let gain = score(low) + score(high) - whole;
                if gain > best.map_or(1e-9, |best| best.gain) {
                    best = Some(Split { gain, nth, bin: bin as u8 });
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From root to leaf.
    fn walk(tree: &Tree, row: &[f32; TREES.end]) -> f64 {
        let mut at: i16 = if tree.nodes.is_empty() { -1 } else { 0 };
        while at >= 0 {
            let node = &tree.nodes[at as usize];
            at = node.children[usize::from(row[usize::from(node.feature)] > node.limit)];
        }
        f64::from(tree.leaves[(-1 - at) as usize])
    }

    #[test]
    fn rows_together_get_what_a_walk_from_root_to_leaf_says_bit_for_bit() {
        let mut chance = Chance::new(1, "walk");
        let rows: Vec<[f32; TREES.end]> =
            (0..600).map(|_| std::array::from_fn(|_| (chance.normal() * 3.0).round() as f32 / 3.0)).collect();
        let targets: Vec<f32> = rows.iter().map(|row| row[0] * row[1] + row[2] - row[7].abs()).collect();
        let wide: Vec<[f32; super::super::COUNT]> =
            rows.iter().map(|row| std::array::from_fn(|at| row.get(at).copied().unwrap_or(0.0))).collect();
        let growth = Growth { trees: 60, leaves: 12, rows: 10, ..Growth::default() };
        let forest = Forest::grow(&Binned::new(&wide), &targets, &[], 0.7, &growth, 3);
        assert!(forest.trees.iter().any(|tree| tree.leaves.len() == 12));
        for count in [1, 5, 8, 9, LANES] {
            for chunk in rows.chunks(count) {
                let mut lanes = [[0.0; LANES]; TREES.end];
                for (lane, row) in chunk.iter().enumerate() {
                    lanes.iter_mut().zip(row).for_each(|(lanes, value)| lanes[lane] = *value);
                }
                let values = forest.values(&lanes, chunk.len());
                for (row, value) in chunk.iter().zip(values) {
                    let wanted = forest.start + forest.trees.iter().map(|tree| walk(tree, row)).sum::<f64>();
                    assert_eq!(value.to_bits(), wanted.to_bits());
                }
            }
        }
    }
}
