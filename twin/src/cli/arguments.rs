//! What the command line accepts; also the source of the man page and of completions.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use forebay_adapters::{LogFormat, Vantage};
use forebay_world::{Duration, Timestamp};

use crate::backtest::Aggregate;
use crate::forecast::trained;
use crate::policy;
use crate::tui::Theme;

/// Capacity for content delivery networks, in place before the demand: simulated, compared and watched.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, about, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Exit status: 0 done, 1 the answer is no (journals differ, no answer), 2 error, 130 interrupted."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a scenario; in a terminal, watch it
    Run(RunOptions),
    /// Watch production, plan for it and tell what would have come of it; write nothing to it
    Shadow(ShadowOptions),
    /// Compare policies on scenarios over many seeds
    Compare(CompareOptions),
    /// Count the queries of DNS logs by time, region and class, without anybody's address
    Import(ImportOptions),
    /// Print the events that calendars and tables announce, with all that recurs
    Events(EventsOptions),
    /// Back-test forecasting models on recorded series
    Forecast(ForecastOptions),
    /// Train a forecasting model on recorded series, into a file
    Train(TrainOptions),
    /// Plan machines and bandwidth ahead, from recorded series and a scenario
    Plan(PlanOptions),
    /// Show, make or take away the slices of one real link
    Link(LinkOptions),
    /// Run production: forecast, plan, and carry plans out on hypervisors, links and name servers
    Live(LiveOptions),
    /// Print the slices that stand at a moment of a run
    Slices(SlicesOptions),
    /// Run the controller again over a journal, and say whether every plan is the same
    Replay(ReplayOptions),
    /// Check scenario and production files, and whether what production names answers
    Check(CheckOptions),
    /// Write a commented production file to begin with, from what is found here
    Init(InitOptions),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page
    Man,
}

#[derive(Args, Debug)]
pub(super) struct LiveOptions {
    /// Production file
    pub(super) file: PathBuf,
    /// End after so long; machines stay as they are
    #[arg(long = "for", value_name = "SPAN")]
    pub(super) span: Option<Duration>,
    /// Do not open the terminal UI: a line a tick, and yes is read from stdin
    #[arg(long)]
    pub(super) headless: bool,
    /// Print one JSON object a tick
    #[arg(long)]
    pub(super) json: bool,
    /// Terminal UI: colours: safe, dark, light or high-contrast; NO_COLOR for none
    #[arg(long, default_value = "safe", hide_default_value = true)]
    pub(super) theme: Theme,
    /// Terminal UI: draw with ASCII only
    #[arg(long)]
    pub(super) ascii: bool,
}

#[derive(Args, Debug)]
pub(super) struct LinkOptions {
    #[command(subcommand)]
    pub(super) action: LinkAction,
}

#[derive(Debug, Subcommand)]
pub(super) enum LinkAction {
    /// Show what stands, and what of it is not as the file says
    Show {
        /// Link file
        file: PathBuf,
        /// Measure for so long what each slice carries
        #[arg(long, value_name = "SPAN")]
        rates: Option<Duration>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make what stands what the file says; writes only what differs, and reads it back
    Apply {
        /// Link file
        file: PathBuf,
        /// Say what would be changed, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take away all that bears our mark
    Remove {
        /// Link file
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Debug)]
pub(super) struct RunOptions {
    /// Scenario file
    pub(super) scenario: PathBuf,
    /// Policy that decides
    #[arg(long, short, default_value = "predictive", value_parser = policy_name)]
    pub(super) policy: String,
    /// Seed of the world, in place of the scenario's
    #[arg(long, short)]
    pub(super) seed: Option<u64>,
    /// Recording to replay, in place of the scenario's; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(super) replay: Option<PathBuf>,
    /// End this long after the start: 90min, 2h, 3d
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) until: Option<Duration>,
    /// Machines take so long to be ready, in the median, in place of the scenario's flavours: 60s, 5min
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) boot: Option<Duration>,
    /// Do not open the terminal UI
    #[arg(long)]
    pub(super) headless: bool,
    /// Print the figures as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Write a run directory; it must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Terminal UI: simulated seconds a second to begin with [default: 100]
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) speed: Option<u32>,
    /// Terminal UI: wait for the space bar before anything happens
    #[arg(long)]
    pub(super) paused: bool,
    /// Terminal UI: colours: safe, dark, light or high-contrast; NO_COLOR for none
    #[arg(long, default_value = "safe", hide_default_value = true)]
    pub(super) theme: Theme,
    /// Terminal UI: draw with ASCII only
    #[arg(long)]
    pub(super) ascii: bool,
    /// Threads that simulate, for policies that rehearse; results are the same for any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) threads: Option<u16>,
}

