//! Products of small dense matrices in single precision, on one core: what a recurrence spends its time with.
//!
//! The right operand is packed once into panels two vectors wide and used for many products, since the same weights
//! meet every step of a sequence; a tile of the result stays in registers while the inner dimension runs (K. Goto,
//! R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008). The width of a vector
//! is the processor's, found when the program runs. Not a general matrix library: everything is row by row.

use pulp::{Arch, Simd, WithSimd};

/// The right operand of products, K × N, packed for the processor at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Panels {
    inner: usize,
    columns: usize,
    /// For each panel, for each k: two vectors of columns, zero beyond the last.
    packed: Vec<f32>,
}

/// The left operand of a product.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left<'a> {
    /// M rows of K.
    Rows(&'a [f32]),
    /// K rows of M: the transpose is multiplied.
    Columns(&'a [f32]),
}

/// What becomes of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Into {
    /// It replaces what stood there.
    Set,
    /// It is added to what stood there.
    Add,
}

impl Panels {
    /// Packs `values`, K = `inner` rows of N = `columns`, in the place of what was packed before.
    pub(super) fn pack(&mut self, values: &[f32], inner: usize, columns: usize) {
        assert_eq!(values.len(), inner * columns);
        (self.inner, self.columns) = (inner, columns);
        let width = panel_width();
        self.packed.clear();
        for first in (0..columns).step_by(width) {
            let last = (first + width).min(columns);
            for row in values.chunks_exact(columns) {
                self.packed.extend_from_slice(&row[first..last]);
                self.packed.resize(self.packed.len() + width - (last - first), 0.0);
            }
        }
    }

    /// Packs the transpose of `values`, N = `columns` rows of K = `inner`.
    pub(super) fn pack_transposed(&mut self, values: &[f32], inner: usize, columns: usize) {
        assert_eq!(values.len(), inner * columns);
        let turned: Vec<f32> = (0..inner * columns).map(|n| values[n % columns * inner + n / columns]).collect();
        self.pack(&turned, inner, columns);
    }

    /// Multiplies `left`, M × K, by what is packed, into `result`, M rows of N.
    pub(super) fn multiply(&self, left: Left<'_>, result: &mut [f32], into: Into) {
        assert_eq!(result.len() % self.columns, 0);
        let (Left::Rows(values) | Left::Columns(values)) = left;
        assert_eq!(values.len(), result.len() / self.columns * self.inner);
        Arch::new().dispatch(Product { panels: self, left, result, into });
    }
}

/// Columns of a panel: two vectors.
fn panel_width() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            2 * S::F32_LANES
        }
    }
    Arch::new().dispatch(Width)
}

struct Product<'a> {
    panels: &'a Panels,
    left: Left<'a>,
    result: &'a mut [f32],
    into: Into,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // A tile of 8 × 2 vectors fills half of 32 registers; of 16 registers, 6 × 2 leave room for the operands.
        if S::F32_LANES >= 16 { self.run::<S, 8>(simd) } else { self.run::<S, 6>(simd) }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn run<S: Simd, const ROWS: usize>(self, simd: S) {
        let Panels { inner, columns, packed } = self.panels;
        let (inner, columns) = (*inner, *columns);
        let rows = self.result.len() / columns;
        let (packed, _) = S::as_simd_f32s(packed);
        for (panel, first) in packed.chunks_exact(2 * inner).zip((0..columns).step_by(2 * S::F32_LANES)) {
            for top in (0..rows).step_by(ROWS) {
                let height = ROWS.min(rows - top);
                let sums: [[S::f32s; 2]; ROWS] = match self.left {
                    Left::Rows(values) if height == ROWS => {
                        let values: [&[f32]; ROWS] = std::array::from_fn(|r| &values[(top + r) * inner..][..inner]);
                        tile(simd, panel, |k| values.map(|row| row[k]))
                    }
                    Left::Rows(values) => tile(simd, panel, |k| {
                        std::array::from_fn(|r| if r < height { values[(top + r) * inner + k] } else { 0.0 })
                    }),
                    Left::Columns(values) if height == ROWS => tile(simd, panel, |k| {
                        *values[k * rows + top..].first_chunk().expect("a tile of rows stands in the matrix")
                    }),
                    Left::Columns(values) => tile(simd, panel, |k| {
                        std::array::from_fn(|r| if r < height { values[k * rows + top + r] } else { 0.0 })
                    }),
                };
                let wide = first + 2 * S::F32_LANES <= columns;
                for (sums, row) in sums.iter().zip(self.result[top * columns..].chunks_exact_mut(columns)).take(height)
                {
                    if wide {
                        let (places, _) = S::as_mut_simd_f32s(&mut row[first..first + 2 * S::F32_LANES]);
                        for (place, sum) in places.iter_mut().zip(sums) {
                            *place = if self.into == Into::Add { simd.add_f32s(*place, *sum) } else { *sum };
                        }
                    } else {
                        for (place, sum) in row[first..].chunks_mut(S::F32_LANES).zip(sums) {
                            let before = simd.partial_load_f32s(place);
                            let sum = if self.into == Into::Add { simd.add_f32s(before, *sum) } else { *sum };
                            simd.partial_store_f32s(place, sum);
                        }
                    }
                }
            }
        }
    }
}

