use proptest::prelude::*;

use super::*;

fn want(wanted: u32, min: u32, weight: f64) -> Want {
    Want { wanted, needed: wanted, min, weight }
}

#[test]
fn gives_what_is_wanted_where_there_is_enough() {
    assert_eq!(share(100, &[want(40, 1, 1.0), want(60, 1, 9.0)]), [40, 60]);
    assert!(share(0, &[]).is_empty());
    assert_eq!(share(u32::MAX, &[want(u32::MAX, 0, 1.0)]), [u32::MAX]);
}

#[test]
fn a_hot_function_does_not_take_from_the_others_share() {
    assert_eq!(share(100, &[want(10_000, 1, 1.0), want(10, 1, 1.0), want(20, 1, 1.0)]), [70, 10, 20]);
    assert_eq!(share(30, &[want(10_000, 0, 1.0), want(10, 0, 1.0), want(20, 0, 1.0)]), [10, 10, 10]);
}

#[test]
fn weight_decides_where_slots_are_short() {
    assert_eq!(share(90, &[want(100, 0, 2.0), want(100, 0, 1.0)]), [60, 30]);
    // What the heavy one does not need goes to the other.
    assert_eq!(share(90, &[want(40, 0, 2.0), want(100, 0, 1.0)]), [40, 50]);
}

#[test]
fn minimums_come_first() {
    assert_eq!(share(20, &[want(100, 15, 1.0), want(100, 1, 100.0)]), [15, 5]);
    // Also a function of no weight to speak of gets its own.
    assert_eq!(share(10, &[want(100, 0, 1_000.0), want(5, 5, 0.01)]), [5, 5]);
}

#[test]
fn what_is_needed_comes_before_what_is_held() {
    let quiet = Want { wanted: 90, needed: 2, min: 1, weight: 5.0 };
    assert_eq!(share(100, &[quiet, want(60, 1, 1.0)]), [40, 60]);
    assert_eq!(share(50, &[quiet, want(60, 1, 1.0)]), [2, 48]);
}

#[test]
fn minimums_that_do_not_fit_are_shared_too() {
    assert_eq!(share(10, &[want(9, 9, 1.0), want(9, 9, 1.0)]), [5, 5]);
    assert_eq!(share(0, &[want(9, 9, 1.0), want(9, 9, 1.0)]), [0, 0]);
}

#[test]
fn the_earlier_of_equals_has_the_odd_slot() {
    assert_eq!(share(2, &[want(1, 1, 1.0); 3]), [1, 1, 0]);
    assert_eq!(share(4, &[want(2, 0, 1.0); 3]), [2, 1, 1]);
}

#[test]
fn a_weight_that_is_no_number_counts_as_one() {
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(share(10, &[want(10, 0, weight), want(10, 0, 1.0)]), [5, 5], "{weight}");
    }
}

prop_compose! {
    fn wants()(wants in proptest::collection::vec(
        (0_u32..200, 0_u32..200, 0_u32..40, prop_oneof![Just(1.0), 0.01..1_000.0]), 0..60,
    )) -> Vec<Want> {
        wants.into_iter().map(|(wanted, needed, min, weight)| Want { wanted, needed, min, weight }).collect()
    }
}

proptest! {
    #[test]
    fn divides_all_there_is_and_never_more(total in 0_u32..3_000, wants in wants()) {
        let given = share(total, &wants);
        prop_assert_eq!(given.len(), wants.len());
        let wanted: u32 = wants.iter().map(|want| want.wanted).sum();
        prop_assert_eq!(given.iter().sum::<u32>(), total.min(wanted));
        prop_assert!(given.iter().zip(&wants).all(|(given, want)| *given <= want.wanted));
        prop_assert_eq!(share(total, &wants), given);
    }

    #[test]
    fn nobody_is_below_the_minimum_while_the_minimums_fit(total in 0_u32..3_000, wants in wants()) {
        let given = share(total, &wants);
        let fits = wants.iter().map(least).sum::<u32>() <= total;
        let below = given.iter().zip(&wants).any(|(given, want)| *given < least(want));
        prop_assert!(!(fits && below), "{given:?}");
        // And where they do not fit, nobody is above it.
        prop_assert!(fits || given.iter().zip(&wants).all(|(given, want)| *given <= least(want)));
    }

    #[test]
    fn nobody_holds_more_than_the_load_needs_while_somebody_has_less(total in 0_u32..3_000, wants in wants()) {
        let given = share(total, &wants);
        let lacks = given.iter().zip(&wants).any(|(given, want)| *given < needed(want));
        prop_assert!(!lacks || given.iter().zip(&wants).all(|(given, want)| *given <= needed(want)));
    }

    /// Nobody who has less than was wanted could be given one from somebody with more for each unit of weight.
    #[test]
    fn is_fair_by_weight_beyond_the_minimums(total in 0_u32..3_000, wants in wants()) {
        let wants: Vec<_> = wants.into_iter().map(|want| Want { needed: want.wanted, ..want }).collect();
        let given = share(total, &wants);
        prop_assume!(wants.iter().map(least).sum::<u32>() <= total);
        let beyond: Vec<_> = given.iter().zip(&wants).map(|(given, want)| f64::from(given - least(want))).collect();
        for (a, poor) in wants.iter().enumerate().filter(|(a, poor)| given[*a] < poor.wanted) {
            for (b, rich) in wants.iter().enumerate().filter(|(b, _)| beyond[*b] > 0.0) {
                let (has, could_have) = (beyond[b] / rich.weight, (beyond[a] + 1.0) / poor.weight);
                prop_assert!(
                    has <= could_have + 1.0 / rich.weight + 1e-6,
                    "{a} has {} of {poor:?}, {b} has {} of {rich:?}", given[a], given[b]
                );
            }
        }
    }
}
