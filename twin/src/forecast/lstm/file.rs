//! A trained network as a file: safetensors, whose metadata say in one line of JSON what it is.

use std::collections::{BTreeMap, HashMap};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::features::{FEATURES, INPUTS};
use super::network::{Architecture, Matrix, Weights};
use super::{LEVELS, WIDTH_STEP};

/// What the metadata's key is, and what they say they describe.
const KEY: &str = "forebay";
const KIND: &str = "quantile-lstm";

/// Raised whenever the same weights would forecast something else.
const VERSION: u32 = 1;

/// Larger sizes than any network here has are taken for damage.
const LARGEST: usize = 1 << 16;

/// Why a file is no network. None of these goes away by trying again.
#[derive(Debug, Error)]
pub enum LstmFileError {
    /// It is not safetensors, or has been cut short.
    #[error("not a safetensors file: {0}")]
    Malformed(#[from] safetensors::SafeTensorError),
    /// Its metadata do not say what it is: it comes from elsewhere.
    #[error("not a model of forebay: its metadata have no key `{KEY}`")]
    Foreign,
    /// Its metadata cannot be read.
    #[error("its description cannot be read: {0}")]
    Description(#[from] serde_json::Error),
    /// It holds a model of another kind.
    #[error("holds a model of kind `{0}`, not `{KIND}`")]
    Kind(String),
    /// It was written by another version.
    #[error("version {found} of the format, but this program reads {VERSION}: train the model again")]
    Version {
        /// The version that wrote it.
        found: u32,
    },
    /// It describes a network that cannot be.
    #[error("describes a network that cannot be: {0}")]
    Architecture(String),
    /// A matrix of weights is missing, or is not as the description says.
    #[error("weights `{name}`: {problem}")]
    Weights {
        /// The matrix's name.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Description {
    kind: String,
    version: u32,
    #[serde(default)]
    levels: Vec<f64>,
    #[serde(default)]
    inputs: usize,
    #[serde(default)]
    features: usize,
    #[serde(default)]
    architecture: serde_json::Value,
}

/// Writes a network; the same network gives the same bytes.
pub(super) fn write(architecture: &Architecture, weights: &Weights) -> Vec<u8> {
    let description = Description {
        kind: KIND.to_owned(),
        version: VERSION,
        levels: LEVELS.to_vec(),
        inputs: INPUTS,
        features: FEATURES,
        architecture: serde_json::to_value(architecture).expect("sizes are numbers"),
    };
    let description = serde_json::to_string(&description).expect("a description is plain JSON");
    let bytes: BTreeMap<&str, Vec<u8>> = weights
        .iter()
        .map(|(name, matrix)| (*name, matrix.values.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = weights.iter().map(|(name, matrix)| {
        let view = TensorView::new(Dtype::F32, matrix.shape.to_vec(), &bytes[name]);
        (*name, view.expect("a matrix has as many values as its shape says"))
    });
    let metadata = HashMap::from([(KEY.to_owned(), description)]);
    safetensors::serialize(views, Some(metadata)).expect("views of matrices can be written")
}

/// Reads what [`write`] wrote.
pub(super) fn read(bytes: &[u8]) -> Result<(Architecture, Weights), LstmFileError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let description = metadata.metadata().as_ref().and_then(|map| map.get(KEY)).ok_or(LstmFileError::Foreign)?;
    let description: Description = serde_json::from_str(description)?;
    if description.kind != KIND {
        return Err(LstmFileError::Kind(description.kind));
    }
    if description.version != VERSION {
        return Err(LstmFileError::Version { found: description.version });
    }
    if description.levels != LEVELS || description.inputs != INPUTS || description.features != FEATURES {
        let found = (description.levels, description.inputs, description.features);
        return Err(LstmFileError::Architecture(format!("levels, inputs, features {found:?}")));
    }
    let architecture: Architecture = serde_json::from_value(description.architecture)?;
    let Architecture { context, horizon, hidden, summary, embedding, units } = architecture;
    let possible =
        [context, horizon, hidden, summary, embedding, units].iter().all(|size| (1..=LARGEST).contains(size));
    if !possible || hidden % WIDTH_STEP != 0 {
        return Err(LstmFileError::Architecture(format!("{architecture:?}")));
    }
    let tensors = SafeTensors::deserialize(bytes)?;
    let mut weights = Weights::new();
    for (name, shape) in architecture.shapes() {
        let problem = |problem: String| LstmFileError::Weights { name: name.to_owned(), problem };
        let view = tensors.tensor(name).map_err(|error| problem(error.to_string()))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(problem(format!("{:?} {:?}, not F32 {shape:?}", view.dtype(), view.shape())));
        }
        let (chunks, _) = view.data().as_chunks();
        let values: Vec<f32> = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        if !values.iter().all(|value| value.is_finite()) {
            return Err(problem("not all of them are finite numbers".to_owned()));
        }
        weights.insert(name, Matrix { shape, values });
    }
    if tensors.len() != weights.len() {
        let strange = tensors.names().into_iter().find(|name| !weights.contains_key(name)).unwrap_or_default();
        return Err(LstmFileError::Weights { name: strange.to_owned(), problem: "no network has them".to_owned() });
    }
    Ok((architecture, weights))
}
