//! One layer of LSTM over a batch of sequences, forward and back through time, on plain slices.
//!
//! It is here because a training step through a framework's tensors, operation by operation, takes several times as
//! long: for every step of the sequence this makes one product, whose left operand is the row [input, 1, state] of
//! each sequence and whose right operand holds the weights of inputs, the biases and the weights of the state, one
//! below the other. The gradient of all weights is then one product more for each step, and so is that of the state.
//!
//! Everything happens in an order that depends on the sizes alone, on one core: the same numbers in, the same bits out.

use super::gates;
use super::product::{Into, Left, Panels};

/// Sizes of a layer and its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Steps of each sequence.
    pub(super) steps: usize,
    /// Sequences in the batch.
    pub(super) sequences: usize,
    /// Inputs at each step.
    pub(super) inputs: usize,
    /// Width of the state, a multiple of [`gates::WIDTH_STEP`].
    pub(super) hidden: usize,
}

impl Sizes {
    /// Rows of the matrix of weights: inputs, bias, state.
    pub(super) fn rows(self) -> usize {
        self.inputs + 1 + self.hidden
    }

    /// Columns of the matrix of weights: input, forget, candidate and output gate.
    pub(super) fn columns(self) -> usize {
        4 * self.hidden
    }
}

/// A forward pass: its last state, and what the way back needs.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    sizes: Sizes,
    /// By step, and once more: rows [input, 1, state before the step].
    operands: Vec<f32>,
    /// By step: the gates.
    gates: Vec<f32>,
    /// By step, and once more: the cells before it.
    cells: Vec<f32>,
    /// By step: the hyperbolic tangent of the cells after it.
    squashed: Vec<f32>,
}

/// Gradients of what went into a pass.
#[derive(Clone, Debug)]
pub(super) struct Gradients {
    /// Of the weights, rows × columns.
    pub(super) weights: Vec<f32>,
    /// Of the inputs, steps × sequences × inputs, where asked for.
    pub(super) inputs: Option<Vec<f32>>,
}

/// Runs `inputs`, steps × sequences × inputs, through the layer with `weights`, rows × columns, from a state of zeros.
pub(super) fn forward(sizes: Sizes, inputs: &[f32], weights: &[f32]) -> Pass {
    let Sizes { steps, sequences, inputs: width, hidden } = sizes;
    assert_eq!(inputs.len(), steps * sequences * width);
    let mut right = Panels::default();
    right.pack(weights, sizes.rows(), sizes.columns());
    let mut pass = Pass {
        sizes,
        operands: vec![0.0; (steps + 1) * sequences * sizes.rows()],
        gates: vec![0.0; steps * sequences * sizes.columns()],
        cells: vec![0.0; (steps + 1) * sequences * hidden],
        squashed: vec![0.0; steps * sequences * hidden],
    };
    for (operand, input) in pass.operands.chunks_exact_mut(sizes.rows()).zip(inputs.chunks_exact(width)) {
        operand[..width].copy_from_slice(input);
        operand[width] = 1.0;
    }
    let mut operands = pass.operands.chunks_exact_mut(sequences * sizes.rows());
    let mut operand = &*operands.next().expect("there is one operand more than steps");
    let mut cells = pass.cells.chunks_exact_mut(sequences * hidden);
    let mut before = &*cells.next().expect("there is one row of cells more than steps");
    let steps = pass.gates.chunks_exact_mut(sequences * sizes.columns());
    let steps = steps.zip(pass.squashed.chunks_exact_mut(sequences * hidden)).zip(operands).zip(cells);
    for (((gates, squashed), next), after) in steps {
        right.multiply(Left::Rows(operand), gates, Into::Set);
        gates::Forward { hidden, gates, before, after, squashed, state: next, stride: sizes.rows() }.run();
        (operand, before) = (next, after);
    }
    pass
}

impl Pass {
    /// Of the layer and the batch.
    pub(super) fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The state after the last step, sequences × hidden.
    pub(super) fn last_state(&self) -> Vec<f32> {
        let last = &self.operands[self.sizes.steps * self.sizes.sequences * self.sizes.rows()..];
        last.chunks_exact(self.sizes.rows()).flat_map(|row| &row[self.sizes.inputs + 1..]).copied().collect()
    }

