//! A small net, one for all series: two layers of rectified units and a linear short cut, from features to quantiles.
//!
//! Trained on the pinball loss by Adam with decoupled weight decay (D. Kingma, J. Ba, arXiv 1412.6980; I. Loshchilov,
//! F. Hutter, arXiv 1711.05101), a rate that rises and falls (one cycle), and noise on its inputs, which is what keeps it
//! from learning series by heart (C. Bishop, "Training with Noise is Equivalent to Tikhonov Regularization", 1995).
//! Several nets from other beginnings are averaged.

use std::ops::Range;
use std::sync::Arc;

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::features::{Base, COUNT};
use super::member::{Examples, Known, Member, Renewed};
use super::part::Part;
use super::{Past, Unfit};
use crate::forecast::artefact::{ArtefactError, Data, Shelf, Tensors};
use crate::forecast::chance::Chance;
use crate::forecast::normal_quantile;
use crate::forecast::quantiles::LEVELS;

const OUTPUTS: usize = LEVELS.len();
const HIDDEN: usize = 64;
const NETS: u64 = 3;
/// More in a file are taken for damage.
const NETS_MOST: usize = 64;
const STEPS: usize = 3_000;
const BATCH: usize = 256;
const RATE: f32 = 2e-3;
const DECAY: f32 = 1e-4;
const NOISE: f32 = 0.5;
/// Standardised inputs are cut to this.
const CUT: f32 = 4.0;

/// The model.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::forecast) struct Perceptron {
    base: Base,
    horizon: usize,
    /// The features it sees.
    inputs: Range<usize>,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    /// What targets were divided by.
    unit: f32,
    nets: Vec<Net>,
}

/// One column a sample: inputs × batch.
#[derive(Clone, Debug, PartialEq)]
struct Net {
    first: DMatrix<f32>,
    first_bias: DVector<f32>,
    second: DMatrix<f32>,
    second_bias: DVector<f32>,
    third: DMatrix<f32>,
    third_bias: DVector<f32>,
    /// Adds the same to all quantiles.
    short_cut: DVector<f32>,
}

impl Perceptron {
    /// Trains on all series of `set` together, for `horizon` steps ahead.
    pub(in crate::forecast) fn train(
        base: Base,
        inputs: Range<usize>,
        set: &[Past<'_>],
        horizon: usize,
        seed: u64,
    ) -> Result<Self, Unfit> {
        let examples = Examples::draw(set, horizon, base, seed)?;
        let count = examples.rows.len() as f64;
        let moments = |value: &dyn Fn(usize) -> f32| {
            let mean = (0..examples.rows.len()).map(|row| f64::from(value(row))).sum::<f64>() / count;
            let square = (0..examples.rows.len()).map(|row| (f64::from(value(row)) - mean).powi(2)).sum::<f64>();
            (mean as f32, (square / count).sqrt() as f32 + 1e-6)
        };
        let (mean, deviation): (Vec<f32>, Vec<f32>) =
            inputs.clone().map(|input| moments(&|row| examples.rows[row][input])).unzip();
        let (_, unit) = moments(&|row| examples.targets[row]);
        let mut model = Perceptron { base, horizon, inputs, mean, deviation, unit, nets: Vec::new() };
        model.nets = model.learn(&examples, seed);
        Ok(model)
    }

    /// Trains nets from random beginnings, or where there are some, goes on with them: a quarter of the steps, at half the
    /// rate, with inputs and targets standardised as before.
    fn learn(&self, examples: &Examples, seed: u64) -> Vec<Net> {
        let columns: Vec<Vec<f32>> = examples.rows.iter().map(|row| self.standard(row).collect()).collect();
        let targets: Vec<f32> = examples.targets.iter().map(|target| target / self.unit).collect();
        let count = if self.nets.is_empty() { NETS as usize } else { self.nets.len() };
        (0..count)
            .into_par_iter()
            .map(|nth| {
                let mut chance = Chance::new(seed, &format!("net {nth}"));
                match self.nets.get(nth) {
                    Some(net) => net.clone().train(&columns, &targets, &mut chance, STEPS / 4, 0.5 * RATE),
                    None => Net::new(self.mean.len(), &mut chance).train(&columns, &targets, &mut chance, STEPS, RATE),
                }
            })
            .collect()
    }

    fn standard(&self, row: &[f32; COUNT]) -> impl Iterator<Item = f32> {
        let inputs = row[self.inputs.clone()].iter().zip(&self.mean).zip(&self.deviation);
        inputs.map(|((value, mean), deviation)| ((value - mean) / deviation).clamp(-CUT, CUT))
    }
}

impl Member for Perceptron {
    fn horizon(&self) -> usize {
        self.horizon
    }

