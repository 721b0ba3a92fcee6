//! Which part of a series trains, which part tests, and from which moments how far ahead.

use forebay_world::{Duration, Timestamp};

use super::Aggregate;

/// How models are put to the test.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// Length of a step.
    pub step: Duration,
    /// Steps of the training window.
    pub train: usize,
    /// Steps of the test window, which follows it.
    pub test: usize,
    /// What is asked for.
    pub kinds: Vec<Kind>,
}

/// How far ahead, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Steps ahead.
    pub horizon: usize,
    /// Steps from one origin to the next.
    pub stride: usize,
}

impl Kind {
    /// Places of the first forecast step of each origin, in a window of `len` steps of which `train` train.
    pub fn origins(self, train: usize, len: usize) -> impl Iterator<Item = usize> {
        (train..).step_by(self.stride.max(1)).take_while(move |first| first + self.horizon <= len)
    }
}

/// A series of a fixed set: the file it is in, and its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// What it is called in results.
    pub name: &'static str,
    /// File in the folder of the set.
    pub file: &'static str,
    /// Value of the column `series`, where the file has more than one.
    pub series: Option<&'static str>,
    /// First day.
    pub from: &'static str,
    /// How steps become longer steps.
    pub aggregate: Aggregate,
}

const fn window(name: &'static str, file: &'static str, series: Option<&'static str>, from: &'static str) -> Window {
    Window { name, file, series, from, aggregate: Aggregate::Sum }
}

const TWITTER: &str = "nab_twitter_volume_5min.csv";

impl Protocol {
    /// 28 days of training and 7 of test at quarter hours: an hour ahead every six hours, and a day ahead every day.
    pub fn g15() -> Protocol {
        Protocol {
            step: Duration::from_mins(15),
            train: 28 * 96,
            test: 7 * 96,
            kinds: vec![Kind { horizon: 4, stride: 24 }, Kind { horizon: 96, stride: 96 }],
        }
    }

    /// The six public series of that protocol: mentions of four companies on Twitter, a transatlantic link of a
    /// European provider, and the web site of the 1998 World Cup in its knock-out rounds.
    pub const G15: [Window; 6] = [
        window("tw_AAPL", TWITTER, Some("AAPL"), "2015-03-16"),
        window("tw_AMZN", TWITTER, Some("AMZN"), "2015-03-16"),
        window("tw_FB", TWITTER, Some("FB"), "2015-03-16"),
        window("tw_GOOG", TWITTER, Some("GOOG"), "2015-03-16"),
        Window {
            name: "isp_eu",
            file: "isp_eu_5min.csv",
            series: None,
            from: "2005-06-13",
            aggregate: Aggregate::Mean,
        },
        window("wc98", "worldcup98_1min.csv", None, "1998-06-01"),
    ];

    /// Steps of a whole window.
    pub fn len(&self) -> usize {
        self.train + self.test
    }

    /// Whether there is nothing to test on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Window {
    /// Begin of the window.
    ///
    /// # Panics
    /// Never for those of this file, whose dates a test reads.
    pub fn start(&self) -> Timestamp {
        format!("{}T00:00:00Z", self.from).parse().expect("a date")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_stay_within_the_test_window() {
        let protocol = Protocol::g15();
        let origins = |kind: Kind| kind.origins(protocol.train, protocol.len()).collect::<Vec<_>>();
        let (hour, day) = (origins(protocol.kinds[0]), origins(protocol.kinds[1]));
        assert_eq!((hour.len(), hour[0], hour[27]), (28, 2688, 2688 + 24 * 27));
        assert_eq!((day.len(), day[0], day[6]), (7, 2688, 2688 + 96 * 6));
        for window in Protocol::G15 {
            assert!(window.start() > Timestamp::EPOCH);
        }
    }
}
