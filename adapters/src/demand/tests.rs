use std::fmt::Write;

use super::*;

fn options(k: usize) -> DemandOptions {
    DemandOptions {
        read: ReadOptions::default(),
        census: CensusOptions { window: Duration::from_secs(60), lateness: Duration::from_secs(600), k },
        vantage: None,
    }
}

/// A CSV log with a query a second of each of so many clients.
fn log(seconds: impl IntoIterator<Item = u64>, clients: u8) -> String {
    let mut log = "time,client,name,qtype\n".to_owned();
    for second in seconds {
        for client in 0..clients {
            writeln!(log, "{second},10.0.{client}.1,a.cdn.test,A").unwrap();
        }
    }
    log
}

fn read(logs: &[String], options: &DemandOptions) -> Result<Demand, ReadError> {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..logs.len()).map(|nth| folder.path().join(format!("{nth}.csv"))).collect();
    paths.iter().zip(logs).for_each(|(path, log)| std::fs::write(path, log).unwrap());
    read_demand(&paths, options, None, NameClasses::new())
}

fn rows(demand: &Demand) -> Vec<(u64, u64)> {
    demand.rows().map(|row| (row.at.as_nanos() / 1_000_000_000, row.queries)).collect()
}

const BEGIN: u64 = 1_795_370_400;

#[test]
fn rotated_and_overlapping_logs_are_counted_whole_in_whatever_order() {
    let logs = [log(BEGIN + 1500..BEGIN + 3000, 2), log(BEGIN..BEGIN + 1500, 2), log(BEGIN..BEGIN + 3000, 3)];
    let demand = read(&logs, &options(2)).unwrap();
    assert_eq!((demand.report.tally.late, demand.report.tally.written), (0, 15_000));
    assert_eq!(rows(&demand), (0..50).map(|n| (BEGIN + 60 * n, 300)).collect::<Vec<_>>());
    assert!(demand.report.gaps.is_empty());
    assert_eq!(demand.series, [("all".to_owned(), "default".to_owned())]);
}

#[test]
fn a_quiet_window_counts_zero_and_a_gap_of_the_log_nothing() {
    // Half a query a minute, then a log that is not there for six hours.
    let quiet = (0..200).map(|n| BEGIN + 120 * n).chain((400..600).map(|n| BEGIN + 120 * n));
    let demand = read(&[log(quiet, 3)], &options(2)).unwrap();
    let rows = rows(&demand);
    assert_eq!(rows[..3], [(BEGIN, 3), (BEGIN + 60, 0), (BEGIN + 120, 3)]);
    assert_eq!(rows.len(), 2 * 399);
    assert_eq!(demand.report.gaps.len(), 1);
    assert_eq!(demand.report.gaps[0].0, Timestamp::from_secs(BEGIN + 120 * 199));
}

#[test]
fn a_withheld_window_is_not_zero() {
    let logs = [log(BEGIN..BEGIN + 60, 3), log(BEGIN + 60..BEGIN + 120, 1), log(BEGIN + 120..BEGIN + 180, 2)];
    let demand = read(&logs, &options(2)).unwrap();
    assert_eq!(rows(&demand), [(BEGIN, 180), (BEGIN + 120, 120)]);
    assert_eq!((demand.report.tally.withheld, demand.report.tally.withheld_cells), (60, 1));
}

#[test]
fn a_log_without_queries_says_so() {
    let error = read(&["time,client,name,qtype\n".to_owned()], &options(2)).unwrap_err();
    assert!(error.to_string().contains("no query"), "{error}");
    let wanted = DemandOptions { vantage: Some(Vantage::AfterResolver), ..options(2) };
    let error = read(&[log([BEGIN], 1)], &wanted).unwrap_err();
    assert!(error.to_string().contains("after-resolver"), "{error}");
}