    fn logs(&self, known: &Known<'_>, steps: usize) -> Vec<[f64; OUTPUTS]> {
        let mut features = [0.0; COUNT];
        let (mut columns, mut bases) = (Vec::with_capacity(steps * self.mean.len()), Vec::with_capacity(steps));
        for row in &known.rows[..steps] {
            bases.push(row.measure(self.base, &mut features));
            columns.extend(self.standard(&features));
        }
        let inputs = DMatrix::from_vec(self.mean.len(), steps, columns);
        let mut sums = DMatrix::<f32>::zeros(OUTPUTS, steps);
        for net in &self.nets {
            sums += net.outputs(&inputs).2;
        }
        let scale = f64::from(self.unit) / self.nets.len().max(1) as f64;
        let rows = sums.column_iter().zip(bases).map(|(column, base)| {
            let mut row = [0.0; OUTPUTS];
            row.iter_mut().zip(column.iter()).for_each(|(log, sum)| *log = base + scale * f64::from(*sum));
            row.sort_unstable_by(f64::total_cmp);
            row
        });
        rows.collect()
    }

    fn go_on(&self, set: &[Past<'_>], seed: u64) -> Result<Arc<dyn Member>, Unfit> {
        Ok(Arc::new(self.renewed(set, seed)?))
    }

    fn save(&self, numbers: &mut Tensors) -> Part {
        let (inputs, features) = ([self.inputs.start, self.inputs.end], COUNT);
        numbers.put("mean", &[self.mean.len()], Data::Single(&self.mean));
        numbers.put("deviation", &[self.deviation.len()], Data::Single(&self.deviation));
        numbers.put("unit", &[1], Data::Single(&[self.unit]));
        for (nth, net) in self.nets.iter().enumerate() {
            numbers.part(&nth.to_string(), |numbers| net.put(numbers));
        }
        Part::Perceptron { base: self.base, horizon: self.horizon, features, inputs, nets: self.nets.len() }
    }
}

impl Renewed for Perceptron {
    fn renewed(&self, set: &[Past<'_>], seed: u64) -> Result<Self, Unfit> {
        let examples = Examples::draw(set, self.horizon, self.base, seed)?;
        Ok(Perceptron { nets: self.learn(&examples, seed), ..self.clone() })
    }
}

impl Perceptron {
    /// Takes its numbers from a file.
    pub(super) fn take(
        base: Base,
        horizon: usize,
        inputs: Range<usize>,
        nets: usize,
        numbers: &mut Shelf<'_>,
    ) -> Result<Self, ArtefactError> {
        if !(1..=NETS_MOST).contains(&nets) {
            return Err(ArtefactError::impossible("nets that are averaged", nets, format!("1 to {NETS_MOST}")));
        }
        let count = inputs.len();
        let mean = numbers.single("mean", &[Some(count)])?;
        let deviation = numbers.single("deviation", &[Some(count)])?;
        let unit = numbers.single("unit", &[Some(1)])?[0];
        if !deviation.iter().chain([&unit]).all(|value| *value > 0.0) {
            return Err(numbers.problem("deviation", "allowed is more than 0, and so for `unit`"));
        }
        let nets = (0..nets).map(|nth| numbers.part(&nth.to_string(), |numbers| Net::take(count, numbers)));
        Ok(Perceptron { base, horizon, inputs, mean, deviation, unit, nets: nets.collect::<Result<_, _>>()? })
    }
}

/// All weights of a net in one row, as Adam sees them.
type Parts<'a> = [&'a mut [f32]; 7];

impl Net {
    fn new(inputs: usize, chance: &mut Chance) -> Self {
        let mut draw = |rows: usize, columns: usize, deviation: f64| {
            DMatrix::from_fn(rows, columns, |_, _| (deviation * chance.normal()) as f32)
        };
        Net {
            first: draw(HIDDEN, inputs, (1.0 / inputs as f64).sqrt()),
            first_bias: DVector::zeros(HIDDEN),
            second: draw(HIDDEN, HIDDEN, (2.0 / HIDDEN as f64).sqrt()),
            second_bias: DVector::zeros(HIDDEN),
            third: draw(OUTPUTS, HIDDEN, 0.1 / (HIDDEN as f64).sqrt()),
            third_bias: DVector::from_fn(OUTPUTS, |level, _| 0.5 * normal_quantile(LEVELS[level]) as f32),
            short_cut: DVector::zeros(inputs),
        }
    }

