//! Trained forecasters as files: one container for every kind, safetensors whose metadata say in one line of JSON what
//! the file holds, on what it was trained, and a checksum of all of it.
//!
//! A file is read as if it came from an enemy: nothing in it decides how much memory is taken but its own length,
//! every number is checked before it is used, and what is wrong is said with what would be right. Nothing here opens
//! a file; bytes come in and go out.

mod tensors;

use std::collections::HashMap;

use forebay_world::{Duration, Timestamp};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

pub(super) use tensors::{Data, Shelf, Tensors};

use super::model::Past;
use super::quantiles::LEVELS;

/// The key of the metadata.
const KEY: &str = "forebay";

/// Raised whenever the same file would forecast something else, or can no longer be read.
pub const FORMAT: u32 = 1;

/// Files that are larger are refused unread \[B\]: the largest that is written is a tenth of it.
pub const BYTES_MOST: u64 = 256 << 20;

/// More steps ahead than this are taken for damage.
const HORIZON_MOST: usize = 1 << 16;

/// Why a file is no trained forecaster. None of these goes away by trying again.
#[derive(Debug, Error)]
pub enum ArtefactError {
    /// It is not safetensors, or has been cut short.
    #[error("not a model file (safetensors)")]
    Malformed(#[from] safetensors::SafeTensorError),
    /// It is larger than any model file.
    #[error("{bytes} bytes; a model file has {BYTES_MOST} at most")]
    TooLarge {
        /// Its size \[B\].
        bytes: u64,
    },
    /// Its metadata do not say what it is: it comes from elsewhere.
    #[error("safetensors, but not a model of forebay: its metadata have no key `{KEY}`")]
    Foreign,
    /// Its metadata cannot be read.
    #[error("its description cannot be read")]
    Description(#[from] serde_json::Error),
    /// It was written by another version.
    #[error("format {found} of model files; this version of forebay reads {FORMAT}")]
    Format {
        /// The format that it is in.
        found: u64,
    },
    /// It is not what was written.
    #[error("its checksum is {found}, not {said} as it says: the file was damaged or changed")]
    Checksum {
        /// What it says.
        said: String,
        /// What it has.
        found: String,
    },
    /// It holds a model of another kind.
    #[error("holds a model of kind `{found}`; allowed is one of {allowed}")]
    Kind {
        /// What it holds.
        found: String,
        /// What there is.
        allowed: String,
    },
    /// What it describes cannot be.
    #[error("{what}: found {found}, allowed is {allowed}")]
    Impossible {
        /// Of what.
        what: String,
        /// What it says.
        found: String,
        /// What could be.
        allowed: String,
    },
    /// Numbers are missing, or are not as the description says.
    #[error("numbers `{name}`: {problem}")]
    Numbers {
        /// What they are called.
        name: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
}

impl ArtefactError {
    /// That a quantity is none that could be.
    pub(super) fn impossible(what: &str, found: impl ToString, allowed: impl ToString) -> Self {
        ArtefactError::Impossible { what: what.to_owned(), found: found.to_string(), allowed: allowed.to_string() }
    }
}

/// What a forecaster was trained for, and on what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Version of forebay that trained it.
    pub forebay: String,
    /// Length of a step.
    pub step: Duration,
    /// Steps ahead.
    pub horizon: usize,
    /// Seed of the training.
    pub seed: u64,
    /// End of the last step of the training data.
    pub data_end: Timestamp,
    /// BLAKE3 hash of the training data, in hexadecimal: series by series its begin, step and values.
    pub data_blake3: String,
}

impl Origin {
    /// Of what is trained on `set` now.
    pub(super) fn new(set: &[Past<'_>], horizon: usize, seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut data_end = Timestamp::EPOCH;
        for past in set {
            let (grid, count) = (past.grid(), past.values().len());
            for number in [grid.at(past.first()).as_nanos(), grid.step().as_nanos(), count as u64] {
                hasher.update(&number.to_le_bytes());
            }
            for value in past.values() {
                hasher.update(&value.to_bits().to_le_bytes());
            }
            data_end = data_end.max(grid.at(past.first() + count));
        }
        Origin {
            forebay: env!("CARGO_PKG_VERSION").to_owned(),
            step: set.first().map_or(Duration::ZERO, |past| past.grid().step()),
            horizon,
            seed,
            data_end,
            data_blake3: hasher.finalize().to_hex().to_string(),
        }
    }
}

/// The line of JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    kind: String,
    #[serde(flatten)]
    origin: Origin,
    levels: Vec<f64>,
    /// As the kind needs it.
    model: Value,
}

/// Kind by name, origin, what the kind says of itself, and its numbers.
pub(super) struct Contents<'a> {
    pub(super) kind: String,
    pub(super) origin: Origin,
    pub(super) model: Value,
    pub(super) numbers: Shelf<'a>,
}

/// Writes a file; the same contents give the same bytes.
pub(super) fn write(kind: &str, origin: &Origin, model: Value, numbers: &Tensors) -> Vec<u8> {
    let (kind, origin, levels) = (kind.to_owned(), origin.clone(), LEVELS.to_vec());
    let description = Description { format: FORMAT, kind, origin, levels, model };
    seal(serde_json::to_value(description).expect("a description is plain JSON"), numbers)
}

/// A file with this description and these numbers, and a checksum of both.
pub(super) fn seal(description: Value, numbers: &Tensors) -> Vec<u8> {
    let checksum = checksum(&description, &numbers.views());
    let line = serde_json::json!({ "blake3": checksum, "description": description }).to_string();
    safetensors::serialize(numbers.views(), Some(HashMap::from([(KEY.to_owned(), line)])))
        .expect("numbers of this program can be written")
}

fn checksum(description: &Value, views: &[(String, safetensors::tensor::TensorView<'_>)]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(description.to_string().as_bytes());
    for (name, view) in views {
        hasher.update(format!("\n{name} {:?} {:?}\n", view.dtype(), view.shape()).as_bytes());
        hasher.update(view.data());
    }
    hasher.finalize().to_hex().to_string()
}

/// Reads what [`write`] wrote.
pub(super) fn read(bytes: &[u8]) -> Result<Contents<'_>, ArtefactError> {
    if bytes.len() as u64 > BYTES_MOST {
        return Err(ArtefactError::TooLarge { bytes: bytes.len() as u64 });
    }
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let line = metadata.metadata().as_ref().and_then(|map| map.get(KEY)).ok_or(ArtefactError::Foreign)?;
    let mut line: Value = serde_json::from_str(line)?;
    let description = line["description"].take();
    match description["format"].as_u64() {
        Some(found) if found != u64::from(FORMAT) => return Err(ArtefactError::Format { found }),
        _ => {}
    }
    let tensors = SafeTensors::deserialize(bytes)?;
    let mut views = tensors.tensors();
    views.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let found = checksum(&description, &views);
    let said = line["blake3"].as_str().unwrap_or("none").to_owned();
    if said != found {
        return Err(ArtefactError::Checksum { said, found });
    }
    let Description { kind, origin, levels, model, .. } = serde_json::from_value(description)?;
    if levels != LEVELS {
        return Err(ArtefactError::impossible("quantile levels", format!("{levels:?}"), format!("{LEVELS:?}")));
    }
    if !(1..=HORIZON_MOST).contains(&origin.horizon) {
        return Err(ArtefactError::impossible("horizon", origin.horizon, format!("1 to {HORIZON_MOST} steps")));
    }
    if origin.step.is_zero() {
        return Err(ArtefactError::impossible("step", origin.step, "more than 0"));
    }
    Ok(Contents { kind, origin, model, numbers: Shelf::new(views) })
}