/// A tile of the product: rows of the left operand, given by the inner index, times a panel.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize>(
    simd: S,
    panel: &[S::f32s],
    left: impl Fn(usize) -> [f32; ROWS],
) -> [[S::f32s; 2]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); 2]; ROWS];
    for (k, right) in panel.chunks_exact(2).enumerate() {
        let left = left(k);
        for r in 0..ROWS {
            let value = simd.splat_f32s(left[r]);
            sums[r][0] = simd.mul_add_e_f32s(value, right[0], sums[r][0]);
            sums[r][1] = simd.mul_add_e_f32s(value, right[1], sums[r][1]);
        }
    }
    // A copy: what is returned itself would live in memory, and every sum be stored at every k.
    std::array::from_fn(|r| [sums[r][0], sums[r][1]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sizes, and as many values as two operands and a result can need.
    fn operands() -> impl Strategy<Value = (usize, usize, usize, Vec<f32>)> {
        (1..20_usize, 1..40_usize, 1..80_usize, prop::collection::vec(-1.0..1.0_f32, 80 * 40 + 20 * 40 + 20 * 80))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_product_is_the_sum_of_products((rows, inner, columns, values) in operands()) {
            let (left, rest) = values.split_at(rows * inner);
            let (right, rest) = rest.split_at(inner * columns);
            let before = &rest[..rows * columns];
            let turned: Vec<f32> = (0..inner * rows).map(|n| left[n % rows * inner + n / rows]).collect();
            let mut panels = Panels::default();
            panels.pack(right, inner, columns);
            for (left_values, into) in [(Left::Rows(left), Into::Add), (Left::Columns(&turned), Into::Set)] {
                let mut result = before.to_vec();
                panels.multiply(left_values, &mut result, into);
                for (n, got) in result.iter().enumerate() {
                    let start = if into == Into::Add { f64::from(before[n]) } else { 0.0 };
                    let (row, column) = (n / columns, n % columns);
                    let exact = (0..inner).fold(start, |sum, k| {
                        sum + f64::from(left[row * inner + k]) * f64::from(right[k * columns + column])
                    });
                    prop_assert!((f64::from(*got) - exact).abs() < 1e-5, "{row}, {column}: {got}, not {exact}");
                }
            }
        }

        #[test]
        fn a_transpose_is_packed_like_its_values((_, inner, columns, values) in operands()) {
            let values = &values[..inner * columns];
            let turned: Vec<f32> = (0..inner * columns).map(|n| values[n % inner * columns + n / inner]).collect();
            let (mut one, mut other) = (Panels::default(), Panels::default());
            one.pack(values, inner, columns);
            other.pack_transposed(&turned, inner, columns);
            prop_assert_eq!(one.packed, other.packed);
        }
    }
}
