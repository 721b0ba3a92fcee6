//! Networks of queues with a product-form steady state.

/// Arrival rate of each station of an open network \[1/s\]: the solution of the traffic equations λ = γ + λP
/// (J. Jackson 1957, 1963). `external` are the arrivals from outside γ; `routing[i][j]` is the probability that a
/// customer who leaves station i goes to j next. `None` when some customers never leave.
///
/// Each station then behaves as an M/M/c of its own at that rate, independent of the others.
///
/// Panics when `routing` is not square over the stations.
pub fn jackson_rates(external: &[f64], routing: &[Vec<f64>]) -> Option<Vec<f64>> {
    let n = external.len();
    assert!(routing.len() == n && routing.iter().all(|row| row.len() == n), "routing is stations × stations");
    // (I − Pᵀ) λ = γ, by Gaussian elimination with partial pivoting.
    let mut rows: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let coefficients = (0..n).map(|j| f64::from(u8::from(i == j)) - routing[j][i]);
            coefficients.chain([external[i]]).collect()
        })
        .collect();
    for column in 0..n {
        let pivot = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, pivot);
        if rows[column][column].abs() < 1e-12 {
            return None;
        }
        let (upper, lower) = rows.split_at_mut(column + 1);
        let base = &upper[column];
        for row in lower {
            let factor = row[column] / base[column];
            row.iter_mut().zip(base).skip(column).for_each(|(value, b)| *value -= factor * b);
        }
    }
    let mut rates = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * rates[j]).sum();
        rates[i] = (rows[i][n] - known) / rows[i][i];
    }
    rates.iter().all(|&rate| rate >= 0.0 && rate.is_finite()).then_some(rates)
}

/// Throughput \[1/s\] and mean number at each station of a closed network of single servers in which `customers`
/// circulate, by exact mean value analysis (M. Reiser, S. Lavenberg 1980). `demands` are visit ratio × mean service
/// time at each station \[s\]; `think` is the mean time spent outside all of them \[s\].
pub fn closed_network(customers: u32, demands: &[f64], think: f64) -> (f64, Vec<f64>) {
    let mut numbers = vec![0.0; demands.len()];
    let mut throughput = 0.0;
    for population in 1..=customers {
        let residences: Vec<f64> =
            demands.iter().zip(&numbers).map(|(demand, number)| demand * (1.0 + number)).collect();
        throughput = f64::from(population) / (think + residences.iter().sum::<f64>());
        numbers = residences.iter().map(|residence| throughput * residence).collect();
    }
    (throughput, numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_equations_balance() {
        // Half of what leaves the first station goes to the second, of which a fifth comes back.
        let rates = jackson_rates(&[1.0, 0.0], &[vec![0.0, 0.5], vec![0.2, 0.0]]).unwrap();
        assert!((rates[0] - 1.0 / 0.9).abs() < 1e-12 && (rates[1] - 0.5 / 0.9).abs() < 1e-12);
    }

    #[test]
    fn a_network_nobody_leaves_has_no_steady_state() {
        assert_eq!(jackson_rates(&[1.0, 0.0], &[vec![0.0, 1.0], vec![1.0, 0.0]]), None);
    }

    /// Two equal stations: by symmetry each holds half; of N + 1 equally likely states, N leave a given one busy.
    #[test]
    fn two_equal_stations_share_the_customers() {
        for customers in 1..20 {
            let (throughput, numbers) = closed_network(customers, &[0.5, 0.5], 0.0);
            let n = f64::from(customers);
            assert!((throughput - n / (n + 1.0) / 0.5).abs() < 1e-12);
            assert!((numbers[0] - n / 2.0).abs() < 1e-12);
        }
    }
}