#[derive(Args, Debug)]
pub(super) struct ShadowOptions {
    /// Production file
    pub(super) config: PathBuf,
    /// End after so long: 2min, 1h, 7d [default: at ctrl-C]
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    pub(super) lasts: Option<Duration>,
    /// Do not open the terminal UI
    #[arg(long)]
    pub(super) headless: bool,
    /// Print each tick as a JSON object, and at last a summary
    #[arg(long)]
    pub(super) json: bool,
    /// Replicates of the twins, on which confidence intervals rest
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) replicates: u32,
    /// Look at production so often
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = span)]
    pub(super) look_every: Duration,
    /// Time zone whose midnight ends a day, by its IANA name
    #[arg(long, value_name = "NAME", default_value = "UTC")]
    pub(super) time_zone: String,
    /// Terminal UI: colours: safe, dark, light or high-contrast; NO_COLOR for none
    #[arg(long, default_value = "safe", hide_default_value = true)]
    pub(super) theme: Theme,
    /// Terminal UI: draw with ASCII only
    #[arg(long)]
    pub(super) ascii: bool,
}

#[derive(Args, Debug)]
pub(super) struct CompareOptions {
    /// Scenario files
    #[arg(required = true)]
    pub(super) scenarios: Vec<PathBuf>,
    /// Policies, with commas between
    #[arg(long, short, value_delimiter = ',', value_parser = policy_name, num_args = 1..,
          default_values_t = ["fixed", "hpa", "target-tracking", "aws-predictive", "predictive", "oracle"].map(str::to_owned))]
    pub(super) policies: Vec<String>,
    /// Number of seeds: the scenario's own and those after it
    #[arg(long, short = 'n', value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(super) seeds: u64,
    /// Policy that the others are compared with [default: fixed, else the first]
    #[arg(long, value_parser = policy_name)]
    pub(super) baseline: Option<String>,
    /// Recording to replay, in place of the scenarios'
    #[arg(long, value_name = "FILE")]
    pub(super) replay: Option<PathBuf>,
    /// End this long after the start: 90min, 2h, 3d
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) until: Option<Duration>,
    /// Machines take so long to be ready, in the median, in place of the scenario's flavours: 60s, 5min
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) boot: Option<Duration>,
    /// Print one JSON object a line for each scenario and policy
    #[arg(long)]
    pub(super) json: bool,
    /// Write every run's figures to a directory; it must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Threads that simulate [default: one for each processor]; results are the same for any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) threads: Option<u16>,
}