    /// Both hidden layers and the outputs.
    fn outputs(&self, inputs: &DMatrix<f32>) -> (DMatrix<f32>, DMatrix<f32>, DMatrix<f32>) {
        let layer = |weights: &DMatrix<f32>, bias: &DVector<f32>, from: &DMatrix<f32>| {
            let mut out = weights * from;
            for mut column in out.column_iter_mut() {
                column += bias;
            }
            out
        };
        let rectified = |mut values: DMatrix<f32>| {
            values.apply(|value| *value = value.max(0.0));
            values
        };
        let first = rectified(layer(&self.first, &self.first_bias, inputs));
        let second = rectified(layer(&self.second, &self.second_bias, &first));
        let mut outputs = layer(&self.third, &self.third_bias, &second);
        let short = self.short_cut.tr_mul(inputs);
        for (mut column, short) in outputs.column_iter_mut().zip(short.iter()) {
            column.add_scalar_mut(*short);
        }
        (first, second, outputs)
    }

    /// The mean pinball loss over levels and batch, and its gradient in the shape of a net.
    fn gradient(&self, inputs: &DMatrix<f32>, targets: &[f32]) -> (f32, Net) {
        let (first, second, mut error) = self.outputs(inputs);
        let scale = 1.0 / (targets.len() * OUTPUTS) as f32;
        let mut loss = 0.0;
        for (mut column, target) in error.column_iter_mut().zip(targets) {
            for (output, level) in column.iter_mut().zip(LEVELS) {
                let (miss, level) = (target - *output, level as f32);
                loss += (level * miss).max((level - 1.0) * miss) * scale;
                *output = if miss < 0.0 { (1.0 - level) * scale } else { -level * scale };
            }
        }
        let below = |weights: &DMatrix<f32>, error: &DMatrix<f32>, layer: &DMatrix<f32>| {
            let mut back = weights.tr_mul(error);
            back.zip_apply(layer, |back, value| {
                if value <= 0.0 {
                    *back = 0.0;
                }
            });
            back
        };
        let at_second = below(&self.third, &error, &second);
        let at_first = below(&self.second, &at_second, &first);
        let together = DVector::from_iterator(targets.len(), error.column_iter().map(|column| column.sum()));
        let gradient = Net {
            first: &at_first * inputs.transpose(),
            first_bias: at_first.column_sum(),
            second: &at_second * first.transpose(),
            second_bias: at_second.column_sum(),
            third: &error * second.transpose(),
            third_bias: error.column_sum(),
            short_cut: inputs * together,
        };
        (loss, gradient)
    }

    /// Puts its weights into a file, column by column.
    fn put(&self, numbers: &mut Tensors) {
        let inputs = self.first.ncols();
        let columns: [(&str, &[usize], &[f32]); 7] = [
            ("first", &[inputs, HIDDEN], self.first.as_slice()),
            ("first_bias", &[HIDDEN], self.first_bias.as_slice()),
            ("second", &[HIDDEN, HIDDEN], self.second.as_slice()),
            ("second_bias", &[HIDDEN], self.second_bias.as_slice()),
            ("third", &[HIDDEN, OUTPUTS], self.third.as_slice()),
            ("third_bias", &[OUTPUTS], self.third_bias.as_slice()),
            ("short_cut", &[inputs], self.short_cut.as_slice()),
        ];
        columns.into_iter().for_each(|(name, shape, values)| numbers.put(name, shape, Data::Single(values)));
    }

