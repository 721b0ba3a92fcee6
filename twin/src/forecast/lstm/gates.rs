//! The gates of an LSTM cell: from a step's sums to its state, and back from the state's gradient to that of the sums.
//!
//! A row holds the sums of the input, forget, candidate and output gates of one sequence, each as wide as the state
//! (S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", 1997, with the forget gate of F. Gers et al., 2000):
//!
//! ```text
//! c = σ(f)·c₀ + σ(i)·tanh(g)      h = σ(o)·tanh(c)
//! ```

use pulp::{Arch, Simd, WithSimd};

/// The state's width is a multiple of this, so that whole vectors fill it on any processor.
pub(super) const WIDTH_STEP: usize = 16;

/// A step of all sequences, forward.
pub(super) struct Forward<'a> {
    /// Width of the state.
    pub(super) hidden: usize,
    /// Sums of the gates in, gates out: rows of 4 × hidden.
    pub(super) gates: &'a mut [f32],
    /// The cells before the step, rows of hidden.
    pub(super) before: &'a [f32],
    /// Receives the cells after the step.
    pub(super) after: &'a mut [f32],
    /// Receives the hyperbolic tangent of the cells after the step.
    pub(super) squashed: &'a mut [f32],
    /// Receives the hidden state in the last `hidden` of each row of `stride`.
    pub(super) state: &'a mut [f32],
    /// Length of a row of `state`.
    pub(super) stride: usize,
}

/// A step of all sequences, backward.
pub(super) struct Backward<'a> {
    /// Width of the state.
    pub(super) hidden: usize,
    /// The gates, as the forward step left them.
    pub(super) gates: &'a [f32],
    /// The cells before the step.
    pub(super) before: &'a [f32],
    /// The hyperbolic tangent of the cells after the step.
    pub(super) squashed: &'a [f32],
    /// Gradient of the hidden state after the step.
    pub(super) state: &'a [f32],
    /// Gradient of the cells: after the step in, before the step out.
    pub(super) cells: &'a mut [f32],
    /// Receives the gradient of the sums of the gates.
    pub(super) sums: &'a mut [f32],
}

impl Forward<'_> {
    pub(super) fn run(self) {
        let Forward { hidden, gates, before, after, squashed, state, stride } = &self;
        let sequences = before.len() / hidden;
        assert!(hidden % WIDTH_STEP == 0 && *stride >= *hidden);
        assert_eq!([gates.len(), after.len(), squashed.len(), state.len()], {
            [4 * sequences * hidden, sequences * hidden, sequences * hidden, sequences * stride]
        });
        Arch::new().dispatch(self);
    }
}

impl Backward<'_> {
    pub(super) fn run(self) {
        let Backward { hidden, gates, before, squashed, state, cells, sums } = &self;
        let sequences = before.len() / hidden;
        assert!(hidden % WIDTH_STEP == 0);
        assert_eq!([gates.len(), sums.len()], [4 * sequences * hidden; 2]);
        assert_eq!([squashed.len(), state.len(), cells.len()], [sequences * hidden; 3]);
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Forward { hidden, gates, before, after, squashed, state, stride } = self;
        let rows = before.chunks_exact(hidden).zip(after.chunks_exact_mut(hidden));
        let rows = rows.zip(squashed.chunks_exact_mut(hidden)).zip(state.chunks_exact_mut(stride));
        for (gates, (((before, after), squashed), state)) in gates.chunks_exact_mut(4 * hidden).zip(rows) {
            let (input, rest) = gates.split_at_mut(hidden);
            let (forget, rest) = rest.split_at_mut(hidden);
            let (candidate, output) = rest.split_at_mut(hidden);
            let count = hidden / S::F32_LANES;
            let input = &mut S::as_mut_simd_f32s(input).0[..count];
            let forget = &mut S::as_mut_simd_f32s(forget).0[..count];
            let candidate = &mut S::as_mut_simd_f32s(candidate).0[..count];
            let output = &mut S::as_mut_simd_f32s(output).0[..count];
            let before = &S::as_simd_f32s(before).0[..count];
            let after = &mut S::as_mut_simd_f32s(after).0[..count];
            let squashed = &mut S::as_mut_simd_f32s(squashed).0[..count];
            let state = &mut S::as_mut_simd_f32s(&mut state[stride - hidden..]).0[..count];
            for n in 0..count {
                input[n] = sigmoid(simd, input[n]);
                forget[n] = sigmoid(simd, forget[n]);
                candidate[n] = tanh(simd, candidate[n]);
                output[n] = sigmoid(simd, output[n]);
                after[n] = simd.mul_add_e_f32s(forget[n], before[n], simd.mul_f32s(input[n], candidate[n]));
                squashed[n] = tanh(simd, after[n]);
                state[n] = simd.mul_f32s(output[n], squashed[n]);
            }
        }
    }
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Backward { hidden, gates, before, squashed, state, cells, sums } = self;
        let one = simd.splat_f32s(1.0);
        // x·(1 − x) and 1 − x²: the slopes of the two squashing functions by their values.
        let sigmoid_slope = |x| simd.mul_f32s(x, simd.sub_f32s(one, x));
        let tanh_slope = |x| simd.sub_f32s(one, simd.mul_f32s(x, x));
        let rows = before.chunks_exact(hidden).zip(squashed.chunks_exact(hidden)).zip(state.chunks_exact(hidden));
        let rows = rows.zip(cells.chunks_exact_mut(hidden)).zip(sums.chunks_exact_mut(4 * hidden));
        for (gates, ((((before, squashed), state), cells), sums)) in gates.chunks_exact(4 * hidden).zip(rows) {
            let count = hidden / S::F32_LANES;
            let (gates, _) = S::as_simd_f32s(gates);
            let (input, rest) = gates.split_at(count);
            let (forget, rest) = rest.split_at(count);
            let (candidate, output) = rest.split_at(count);
            let (sums, _) = S::as_mut_simd_f32s(sums);
            let (input_sums, rest) = sums.split_at_mut(count);
            let (forget_sums, rest) = rest.split_at_mut(count);
            let (candidate_sums, output_sums) = rest.split_at_mut(count);
            let (candidate, output) = (&candidate[..count], &output[..count]);
            let (candidate_sums, output_sums) = (&mut candidate_sums[..count], &mut output_sums[..count]);
            let before = &S::as_simd_f32s(before).0[..count];
            let squashed = &S::as_simd_f32s(squashed).0[..count];
            let state = &S::as_simd_f32s(state).0[..count];
            let cells = &mut S::as_mut_simd_f32s(cells).0[..count];
            for n in 0..count {
                let (i, f, g, o, tanh_c) = (input[n], forget[n], candidate[n], output[n], squashed[n]);
                let through = simd.mul_f32s(simd.mul_f32s(state[n], o), tanh_slope(tanh_c));
                let cell = simd.add_f32s(cells[n], through);
                input_sums[n] = simd.mul_f32s(simd.mul_f32s(cell, g), sigmoid_slope(i));
                forget_sums[n] = simd.mul_f32s(simd.mul_f32s(cell, before[n]), sigmoid_slope(f));
                candidate_sums[n] = simd.mul_f32s(simd.mul_f32s(cell, i), tanh_slope(g));
                output_sums[n] = simd.mul_f32s(simd.mul_f32s(state[n], tanh_c), sigmoid_slope(o));
                cells[n] = simd.mul_f32s(cell, f);
            }
        }
    }
}