#[derive(Args, Debug)]
pub(super) struct ImportOptions {
    /// Logs of DNS queries, plain or gzip, in any order; - for standard input
    #[arg(required = true, value_name = "LOG")]
    pub(super) logs: Vec<PathBuf>,
    /// Format of the logs [default: told by their content]
    #[arg(long, value_name = "NAME", value_parser = log_format)]
    pub(super) format: Option<LogFormat>,
    /// Where clients are: a prefix table (CSV with columns prefix,region) or an MMDB database, whose countries are
    /// regions then; may be given again. Tables come before databases, the longest prefix first
    #[arg(long, value_name = "FILE")]
    pub(super) geo: Vec<PathBuf>,
    /// File of rules that give names their class, one a line, as with --class
    #[arg(long, value_name = "FILE")]
    pub(super) classes: Option<PathBuf>,
    /// Rule that gives names their class, such as *.video.cdn.example=video; may be given again. The first that fits
    /// decides, those of --classes after these
    #[arg(long = "class", value_name = "RULE")]
    pub(super) class: Vec<String>,
    /// Zone of the operator's; may be given again. Names outside are of class other
    #[arg(long, value_name = "ZONE")]
    pub(super) zone: Vec<String>,
    /// Length of a window; a day is a multiple of it
    #[arg(long, value_name = "SPAN", default_value = "1min", value_parser = span)]
    pub(super) window: Duration,
    /// The fewest client networks that a count may stand for: smaller ones go to region other, or are withheld
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) k: u16,
    /// How long after the end of its window a record may come
    #[arg(long, value_name = "SPAN", default_value = "10min", value_parser = span)]
    pub(super) lateness: Duration,
    /// Records of one transaction within this span are one query, captured twice; 0 for none [default: 1ms with Zeek]
    #[arg(long, value_name = "SPAN", value_parser = span_or_zero)]
    pub(super) dedupe: Option<Duration>,
    /// Time zone of times that carry none, by its IANA name [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub(super) time_zone: Option<String>,
    /// Year of the first time that carries none [default: the latest that is not in the future]
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i16).range(1970..=2553))]
    pub(super) year: Option<i16>,
    /// Count the queries that were seen there: authority, before-resolver or after-resolver [default: where most were]
    #[arg(long, value_name = "POINT", value_parser = vantage)]
    pub(super) vantage: Option<Vantage>,
    /// Write to a file that ends in .csv, .csv.gz or .parquet [default: CSV to stdout]
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Columns unique_id,ds,y (Nixtla's long format) in place of timestamp,region,class,value; Parquet has them anyway
    #[arg(long)]
    pub(super) long: bool,
    /// Write what was read, left out and withheld as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct EventsOptions {
    /// Feeds: calendars (iCalendar), CSV with columns id,start,end, or one JSON object a line; files, - for standard
    /// input, or addresses that begin with https:// or http://
    #[arg(required = true, value_name = "FEED")]
    pub(super) feeds: Vec<String>,
    /// Begin of the window [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(super) from: Option<Timestamp>,
    /// End of the window, at most 400 days after its begin [default: 28 days after]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(super) until: Option<Timestamp>,
    /// Time zone of times and days that carry none, by its IANA name [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub(super) time_zone: Option<String>,
    /// Recorded demand, CSV as for forecast: print what events of each kind have brought, over its time
    #[arg(long, value_name = "SERIES")]
    pub(super) against: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ForecastOptions {
    /// Series: CSV files with columns timestamp,value or timestamp,series,value or timestamp,region,class,value; - for
    /// standard input. With --preset, the folder that holds the files of the preset
    #[arg(required = true, value_name = "SERIES")]
    pub(super) series: Vec<PathBuf>,
    /// Models, with commas between, or all; a + after a name, as in lstm+, corrects its quantiles on the way; or model
    /// files that forebay train wrote, which are not trained again
    #[arg(long, short, value_delimiter = ',', value_parser = model_or_file, num_args = 1.., default_value = "all")]
    pub(super) model: Vec<String>,
    /// A fixed set of series, windows and horizons
    #[arg(long, conflicts_with_all = ["train_days", "test_days", "resample", "aggregate", "horizon"])]
    pub(super) preset: Option<Preset>,
    /// Days that models learn from
    #[arg(long, value_name = "N", default_value_t = 28, value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub(super) train_days: u16,
    /// Days after them that models are tested on: the last of the series
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub(super) test_days: u16,
    /// Length of a step
    #[arg(long, value_name = "SPAN", default_value = "15min", value_parser = span)]
    pub(super) resample: Duration,
    /// Whether the values of shorter steps add up (counts) or are averaged (rates)
    #[arg(long, value_enum, default_value_t = Aggregate::Sum)]
    pub(super) aggregate: Aggregate,
    /// How far ahead, with commas between; asked four times as often, but once a day at least
    #[arg(long, value_name = "SPANS", value_delimiter = ',', value_parser = span, default_value = "1h,24h")]
    pub(super) horizon: Vec<Duration>,
    /// Time from one forecast to the next, in place of a quarter of a day
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) every: Option<Duration>,
    /// Time zone of the series' days, by its IANA name
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(super) time_zone: String,
    /// Public holidays, which count as Sundays: a CSV file of local days, date or date,name
    #[arg(long, value_name = "FILE")]
    pub(super) holidays: Option<PathBuf>,
    /// Seed of models that are trained
    #[arg(long, short, default_value_t = 1)]
    pub(super) seed: u64,
    /// Number of seeds that models are trained with: --seed and those after it
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(super) seeds: u64,
    /// Print one JSON object a line for each model, horizon and seed, and for each of their series
    #[arg(long)]
    pub(super) json: bool,
    /// Write the figures, and charts of the best and worst origins; the folder must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct TrainOptions {
    /// Series: CSV files with columns timestamp,value or timestamp,series,value or timestamp,region,class,value; - for
    /// standard input
    #[arg(required = true, value_name = "SERIES")]
    pub(super) series: Vec<PathBuf>,
    /// Model [default: ensemble, or that of --from]
    #[arg(long, short, value_parser = one_model_name)]
    pub(super) model: Option<String>,
    /// How far ahead it will forecast at most [default: as far as that of --from]
    #[arg(long, value_name = "SPAN", value_parser = span, required_unless_present = "from")]
    pub(super) horizon: Option<Duration>,
    /// Length of a step [default: 15min, or that of --from]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) resample: Option<Duration>,
    /// Whether the values of shorter steps add up (counts) or are averaged (rates)
    #[arg(long, value_enum, default_value_t = Aggregate::Sum)]
    pub(super) aggregate: Aggregate,
    /// Days that it learns from, the last of each file [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub(super) train_days: Option<u16>,
    /// Seed of the training
    #[arg(long, short, default_value_t = 1)]
    pub(super) seed: u64,
    /// Time zone of the series' days, by its IANA name
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(super) time_zone: String,
    /// Go on from the model in this file, with series that end no earlier than those that it was trained on
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
    /// File to write the model to; written whole, then put in the place of one that is there
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

/// Fixed sets of series, windows and horizons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Preset {
    /// Six public series at quarter hours, 28 days of training and 7 of test, 1 h and 24 h ahead
    G15,
}

