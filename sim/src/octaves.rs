//! Functions of one positive number, tabulated 32 knots an octave and linear between: for curves that are looked up
//! millions of times over many orders of magnitude. Not for curves with kinks finer than 3 %.
//!
//! An octave is worked out when it is first looked into: a curve may reach over thirty of them, and what asks it mostly
//! stays in one or two.

use std::sync::{Arc, OnceLock};

const KNOT_BITS: u32 = 5;
const KNOTS: usize = 1 << KNOT_BITS;
const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;

/// `N` functions over the same knots, cheap to clone; clones share what has been worked out.
///
/// The knot below a number is the top of its bit pattern, so a lookup takes no logarithm.
#[derive(Clone, Debug)]
pub(crate) struct Octaves<const N: usize> {
    /// Bits of sign and exponent of the first octave.
    first: u64,
    octaves: Arc<[OnceLock<Box<Octave<N>>>]>,
}

/// The functions at the knots of an octave and at its end.
type Octave<const N: usize> = [[f64; N]; KNOTS + 1];

impl<const N: usize> Octaves<N> {
    /// A table from 2^`from` to 2^`to`.
    pub(crate) fn new(from: i32, to: i32) -> Self {
        assert!(from < to);
        let octaves = (from..to).map(|_| OnceLock::new()).collect();
        Octaves { first: 2f64.powi(from).to_bits() >> MANTISSA_BITS, octaves }
    }

    /// The functions at `x`, `None` outside the table. `f` is what is tabulated, the same at every call.
    #[inline]
    pub(crate) fn at(&self, x: f64, f: impl Fn(f64) -> [f64; N]) -> Option<[f64; N]> {
        const PART_BITS: u32 = MANTISSA_BITS - KNOT_BITS;
        const MASK: u64 = (1 << PART_BITS) - 1;
        let bits = x.to_bits();
        let octave = bits >> MANTISSA_BITS;
        let values = self.octaves.get(octave.wrapping_sub(self.first) as usize)?;
        let values = values.get_or_init(|| {
            Box::new(std::array::from_fn(|knot| {
                f(f64::from_bits((octave << MANTISSA_BITS) + ((knot as u64) << PART_BITS)))
            }))
        });
        let knot = (bits >> PART_BITS) as usize % KNOTS;
        let (low, high) = (&values[knot], &values[knot + 1]);
        let part = (bits & MASK) as f64 * (1.0 / (MASK + 1) as f64);
        Some(std::array::from_fn(|i| low[i] + (high[i] - low[i]) * part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_exact_for_lines_and_close_for_curves() {
        let table = Octaves::new(-3, 10);
        let mut x = 0.125;
        while x < 1024.0 {
            let [line, log] = table.at(x, |x| [2.0 * x + 1.0, x.ln()]).unwrap();
            assert!((line - (2.0 * x + 1.0)).abs() < 1e-12 * line, "{x}");
            // Error of linear interpolation: h²/8·|f″| with h = x/32 and f″ = −1/x².
            assert!((log - x.ln()).abs() <= 1.0 / 8192.0 + 1e-12, "{x}");
            x *= 1.003;
        }
    }

    #[test]
    fn outside_the_table_there_is_nothing() {
        let table = Octaves::new(0, 2);
        for x in [0.0, 0.99, 4.0, f64::INFINITY, f64::NAN, -1.0] {
            assert_eq!(table.at(x, |x| [x]), None, "{x}");
        }
        assert_eq!(table.at(1.0, |x| [x]), Some([1.0]));
    }

    #[test]
    fn an_octave_is_worked_out_once_and_only_when_it_is_asked_for() {
        let calls = std::cell::Cell::new(0);
        let table = Octaves::new(0, 8);
        let copy = table.clone();
        for (table, x) in [(&table, 5.0), (&copy, 7.9), (&table, 4.0)] {
            table.at(x, |x| {
                calls.set(calls.get() + 1);
                [x]
            });
        }
        assert_eq!(calls.get(), KNOTS + 1);
    }
}