    /// Gradients, given that of the last state (P. Werbos, "Backpropagation Through Time", 1990).
    pub(super) fn backward(&self, weights: &[f32], last_state: &[f32], of_inputs: bool) -> Gradients {
        let sizes = self.sizes;
        let Sizes { steps, sequences, inputs: width, hidden } = sizes;
        let of_state = &weights[(width + 1) * sizes.columns()..];
        let mut to_state = Panels::default();
        to_state.pack_transposed(of_state, sizes.columns(), hidden);
        let mut to_inputs = Panels::default();
        if of_inputs {
            to_inputs.pack_transposed(&weights[..width * sizes.columns()], sizes.columns(), width);
        }
        let mut gradients = Gradients {
            weights: vec![0.0; sizes.rows() * sizes.columns()],
            inputs: of_inputs.then(|| vec![0.0; steps * sequences * width]),
        };
        let mut state = last_state.to_vec();
        let mut cells = vec![0.0; sequences * hidden];
        let mut sums = vec![0.0; sequences * sizes.columns()];
        let mut right = Panels::default();
        for step in (0..steps).rev() {
            let at = |width: usize| step * sequences * width..(step + 1) * sequences * width;
            gates::Backward {
                hidden,
                gates: &self.gates[at(sizes.columns())],
                before: &self.cells[at(hidden)],
                squashed: &self.squashed[at(hidden)],
                state: &state,
                cells: &mut cells,
                sums: &mut sums,
            }
            .run();
            right.pack(&sums, sequences, sizes.columns());
            right.multiply(Left::Columns(&self.operands[at(sizes.rows())]), &mut gradients.weights, Into::Add);
            to_state.multiply(Left::Rows(&sums), &mut state, Into::Set);
            if let Some(inputs) = &mut gradients.inputs {
                to_inputs.multiply(Left::Rows(&sums), &mut inputs[at(width)], Into::Set);
            }
        }
        gradients
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { steps: 5, sequences: 3, inputs: 2, hidden: 16 };

    /// Numbers without order in [-1, 1), the same for ever.
    fn numbers(count: usize, from: u32) -> Vec<f64> {
        let mut state = from;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 23) - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn single(values: &[f64]) -> Vec<f32> {
        values.iter().map(|value| *value as f32).collect()
    }

    /// The same layer in double precision, written as its definition reads: the last state, weighted and summed.
    fn reference(inputs: &[f64], weights: &[f64], seeds: &[f64]) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (hidden, columns) = (SIZES.hidden, SIZES.columns());
        let mut result = 0.0;
        for sequence in 0..SIZES.sequences {
            let (mut state, mut cells) = (vec![0.0; hidden], vec![0.0; hidden]);
            for step in 0..SIZES.steps {
                let at = (step * SIZES.sequences + sequence) * SIZES.inputs;
                let row: Vec<f64> = [&inputs[at..at + SIZES.inputs], &[1.0], &state].concat();
                let sum = |column: usize| -> f64 {
                    row.iter().enumerate().map(|(k, value)| value * weights[k * columns + column]).sum()
                };
                for n in 0..hidden {
                    let gate = |gate: usize| sum(gate * hidden + n);
                    cells[n] = sigmoid(gate(1)) * cells[n] + sigmoid(gate(0)) * gate(2).tanh();
                    state[n] = sigmoid(gate(3)) * cells[n].tanh();
                }
            }
            let seeds = &seeds[sequence * hidden..][..hidden];
            result += state.iter().zip(seeds).map(|(state, seed)| state * seed).sum::<f64>();
        }
        result
    }

    #[test]
    fn a_pass_is_what_the_definition_says_and_gradients_are_its_differences() {
        let inputs = numbers(SIZES.steps * SIZES.sequences * SIZES.inputs, 1);
        let weights: Vec<f64> = numbers(SIZES.rows() * SIZES.columns(), 2).iter().map(|w| 0.5 * w).collect();
        let seeds = numbers(SIZES.sequences * SIZES.hidden, 3);
        let pass = forward(SIZES, &single(&inputs), &single(&weights));
        let got: f64 = pass.last_state().iter().zip(&seeds).map(|(state, seed)| f64::from(*state) * seed).sum();
        let exact = reference(&inputs, &weights, &seeds);
        assert!((got - exact).abs() < 1e-5, "{got}, not {exact}");

        let gradients = pass.backward(&single(&weights), &single(&seeds), true);
        let step = 1e-6;
        let mut checked = 0;
        let mut check = |values: &[f64], gradient: &[f32], result: &dyn Fn(&[f64]) -> f64| {
            for n in (0..values.len()).step_by(7) {
                let mut moved = values.to_vec();
                moved[n] = values[n] + step;
                let above = result(&moved);
                moved[n] = values[n] - step;
                let slope = (above - result(&moved)) / (2.0 * step);
                let off = (f64::from(gradient[n]) - slope).abs();
                assert!(off < 1e-5 * (1.0 + slope.abs()), "{n}: {}, not {slope}", gradient[n]);
                checked += 1;
            }
        };
        check(&weights, &gradients.weights, &|weights| reference(&inputs, weights, &seeds));
        check(&inputs, gradients.inputs.as_ref().unwrap(), &|inputs| reference(inputs, &weights, &seeds));
        assert!(checked > 100, "{checked}");
    }

    #[test]
    fn the_same_numbers_give_the_same_bits() {
        let inputs = single(&numbers(SIZES.steps * SIZES.sequences * SIZES.inputs, 4));
        let weights = single(&numbers(SIZES.rows() * SIZES.columns(), 5));
        let seeds = single(&numbers(SIZES.sequences * SIZES.hidden, 6));
        let bits = || {
            let pass = forward(SIZES, &inputs, &weights);
            let gradients = pass.backward(&weights, &seeds, false);
            let values = pass.last_state().into_iter().chain(gradients.weights);
            values.map(f32::to_bits).collect::<Vec<_>>()
        };
        let here = bits();
        let elsewhere = std::thread::scope(|scope| scope.spawn(bits).join().unwrap());
        assert_eq!(here, elsewhere);
    }
}