#[derive(Args, Debug)]
pub(super) struct PlanOptions {
    /// Scenario file: regions, hosts, classes, prices; its load is not looked at
    pub(super) scenario: PathBuf,
    /// Series: CSV files of counts, as import writes them, with columns timestamp,value or timestamp,region,class,value;
    /// - for standard input. They become sessions as the scenario's [replay] says
    #[arg(required = true, value_name = "SERIES")]
    pub(super) series: Vec<PathBuf>,
    /// Model that forecasts, or a model file [default: ensemble with two weeks of past, else seasonal-naive-day, or naive within a day]
    #[arg(long, short, value_parser = one_model_or_file)]
    pub(super) model: Option<String>,
    /// Plan from this moment on, knowing nothing later [default: the end of the series]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) at: Option<Timestamp>,
    /// Time that is planned
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = span)]
    pub(super) horizon: Duration,
    /// Length of an interval
    #[arg(long, value_name = "SPAN", default_value = "15min", value_parser = span)]
    pub(super) step: Duration,
    /// Money for machines an hour, in place of the guard's
    #[arg(long, value_name = "PRICE", value_parser = price, allow_negative_numbers = true)]
    pub(super) budget: Option<f64>,
    /// Seed of what is trained and sampled
    #[arg(long, short, default_value_t = 1)]
    pub(super) seed: u64,
    /// Print the plan as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Print a row for each interval, region and class as CSV
    #[arg(long, conflicts_with = "json")]
    pub(super) csv: bool,
    /// Write plan.json, plan.csv and plan.txt; the folder must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct SlicesOptions {
    /// Scenario file
    pub(super) scenario: PathBuf,
    /// Policy that decides
    #[arg(long, short, default_value = "predictive", value_parser = policy_name)]
    pub(super) policy: String,
    /// Seed of the world, in place of the scenario's
    #[arg(long, short)]
    pub(super) seed: Option<u64>,
    /// Recording to replay, in place of the scenario's
    #[arg(long, value_name = "FILE")]
    pub(super) replay: Option<PathBuf>,
    /// Moment, from the start of the run: 90min, 2h, 3d [default: its end]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(super) at: Option<Duration>,
    /// A table, JSON, or JSON of the YANG module ietf-network-slice-service
    #[arg(long, value_enum, default_value_t = SlicesFormat::Table)]
    pub(super) format: SlicesFormat,
}

