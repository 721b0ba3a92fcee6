//! What each trained member says of itself in a file, beside its numbers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Model;
use super::boosted::Boosted;
use super::features::{Base, COUNT};
use super::member::{Global, Member};
use super::perceptron::Perceptron;
use super::recurrent::Recurrent;
use crate::forecast::artefact::{ArtefactError, Shelf};
use crate::forecast::lstm::LstmDescription;

/// A member by kind, and the sizes that its numbers do not tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Part {
    /// Quantile trees.
    Boosted {
        /// What targets are measured from.
        base: Base,
        /// Steps ahead.
        horizon: usize,
        /// Features that are described.
        features: usize,
    },
    /// A small net.
    Perceptron {
        /// What targets are measured from.
        base: Base,
        /// Steps ahead.
        horizon: usize,
        /// Features that are described, …
        features: usize,
        /// … and of these the first that it sees, and the first that it no longer sees.
        inputs: [usize; 2],
        /// Nets that are averaged.
        nets: usize,
    },
    /// An LSTM.
    Lstm(LstmDescription),
}

impl Part {
    /// Its name among models.
    pub(in crate::forecast) fn name(&self) -> &'static str {
        match self {
            Part::Boosted { .. } => "boosted",
            Part::Perceptron { .. } => "perceptron",
            Part::Lstm(_) => "lstm",
        }
    }

    /// The member of an ensemble for `horizon` steps ahead, its numbers taken from a file.
    pub(in crate::forecast) fn member(
        &self,
        horizon: usize,
        numbers: &mut Shelf<'_>,
    ) -> Result<Arc<dyn Member>, ArtefactError> {
        Ok(match self.read(horizon, numbers)? {
            Read::Boosted(member) => Arc::new(member),
            Read::Perceptron(member) => Arc::new(member),
            Read::Recurrent(member) => Arc::new(*member),
        })
    }

    /// The model that stands alone.
    pub(in crate::forecast) fn model(
        &self,
        horizon: usize,
        numbers: &mut Shelf<'_>,
    ) -> Result<Arc<dyn Model>, ArtefactError> {
        Ok(match self.read(horizon, numbers)? {
            Read::Boosted(member) => Arc::new(Global::new("boosted", member)),
            Read::Perceptron(member) => Arc::new(Global::new("perceptron", member)),
            Read::Recurrent(model) => Arc::new(*model),
        })
    }

    fn read(&self, horizon: usize, numbers: &mut Shelf<'_>) -> Result<Read, ArtefactError> {
        let described = |features: usize| match features {
            COUNT => Ok(()),
            found => Err(ArtefactError::impossible("features that are described", found, COUNT)),
        };
        let (own, read) = match self {
            Part::Boosted { base, horizon, features } => {
                described(*features)?;
                (*horizon, Read::Boosted(Boosted::take(*base, *horizon, numbers)?))
            }
            Part::Perceptron { base, horizon, features, inputs, nets } => {
                described(*features)?;
                let [from, to] = *inputs;
                if from >= to || to > COUNT {
                    let found = format!("{from} to {to}");
                    return Err(ArtefactError::impossible("inputs of a net", found, format!("some of 0 to {COUNT}")));
                }
                let net = Perceptron::take(*base, *horizon, from..to, *nets, numbers)?;
                (*horizon, Read::Perceptron(net))
            }
            Part::Lstm(description) => {
                let network = Recurrent::take(description, numbers)?;
                (Member::horizon(&network), Read::Recurrent(Box::new(network)))
            }
        };
        match own == horizon {
            true => Ok(read),
            false => Err(ArtefactError::impossible("steps ahead of a part", own, format!("{horizon}, as the whole"))),
        }
    }
}

enum Read {
    Boosted(Boosted),
    Perceptron(Perceptron),
    Recurrent(Box<Recurrent>),
}
