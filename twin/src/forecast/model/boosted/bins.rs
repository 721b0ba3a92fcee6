//! Feature values in bins: a byte each, by column.

use super::{COUNT, TREES};

/// Most bins of a feature.
pub(super) const BINS: usize = 255;

/// The rows of a training set, each feature in bins of about equally many rows.
pub(super) struct Binned {
    /// By feature: the bin of each row.
    pub(super) columns: Vec<Vec<u8>>,
    /// By feature: the largest value of each bin but the last.
    pub(super) bounds: Vec<Vec<f32>>,
    pub(super) rows: usize,
}

impl Binned {
    pub(super) fn new(rows: &[[f32; COUNT]]) -> Self {
        let (mut columns, mut bounds) = (Vec::new(), Vec::new());
        for feature in TREES {
            let mut sorted: Vec<f32> = rows.iter().map(|row| row[feature]).collect();
            sorted.sort_unstable_by(f32::total_cmp);
            let mut limits: Vec<f32> = (1..BINS).map(|nth| sorted[nth * (sorted.len() - 1) / BINS]).collect();
            limits.dedup();
            // A bound at the largest value would leave the last bin empty.
            limits.retain(|limit| limit < &sorted[sorted.len() - 1]);
            columns.push(rows.iter().map(|row| limits.partition_point(|limit| *limit < row[feature]) as u8).collect());
            bounds.push(limits);
        }
        Binned { columns, bounds, rows: rows.len() }
    }
}