/// How slices are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SlicesFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// As a network slice service (RFC 9543) of the IETF's data model
    Ietf,
}

#[derive(Args, Debug)]
pub(super) struct ReplayOptions {
    /// Journal: journal.jsonl of a run directory, or the directory
    pub(super) journal: PathBuf,
    /// Print the outcome as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct CheckOptions {
    /// Scenario or production files
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
    /// Recording to replay, in place of the scenarios'
    #[arg(long, value_name = "FILE")]
    pub(super) replay: Option<PathBuf>,
    /// Ask nobody: look at the files only
    #[arg(long)]
    pub(super) offline: bool,
    /// Print one JSON object a line for each file
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct InitOptions {
    /// File to write; it must not exist [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// libvirt daemon to look at
    #[arg(long, value_name = "URI", default_value = "qemu:///system")]
    pub(super) libvirt: String,
    /// Database of an Open vSwitch to look at
    #[arg(long, value_name = "DATABASE", default_value = "unix:/run/openvswitch/db.sock")]
    pub(super) ovs: String,
}

fn policy_name(text: &str) -> Result<String, String> {
    if policy::is_known(text) {
        return Ok(text.to_owned());
    }
    let (name, model) = policy::named(text);
    if name == "predictive" && model.is_some() {
        let names: Vec<&str> = trained::names().collect();
        return Err(format!("allowed after predictive: is one of auto, {}", names.join(", ")));
    }
    let near = crate::scenario::nearest(text, policy::NAMES.iter().copied());
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(format!("allowed is one of {}, and predictive:MODEL{hint}", policy::NAMES.join(", ")))
}

fn model_name(text: &str) -> Result<String, String> {
    if text == "all" || trained::is_known(text) {
        return Ok(text.to_owned());
    }
    let near = crate::scenario::nearest(text.trim_end_matches(trained::PLUS), trained::names());
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let names: Vec<&str> = trained::names().collect();
    Err(format!(
        "allowed is all, or some of {}, each with a + after it where it shall be calibrated{hint}",
        names.join(", ")
    ))
}

fn one_model_name(text: &str) -> Result<String, String> {
    if text != "all" {
        return model_name(text).map_err(|why| why.replace("allowed is all, or some of", "allowed is one of"));
    }
    Err(format!("allowed is one of {}", trained::names().collect::<Vec<_>>().join(", ")))
}

fn one_model_or_file(text: &str) -> Result<String, String> {
    match text {
        "all" => one_model_name(text),
        _ => model_or_file(text).map_err(|why| why.replace("allowed is all, or some of", "allowed is one of")),
    }
}

/// A model by name, or what looks like a path.
fn model_or_file(text: &str) -> Result<String, String> {
    let path = Path::new(text);
    model_name(text).or_else(|why| match path.components().count() > 1 || path.extension().is_some() || path.exists() {
        true => Ok(text.to_owned()),
        false => Err(format!("{why}; or a model file")),
    })
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse::<Timestamp>().map_err(|error| error.to_string())
}

fn price(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(price) if price.is_finite() && price >= 0.0 => Ok(price),
        _ => Err("a number from 0 up is needed".to_owned()),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    let names = LogFormat::ALL.map(LogFormat::name);
    text.parse().map_err(|_| {
        let near = crate::scenario::nearest(text, names);
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        format!("allowed is one of {}{hint}", names.join(", "))
    })
}

fn vantage(text: &str) -> Result<Vantage, String> {
    let names = Vantage::ALL.map(Vantage::name);
    Vantage::ALL
        .into_iter()
        .find(|vantage| vantage.name() == text)
        .ok_or_else(|| format!("allowed is one of {}", names.join(", ")))
}

fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse::<Timestamp>().map_err(|error| error.to_string())
}

fn span_or_zero(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { text.parse::<Duration>().map_err(|error| error.to_string()) }
}

fn span(text: &str) -> Result<Duration, String> {
    match text.parse::<Duration>() {
        Ok(span) if !span.is_zero() => Ok(span),
        Ok(_) => Err("more than 0 is needed".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
