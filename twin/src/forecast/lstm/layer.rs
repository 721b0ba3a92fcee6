//! The LSTM layer as an operation on tensors, in two ways that give the same numbers up to rounding.
//!
//! On the processor the layer is one operation with a backward pass of its own (`recurrence`); on
//! an accelerator it is made of the framework's operations, step by step, and differentiated by it.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData, activation};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::recurrence::{self, Pass, Sizes};

/// How the layer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As one operation on slices; tensors must be on the processor (`Device::flex`).
    Fused,
    /// Operation by operation, on any device.
    Stepwise,
}

/// The last state, sequences × hidden, of a layer of LSTM that starts from zeros.
///
/// `inputs` are steps × sequences × inputs. `weights` hold the rows of the inputs, of the bias and of the state, and
/// the columns of the input, forget, candidate and output gates: (inputs + 1 + hidden) × (4 · hidden).
///
/// # Panics
///
/// If the shapes do not fit, or, fused, the tensors are not of single precision on the processor, or the width of the
/// state is no multiple of 16.
pub fn last_state(way: Way, inputs: Tensor<3>, weights: Tensor<2>) -> Tensor<2> {
    match way {
        Way::Fused => Tensor::from_dispatch(Dispatch::lstm(inputs.into_dispatch(), weights.into_dispatch())),
        Way::Stepwise => stepwise(inputs, weights),
    }
}

fn stepwise(inputs: Tensor<3>, weights: Tensor<2>) -> Tensor<2> {
    let [steps, sequences, width] = inputs.dims();
    let hidden = weights.dims()[1] / 4;
    let device = inputs.device();
    let of_inputs = weights.clone().narrow(0, 0, width);
    let bias = weights.clone().narrow(0, width, 1);
    let of_state = weights.narrow(0, width + 1, hidden);
    let mut state = Tensor::<2>::zeros([sequences, hidden], &device);
    let mut cells = Tensor::<2>::zeros([sequences, hidden], &device);
    for step in 0..steps {
        let input = inputs.clone().narrow(0, step, 1).reshape([sequences, width]);
        let sums = input.matmul(of_inputs.clone()) + state.matmul(of_state.clone()) + bias.clone();
        let mut gates = sums.chunk(4, 1).into_iter();
        let mut gate = || gates.next().expect("four gates");
        let (input, forget) = (activation::sigmoid(gate()), activation::sigmoid(gate()));
        let (candidate, output) = (gate().tanh(), activation::sigmoid(gate()));
        cells = forget * cells + input * candidate;
        state = output * cells.clone().tanh();
    }
    state
}

/// The fused layer, for the backends that have it.
#[backend_extension(Flex, Autodiff)]
trait Layer: Backend {
    /// See [`last_state`].
    fn lstm(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Layer for Flex {
    fn lstm(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self> {
        let sizes = sizes(&inputs, &weights);
        state(sizes, &recurrence::forward(sizes, &values(inputs), &values(weights)))
    }
}

impl<C: CheckpointStrategy> Layer for Autodiff<Flex, C> {
    fn lstm(inputs: FloatTensor<Self>, weights: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [inputs.node(), weights.node()];
        let (inputs, weights) = (inputs.into_primitive(), weights.into_primitive());
        let sizes = sizes(&inputs, &weights);
        let weights = values(weights);
        let pass = recurrence::forward(sizes, &values(inputs), &weights);
        let output = state(sizes, &pass);
        match ThroughTime.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((pass, weights), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

/// The way back of the fused layer.
#[derive(Debug)]
struct ThroughTime;

impl Backward<Flex, 2> for ThroughTime {
    type State = (Pass, Vec<f32>);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (pass, weights) = ops.state;
        let of_state = values(gradients.consume::<Flex>(&ops.node));
        let [inputs, of_weights] = ops.parents;
        let sizes = pass.sizes();
        let found = pass.backward(&weights, &of_state, inputs.is_some());
        if let (Some(node), Some(values)) = (inputs, found.inputs) {
            gradients.register::<Flex>(node.id, tensor(values, [sizes.steps, sizes.sequences, sizes.inputs].into()));
        }
        if let Some(node) = of_weights {
            gradients.register::<Flex>(node.id, tensor(found.weights, [sizes.rows(), sizes.columns()].into()));
        }
    }
}

fn sizes(inputs: &FloatTensor<Flex>, weights: &FloatTensor<Flex>) -> Sizes {
    let (inputs, weights) = (TensorMetadata::shape(inputs), TensorMetadata::shape(weights));
    let sizes = Sizes { steps: inputs[0], sequences: inputs[1], inputs: inputs[2], hidden: weights[1] / 4 };
    assert_eq!([weights[0], weights[1]], [sizes.rows(), sizes.columns()], "weights fit the inputs");
    sizes
}

fn values(tensor: FloatTensor<Flex>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("the layer works in single precision")
}

fn tensor(values: Vec<f32>, shape: Vec<usize>) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

fn state(sizes: Sizes, pass: &Pass) -> FloatTensor<Flex> {
    tensor(pass.last_state(), [sizes.sequences, sizes.hidden].into())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::forecast::chance::Chance;

    const SIZES: Sizes = Sizes { steps: 7, sequences: 5, inputs: 3, hidden: 16 };

    /// The last state and the gradients of inputs and weights of its weighted sum.
    fn passes(way: Way) -> [Vec<f32>; 3] {
        let device = Device::flex().autodiff();
        let mut chance = Chance::new(1, "test");
        let mut draw = |count: usize| (0..count).map(|_| chance.normal() as f32 * 0.4).collect::<Vec<_>>();
        let Sizes { steps, sequences, inputs: width, hidden } = SIZES;
        let inputs = TensorData::new(draw(steps * sequences * width), [steps, sequences, width]);
        let weights = TensorData::new(draw(SIZES.rows() * SIZES.columns()), [SIZES.rows(), SIZES.columns()]);
        let seeds = TensorData::new(draw(sequences * hidden), [sequences, hidden]);
        let inputs = Tensor::<3>::from_data(inputs, &device).require_grad();
        let weights = Tensor::<2>::from_data(weights, &device).require_grad();
        let state = last_state(way, inputs.clone(), weights.clone());
        let gradients = (state.clone() * Tensor::from_data(seeds, &device)).sum().backward();
        let values = |data: TensorData| data.try_into_vec::<f32>().unwrap();
        [
            values(state.into_data()),
            values(inputs.grad(&gradients).unwrap().into_data()),
            values(weights.grad(&gradients).unwrap().into_data()),
        ]
    }

    #[test]
    fn both_ways_give_the_same_state_and_gradients() {
        for (fused, stepwise) in passes(Way::Fused).iter().zip(&passes(Way::Stepwise)) {
            assert_eq!(fused.len(), stepwise.len());
            assert!(fused.iter().any(|value| value.abs() > 0.01));
            for (fused, stepwise) in fused.iter().zip(stepwise) {
                assert!((fused - stepwise).abs() < 1e-5 * (1.0 + stepwise.abs()), "{fused}, not {stepwise}");
            }
        }
    }
}
