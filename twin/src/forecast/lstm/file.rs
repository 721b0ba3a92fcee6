//! A trained network as numbers in a file, and back.

use serde::{Deserialize, Serialize};

use super::features::{FEATURES, INPUTS};
use super::network::{Architecture, Matrix, Weights};
use super::{Lstm, WIDTH_STEP};
use crate::forecast::artefact::{ArtefactError, Data, Shelf, Tensors};

/// Larger sizes than any network here has are taken for damage.
const LARGEST: usize = 1 << 12;

/// What the numbers of a network do not tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LstmDescription {
    inputs: usize,
    features: usize,
    architecture: Architecture,
}

impl Lstm {
    /// Puts the weights into a file, and says what they are of.
    pub(in crate::forecast) fn save(&self, numbers: &mut Tensors) -> LstmDescription {
        for (name, matrix) in &self.weights {
            numbers.put(name, &matrix.shape, Data::Single(&matrix.values));
        }
        LstmDescription { inputs: INPUTS, features: FEATURES, architecture: self.architecture }
    }

    /// Takes what [`Lstm::save`] put.
    pub(in crate::forecast) fn take(
        description: &LstmDescription,
        numbers: &mut Shelf<'_>,
    ) -> Result<Lstm, ArtefactError> {
        let LstmDescription { inputs, features, architecture } = *description;
        for (what, found, allowed) in [("inputs", inputs, INPUTS), ("features", features, FEATURES)] {
            if found != allowed {
                return Err(ArtefactError::impossible(&format!("{what} of an LSTM"), found, allowed));
            }
        }
        let Architecture { context, horizon, hidden, summary, embedding, units } = architecture;
        for (what, size) in [
            ("context", context),
            ("horizon", horizon),
            ("hidden", hidden),
            ("summary", summary),
            ("embedding", embedding),
            ("units", units),
        ] {
            if !(1..=LARGEST).contains(&size) {
                return Err(ArtefactError::impossible(&format!("{what} of an LSTM"), size, format!("1 to {LARGEST}")));
            }
        }
        if hidden % WIDTH_STEP != 0 {
            let allowed = format!("a multiple of {WIDTH_STEP}");
            return Err(ArtefactError::impossible("hidden of an LSTM", hidden, allowed));
        }
        let mut weights = Weights::new();
        for (name, shape) in architecture.shapes() {
            let values = numbers.single(name, &shape.map(Some))?;
            weights.insert(name, Matrix { shape, values });
        }
        Ok(Lstm::new(architecture, weights))
    }
}