    fn take(inputs: usize, numbers: &mut Shelf<'_>) -> Result<Self, ArtefactError> {
        let mut matrix = |name: &str, rows: usize, columns: usize| {
            let values = numbers.single(name, &[Some(columns), Some(rows)])?;
            Ok::<_, ArtefactError>(DMatrix::from_vec(rows, columns, values))
        };
        let (first, second) = (matrix("first", HIDDEN, inputs)?, matrix("second", HIDDEN, HIDDEN)?);
        let third = matrix("third", OUTPUTS, HIDDEN)?;
        let mut vector = |name: &str, rows: usize| numbers.single(name, &[Some(rows)]).map(DVector::from_vec);
        Ok(Net {
            first,
            first_bias: vector("first_bias", HIDDEN)?,
            second,
            second_bias: vector("second_bias", HIDDEN)?,
            third,
            third_bias: vector("third_bias", OUTPUTS)?,
            short_cut: vector("short_cut", inputs)?,
        })
    }

    fn parts(&mut self) -> Parts<'_> {
        [
            self.first.as_mut_slice(),
            self.first_bias.as_mut_slice(),
            self.second.as_mut_slice(),
            self.second_bias.as_mut_slice(),
            self.third.as_mut_slice(),
            self.third_bias.as_mut_slice(),
            self.short_cut.as_mut_slice(),
        ]
    }

    /// The net after so many steps of Adam from this one, the rate rising to `most` and falling to nothing.
    fn train(self, columns: &[Vec<f32>], targets: &[f32], chance: &mut Chance, steps: usize, most: f32) -> Net {
        let inputs = columns[0].len();
        let mut net = self;
        let (mut momentum, mut squares) = (net.clone(), net.clone());
        for part in momentum.parts().into_iter().chain(squares.parts()) {
            part.fill(0.0);
        }
        let (mut fade_first, mut fade_second) = (1.0f32, 1.0f32);
        let mut batch = DMatrix::zeros(inputs, BATCH);
        let mut wanted = vec![0.0; BATCH];
        for step in 0..steps {
            for (mut column, wanted) in batch.column_iter_mut().zip(&mut wanted) {
                let row = chance.below(columns.len());
                *wanted = targets[row];
                for (input, value) in column.iter_mut().zip(&columns[row]) {
                    *input = value + NOISE * chance.nearly_normal();
                }
            }
            let (_, mut gradient) = net.gradient(&batch, &wanted);
            let done = (step as f32 + 0.5) / steps as f32;
            let rate = most * (done / 0.1).min(1.0) * 0.5 * (1.0 + (std::f32::consts::PI * done).cos());
            (fade_first, fade_second) = (fade_first * 0.9, fade_second * 0.999);
            let adam = net.parts().into_iter().zip(gradient.parts()).zip(momentum.parts()).zip(squares.parts());
            for (((weights, gradient), momentum), squares) in adam {
                let each = weights.iter_mut().zip(gradient.iter()).zip(momentum.iter_mut()).zip(squares.iter_mut());
                for (((weight, gradient), momentum), square) in each {
                    *momentum = 0.9 * *momentum + 0.1 * gradient;
                    *square = 0.999 * *square + 0.001 * gradient * gradient;
                    let step = *momentum / (1.0 - fade_first) / ((*square / (1.0 - fade_second)).sqrt() + 1e-8);
                    *weight -= rate * (step + DECAY * *weight);
                }
            }
        }
        net
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let mut chance = Chance::new(1, "gradient");
        let mut net = Net::new(7, &mut chance);
        net.short_cut.apply(|weight| *weight = 0.1);
        let inputs = DMatrix::from_fn(7, 32, |_, _| chance.normal() as f32);
        let targets: Vec<f32> = (0..32).map(|_| chance.normal() as f32).collect();
        let (_, mut gradient) = net.gradient(&inputs, &targets);
        for part in 0..7 {
            let size = net.parts()[part].len();
            for at in [0, size / 2, size - 1] {
                // Where no kink lies between, the loss is linear in a weight of a rectified net: steps may be large.
                let mut loss = |shift: f32| {
                    net.parts()[part][at] += shift;
                    let loss = f64::from(net.gradient(&inputs, &targets).0);
                    net.parts()[part][at] -= shift;
                    loss
                };
                let by_difference = (loss(2e-3) - loss(-2e-3)) / 4e-3;
                let given = f64::from(gradient.parts()[part][at]);
                assert!(
                    (by_difference - given).abs() < 3e-3 + 0.05 * given.abs(),
                    "{part} {at}: {by_difference} {given}"
                );
            }
        }
    }
}
