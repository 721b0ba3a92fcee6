//! The rate of requests of one client region × class, as told by DNS.

use serde::{Deserialize, Serialize};

use crate::forecast::normal_quantile;

/// Requests that hide behind each query, above which an estimate is no more than a lower bound: the λT of the caches,
/// weighed by their queries. An error of the time to live by a tenth is then an error of the rate by its double.
pub const SATURATED: f64 = 10.0;

/// Requests of clients, each a look-up that their resolver was asked for, whether its cache knew the answer or not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientRequests {
    /// Rate \[1/s\].
    pub per_second: f64,
    /// Standard error of the rate \[1/s\].
    pub standard_error: f64,
    /// Requests that hid behind each query, λT.
    pub hidden: f64,
    /// Whether so many hid that `per_second` is not to be relied on, but `lower_bound` is.
    pub saturated: bool,
    /// The rate is at least this, by the 90 % interval, and with no more than [`SATURATED`] hidden behind each query
    /// \[1/s\].
    pub lower_bound: f64,
    /// Caches that something is known of.
    pub caches: u32,
    /// Queries that the rate rests on, faded.
    pub queries: f64,
}

impl ClientRequests {
    /// The rate that `queries` in `exposure` seconds of `watched` speak for. `relative_variance` is that of the
    /// estimate.
    pub(super) fn new(queries: f64, exposure: f64, watched: f64, relative_variance: f64, caches: u32) -> Self {
        let per_second = queries / exposure;
        let hidden = (watched / exposure - 1.0).max(0.0);
        let mut requests = ClientRequests {
            per_second,
            standard_error: per_second * relative_variance.sqrt(),
            hidden,
            saturated: hidden > SATURATED,
            lower_bound: 0.0,
            caches,
            queries,
        };
        let most_hidden = queries / watched * (1.0 + SATURATED);
        requests.lower_bound = requests.interval(0.9).0.min(most_hidden);
        requests
    }

    /// The interval that holds the rate with probability `level`, equal chances left on both sides \[1/s\]. Calibrated
    /// where nothing is saturated, after some hours of watching, and while the rate hardly moves within the time that
    /// `queries` took: it knows of chance, not of lag.
    ///
    /// Queries are a Poisson count, and the rate given one more or less than counted is Gamma distributed (Garwood
    /// 1936); halfway between the two lies the interval whose coverage is nominal in the mean. The shares of caches add to its
    /// variance. Quantiles by E. Wilson & M. Hilferty (1931).
    pub fn interval(&self, level: f64) -> (f64, f64) {
        if self.per_second <= 0.0 {
            return (0.0, 0.0);
        }
        let variance = (self.standard_error / self.per_second).powi(2);
        let (shape, mean) = (1.0 / variance + 0.5, self.per_second * (1.0 + 0.5 * variance));
        let ninth = 1.0 / (9.0 * shape);
        let quantile = |p: f64| mean * (1.0 - ninth + normal_quantile(p) * ninth.sqrt()).max(0.0).powi(3);
        let left = 0.5 * (1.0 - level);
        (quantile(left), quantile(1.0 - left))
    }
}

impl std::fmt::Display for ClientRequests {
    /// `12.3 ± 0.4 requests/s by DNS`, `saturated: at least 45.1 requests/s by DNS`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.saturated {
            write!(f, "saturated: at least {:.3} requests/s by DNS", self.lower_bound)
        } else {
            write!(f, "{:.3} ± {:.3} requests/s by DNS", self.per_second, self.standard_error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_a_count_are_garwoods() {
        // 95 % of a Poisson count of 10: 4.80 to 18.39; the middle way lies inside and holds the count.
        let (low, high) = ClientRequests::new(10.0, 1.0, 1.0, 0.1, 1).interval(0.95);
        assert!((4.8..5.5).contains(&low) && (17.0..18.4).contains(&high), "{low} {high}");
        let (low, high) = ClientRequests::new(1e4, 10.0, 10.0, 1e-4, 1).interval(0.9);
        assert!((low - 983.6).abs() < 0.3 && (high - 1016.6).abs() < 0.3, "{low} {high}");
    }

    #[test]
    fn beyond_ten_hidden_behind_each_query_there_is_a_lower_bound() {
        let clear = ClientRequests::new(1000.0, 20.0, 200.0, 1e-3, 5);
        assert!(!clear.saturated && clear.hidden == 9.0, "{clear:?}");
        assert_eq!(clear.lower_bound, clear.interval(0.9).0);
        let dark = ClientRequests::new(1000.0, 10.0, 200.0, 1e-3, 5);
        assert!(dark.saturated && dark.hidden == 19.0);
        assert_eq!(dark.lower_bound, 55.0);
        assert_eq!(dark.to_string(), "saturated: at least 55.000 requests/s by DNS");
        assert_eq!(clear.to_string(), "50.000 ± 1.581 requests/s by DNS");
    }

    #[test]
    fn no_query_is_no_rate() {
        let none = ClientRequests::new(0.0, 100.0, 100.0, 2.0, 3);
        assert_eq!((none.per_second, none.interval(0.9), none.saturated), (0.0, (0.0, 0.0), false));
    }
}
