//! Functions of one positive number, tabulated 32 knots an octave and linear between: for curves that are looked up
//! millions of times over many orders of magnitude. Not for curves with kinks finer than 3 %.

use std::sync::Arc;

const KNOT_BITS: u32 = 5;
const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;

/// `N` functions over the same knots, cheap to clone.
///
/// The knot below a number is the top of its bit pattern, so a lookup takes no logarithm.
#[derive(Clone, Debug)]
pub(crate) struct Octaves<const N: usize> {
    first: u64,
    values: Arc<[[f64; N]]>,
}

impl<const N: usize> Octaves<N> {
    /// Tabulates from 2^`from` to 2^`to`.
    pub(crate) fn tabulate(from: i32, to: i32, mut f: impl FnMut(f64) -> [f64; N]) -> Self {
        assert!(from < to);
        let first = 2f64.powi(from).to_bits() >> (MANTISSA_BITS - KNOT_BITS);
        let last = 2f64.powi(to).to_bits() >> (MANTISSA_BITS - KNOT_BITS);
        let values = (first..=last).map(|knot| f(f64::from_bits(knot << (MANTISSA_BITS - KNOT_BITS)))).collect();
        Octaves { first, values }
    }

    /// The functions at `x`, `None` outside the table.
    #[inline]
    pub(crate) fn at(&self, x: f64) -> Option<[f64; N]> {
        let bits = x.to_bits();
        let knot = (bits >> (MANTISSA_BITS - KNOT_BITS)).checked_sub(self.first)? as usize;
        let [low, high] = self.values.get(knot..)?.first_chunk::<2>()?;
        const MASK: u64 = (1 << (MANTISSA_BITS - KNOT_BITS)) - 1;
        let part = (bits & MASK) as f64 * (1.0 / (MASK + 1) as f64);
        Some(std::array::from_fn(|i| low[i] + (high[i] - low[i]) * part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_exact_for_lines_and_close_for_curves() {
        let table = Octaves::tabulate(-3, 10, |x| [2.0 * x + 1.0, x.ln()]);
        let mut x = 0.125;
        while x < 1024.0 {
            let [line, log] = table.at(x).unwrap();
            assert!((line - (2.0 * x + 1.0)).abs() < 1e-12 * line, "{x}");
            // Error of linear interpolation: h²/8·|f″| with h = x/32 and f″ = −1/x².
            assert!((log - x.ln()).abs() <= 1.0 / 8192.0 + 1e-12, "{x}");
            x *= 1.003;
        }
    }

    #[test]
    fn outside_the_table_there_is_nothing() {
        let table = Octaves::tabulate(0, 2, |x| [x]);
        for x in [0.0, 0.99, 4.0, f64::INFINITY, f64::NAN, -1.0] {
            assert_eq!(table.at(x), None, "{x}");
        }
        assert_eq!(table.at(1.0), Some([1.0]));
    }
}
