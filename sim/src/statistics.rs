//! What a run measured, and how far that can be trusted.
//!
//! Within a run: [`TimeWeighted`] levels and exact [`Occupancy`] counts, [`Tally`] means and variances,
//! [`QuantileSketch`] quantiles. Out of a run: [`mser5`] finds where its warm-up ends, [`BatchMeans`] turns one long
//! correlated series into an [`Interval`]. Across runs: [`Interval::of_replications`] and
//! [`Interval::of_paired_differences`], and [`Interval::of_ratio`] for a share such as a hit ratio.
//!
//! Everything is a plain value: cloned with the world that carries it, and equal for equal input in equal order. What
//! has to be put together from several threads is either independent of the order (sketches) or is put together in the
//! order of the seeds (intervals). Not here: what is worth measuring, and how it is written down.
//!
//! ```
//! use forebay_sim::statistics::Interval;
//!
//! let (reactive, predictive) = ([103.0, 95.0, 110.0, 99.0], [91.0, 86.0, 97.0, 90.0]);
//! let saved = Interval::of_paired_differences(&reactive, &predictive, 0.95).unwrap();
//! assert_eq!(saved.mean, 10.75);
//! assert!(saved.low() > 0.0, "with common random numbers four seeds suffice");
//! ```

mod batch_means;
mod interval;
mod sketch;
mod student;
mod tally;
mod time_weighted;
mod warm_up;

pub use batch_means::BatchMeans;
pub use interval::Interval;
pub use sketch::QuantileSketch;
pub use student::{normal_quantile, student_t_quantile};
pub use tally::Tally;
pub use time_weighted::{Occupancy, TimeWeighted};
pub use warm_up::mser5;
