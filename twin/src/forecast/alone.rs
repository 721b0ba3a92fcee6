//! A global model that follows a series by itself, its description growing with every step.

use std::sync::Arc;

use super::chronicle::Chronicle;
use super::follower::{Follower, Outlook, explosion, standby};
use super::grid::Grid;
use super::model::Unfit;
use super::model::features::Described;
use super::model::member::{self, Member};

/// The model on one series.
#[derive(Clone)]
pub(super) struct Alone {
    name: &'static str,
    member: Arc<dyn Member>,
    chronicle: Chronicle,
}

impl Alone {
    /// Applies `member`, called `name`, to a series on `grid` of which at least the last `keep` steps are remembered.
    pub(super) fn new(name: &'static str, member: Arc<dyn Member>, grid: &Grid, keep: usize) -> Self {
        Alone { name, member, chronicle: Chronicle::new(grid, keep) }
    }
}

impl Follower for Alone {
    fn observe(&mut self, value: Option<f64>) {
        self.chronicle.push(value);
    }

    fn forecast(&mut self, steps: usize) -> Result<Outlook, Unfit> {
        let name = self.name;
        let (past, described) = self.chronicle.known();
        let Some(described) = described else {
            let need = Described::fewest(past.grid().day());
            return standby(name, &past, steps, Unfit::TooShort { have: past.values().len(), need });
        };
        let quantiles = match member::quantiles(&*self.member, past, described, steps) {
            Ok(quantiles) => quantiles,
            Err(why) => return standby(name, &past, steps, why),
        };
        match explosion(&quantiles, described.most()) {
            Some(why) => standby(name, &past, steps, why),
            None => Ok(Outlook { quantiles, by: name, instead: None }),
        }
    }

    fn clone_box(&self) -> Box<dyn Follower> {
        Box::new(self.clone())
    }
}