/// σ(x) = (1 + tanh(x/2))/2.
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let half = simd.splat_f32s(0.5);
    simd.mul_add_e_f32s(tanh(simd, simd.mul_f32s(x, half)), half, half)
}

/// The hyperbolic tangent to 4·10⁻⁷, by the odd rational function of degree 13 over 6 that Eigen uses
/// (`generic_fast_tanh_float`), constant beyond ±7.9, where single precision sees no difference from one.
#[inline(always)]
fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const BOUND: f32 = 7.905_311;
    const ABOVE: [f32; 7] =
        [-2.760_768_5e-16, 2.000_188e-13, -8.604_672e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619_3e-4, 4.893_524_6e-3];
    const BELOW: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    let x = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-BOUND)), simd.splat_f32s(BOUND));
    let square = simd.mul_f32s(x, x);
    let mut above = simd.splat_f32s(ABOVE[0]);
    for coefficient in &ABOVE[1..] {
        above = simd.mul_add_e_f32s(above, square, simd.splat_f32s(*coefficient));
    }
    let mut below = simd.splat_f32s(BELOW[0]);
    for coefficient in &BELOW[1..] {
        below = simd.mul_add_e_f32s(below, square, simd.splat_f32s(*coefficient));
    }
    simd.div_f32s(simd.mul_f32s(x, above), below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squashing_is_as_good_as_single_precision_needs() {
        let sums: Vec<f32> = (-1600..1600).map(|n| n as f32 / 100.0).collect();
        for batch in sums.chunks_exact(WIDTH_STEP) {
            // Only the candidate and the output gate vary: c = σ(9)·tanh(g), and the forget gate is of no effect.
            let mut gates = [&[9.0; WIDTH_STEP][..], &[0.0; WIDTH_STEP], batch, batch].concat();
            let (mut after, mut squashed, mut state) = ([0.0; WIDTH_STEP], [0.0; WIDTH_STEP], [0.0; WIDTH_STEP]);
            Forward {
                hidden: WIDTH_STEP,
                gates: &mut gates,
                before: &[0.0; WIDTH_STEP],
                after: &mut after,
                squashed: &mut squashed,
                state: &mut state,
                stride: WIDTH_STEP,
            }
            .run();
            for (n, sum) in batch.iter().map(|sum| f64::from(*sum)).enumerate() {
                let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
                let cell = sigmoid(9.0) * sum.tanh();
                for (got, exact) in [
                    (gates[2 * WIDTH_STEP + n], sum.tanh()),
                    (gates[3 * WIDTH_STEP + n], sigmoid(sum)),
                    (after[n], cell),
                    (state[n], sigmoid(sum) * cell.tanh()),
                ] {
                    assert!((f64::from(got) - exact).abs() < 4e-7, "{sum}: {got}, not {exact}");
                }
            }
        }
    }
}
