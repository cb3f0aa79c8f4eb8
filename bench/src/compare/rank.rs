//! Whether two sets of values differ by more than chance: the test of Mann and Whitney, at 1 %.

/// One in a hundred, on both sides together.
const LEVEL: f64 = 0.01;

/// The same as a distance from the middle of a normal distribution, in standard deviations.
const LEVEL_DEVIATIONS: f64 = 2.576;

/// Up to so many values on a side all orders are counted; beyond, the normal distribution is close enough.
const EXACT: usize = 20;

/// With fewer on either side the test cannot tell anything at this level, or only a total separation.
pub(super) const ENOUGH: usize = 5;

/// Whether one side's values tend to be higher than the other's.
pub(super) fn differ(a: &[f64], b: &[f64]) -> bool {
    let (n, m) = (a.len(), b.len());
    if n < ENOUGH || m < ENOUGH {
        return false;
    }
    // Pairs in which a is above b, ties counted as halves: 0 to n × m.
    let above: f64 = a.iter().map(|a| b.iter().map(|b| pair(*a, *b)).sum::<f64>()).sum();
    let (total, all) = ((n * m) as f64, (n + m) as f64);
    let least = above.min(total - above);
    if n <= EXACT && m <= EXACT {
        // Ties make it hold back: half a pair counts as a whole one.
        return 2.0 * at_most(n, m, least) <= LEVEL;
    }
    let mut values: Vec<f64> = a.iter().chain(b).copied().collect();
    values.sort_by(f64::total_cmp);
    let ties: f64 = values
        .chunk_by(|a, b| a == b)
        .map(|tied| {
            let count = tied.len() as f64;
            count * (count * count - 1.0)
        })
        .sum();
    let variance = total / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    variance > 0.0 && (total / 2.0 - least - 0.5) / variance.sqrt() >= LEVEL_DEVIATIONS
}

fn pair(a: f64, b: f64) -> f64 {
    match a.total_cmp(&b) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    }
}

/// The share of all orders of `n` and `m` values that have at most so many pairs above.
fn at_most(n: usize, m: usize, pairs: f64) -> f64 {
    // How many orders have each number of pairs: the coefficients of a Gaussian binomial, made by
    // multiplying with (1 - x^(m + k)) and dividing by (1 - x^k).
    let mut orders = vec![0.0_f64; n * m + 1];
    orders[0] = 1.0;
    for k in 1..=n {
        for at in (m + k..orders.len()).rev() {
            orders[at] -= orders[at - m - k];
        }
        for at in k..orders.len() {
            orders[at] += orders[at - k];
        }
    }
    let total: f64 = orders.iter().sum();
    let within = orders.iter().enumerate().take_while(|(at, _)| (*at as f64) <= pairs.ceil());
    within.map(|(_, orders)| orders).sum::<f64>() / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_orders_exactly() {
        // Of 5 and 5 values: 252 orders; 1 with no pair, 1 with one, 2 with two.
        assert!((at_most(5, 5, 0.0) - 1.0 / 252.0).abs() < 1e-12);
        assert!((at_most(5, 5, 2.0) - 4.0 / 252.0).abs() < 1e-12);
        assert!((at_most(20, 20, 400.0) - 1.0).abs() < 1e-9);
        // A table's critical value: U of 16 for 10 and 10 at 1 %, two-sided.
        assert!(2.0 * at_most(10, 10, 16.0) <= 0.01 && 2.0 * at_most(10, 10, 17.0) > 0.01);
    }

    #[test]
    fn five_rounds_differ_only_when_they_do_not_overlap() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert!(differ(&a, &[6.0, 7.0, 8.0, 9.0, 10.0]));
        assert!(!differ(&a, &[4.5, 7.0, 8.0, 9.0, 10.0]));
        assert!(!differ(&a, &a) && !differ(&[1.0; 5], &[1.0; 5]));
        assert!(!differ(&a[..4], &[6.0, 7.0, 8.0, 9.0]), "four rounds cannot tell");
    }

    #[test]
    fn many_values_differ_by_their_ranks_also_with_ties() {
        let values = |shift: f64| -> Vec<f64> { (0..200).map(|at| f64::from(at % 50) + shift).collect() };
        assert!(differ(&values(0.0), &values(8.0)));
        assert!(!differ(&values(0.0), &values(1.0)));
        assert!(!differ(&[3.0; 100], &[3.0; 100]));
    }
}
