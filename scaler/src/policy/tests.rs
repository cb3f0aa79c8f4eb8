use proptest::prelude::*;

use super::*;

fn labels(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

fn check(entries: &[(&str, &str)], runtime: Runtime) -> Result<Policy, PolicyError> {
    Policy::from_labels(&labels(entries), runtime, &Defaults::default())
}

fn container(entries: &[(&str, &str)]) -> Policy {
    check(entries, Runtime::Container).unwrap()
}

#[test]
fn without_labels_a_container_has_the_originals_defaults() {
    let policy = container(&[("team", "x")]);
    assert_eq!((policy.min, policy.max, policy.factor), (1, 20, 20));
    assert_eq!((policy.signal, policy.target, policy.proportion), (Signal::Rps, 50.0, 0.9));
    assert_eq!((policy.freeze_after, policy.zero_after), (None, None));
    assert!(policy.follows_load());
}

#[test]
fn without_labels_a_wasm_function_keeps_its_slots() {
    for unrelated in
        [&[][..], &[(WEIGHT_LABEL, "2")], &[(FREEZE_AFTER_LABEL, "1m")], &[("com.openfaas.x", "1")]]
    {
        let policy = check(unrelated, Runtime::Wasm).unwrap();
        assert_eq!((policy.min, policy.max), (16, 16), "{unrelated:?}");
        assert!(!policy.follows_load());
    }
}

#[test]
fn a_wasm_function_with_a_scale_label_follows_load_from_its_default_slots_up() {
    let policy = check(&[(ZERO_LABEL, "true")], Runtime::Wasm).unwrap();
    assert_eq!((policy.min, policy.max), (16, 20));
    assert!(policy.follows_load() && policy.to_zero_after().is_some());
    let policy = check(&[(MAX_LABEL, "5")], Runtime::Wasm).unwrap();
    assert_eq!((policy.min, policy.max), (5, 5));
    let policy = check(&[(SCALE_MIN_LABEL, "2")], Runtime::Wasm).unwrap();
    assert_eq!((policy.min, policy.max), (2, 20));
}

#[test]
fn reads_every_label() {
    let policy = container(&[
        (SCALE_MIN_LABEL, "2"),
        (MAX_LABEL, "8"),
        (FACTOR_LABEL, "50"),
        (SCALE_TYPE_LABEL, "cpu"),
        (TARGET_LABEL, "500"),
        (PROPORTION_LABEL, "0.70"),
        (ZERO_LABEL, "1"),
        (ZERO_DURATION_LABEL, "1h30m"),
        (FREEZE_AFTER_LABEL, "30s"),
        (WEIGHT_LABEL, "2.5"),
    ]);
    let expected = Policy {
        min: 2,
        max: 8,
        capped: true,
        factor: 50,
        signal: Signal::Cpu,
        target: 500.0,
        proportion: 0.7,
        freeze_after: Some(Duration::from_secs(30)),
        zero_after: Some(Duration::from_secs(5_400)),
        kept_by_min: true,
        weight: 2.5,
    };
    assert_eq!(policy, expected);
}

#[test]
fn refuses_what_a_label_cannot_be_and_names_it() {
    let numbers =
        ["-1", "+1", "1e9", "abc", "1.5.0", " 1", "NaN", "inf", "0x10", "١", "99999999999999999999"];
    for label in [SCALE_MIN_LABEL, MAX_LABEL, FACTOR_LABEL, TARGET_LABEL, PROPORTION_LABEL, WEIGHT_LABEL] {
        for value in numbers {
            refused(label, value);
        }
    }
    for (label, value) in [
        (SCALE_MIN_LABEL, "10001"),
        (SCALE_MIN_LABEL, "1.0"),
        (MAX_LABEL, "1000000000"),
        (FACTOR_LABEL, "101"),
        (SCALE_TYPE_LABEL, "RPS"),
        (SCALE_TYPE_LABEL, "custom"),
        (TARGET_LABEL, "0"),
        (TARGET_LABEL, "0.0"),
        (PROPORTION_LABEL, "0"),
        (PROPORTION_LABEL, "1.01"),
        (WEIGHT_LABEL, "0"),
        (ZERO_LABEL, "yes"),
        (ZERO_LABEL, "True"),
        (ZERO_DURATION_LABEL, "0"),
        (ZERO_DURATION_LABEL, "-5m"),
        (ZERO_DURATION_LABEL, "5 minutes"),
        (FREEZE_AFTER_LABEL, "0s"),
        (FREEZE_AFTER_LABEL, "soon"),
    ] {
        refused(label, value);
    }
}

fn refused(label: &str, value: &str) {
    for runtime in [Runtime::Wasm, Runtime::Container, Runtime::Hybrid] {
        let error = check(&[(label, value)], runtime).expect_err(value);
        assert_eq!((error.label, error.value.as_str()), (label, value));
        assert!(error.to_string().contains(label), "{error}");
    }
}

#[test]
fn refuses_a_minimum_above_the_maximum() {
    let error = check(&[(SCALE_MIN_LABEL, "5"), (MAX_LABEL, "2")], Runtime::Container).unwrap_err();
    assert_eq!((error.label, error.value.as_str()), (SCALE_MIN_LABEL, "5"));
    assert!(error.reason.contains("com.openfaas.scale.max=2"), "{error}");
}

#[test]
fn a_long_value_is_told_short() {
    let error = check(&[(SCALE_TYPE_LABEL, &"é".repeat(1_000))], Runtime::Wasm).unwrap_err();
    assert_eq!(error.value.chars().count(), 81);
}

#[test]
fn a_minimum_above_the_default_maximum_raises_it() {
    let policy = container(&[(SCALE_MIN_LABEL, "30")]);
    assert_eq!((policy.min, policy.max), (30, 30));
}

#[test]
fn zeros_mean_what_the_original_means() {
    // The step of an alert is 0 then: never more than the minimum.
    let policy = container(&[(MAX_LABEL, "0"), (SCALE_MIN_LABEL, "3")]);
    assert_eq!((policy.min, policy.max, policy.follows_load()), (3, 3, false));
    let policy = container(&[(MAX_LABEL, "0"), (SCALE_MIN_LABEL, "0")]);
    assert_eq!((policy.min, policy.max, policy.floor()), (0, 1, 1));
    assert!(!container(&[(FACTOR_LABEL, "0")]).follows_load());
    let policy = container(&[(SCALE_MIN_LABEL, "0")]);
    assert_eq!((policy.min, policy.floor(), policy.to_zero_after()), (0, 1, None));
    assert!(!container(&[(SCALE_MIN_LABEL, "4"), (MAX_LABEL, "4")]).follows_load());
}

#[test]
fn goes_to_zero_only_when_asked_and_never_with_a_minimum() {
    let fifteen_minutes = Some(Duration::from_secs(900));
    assert_eq!(container(&[(ZERO_LABEL, "true")]).to_zero_after(), fifteen_minutes);
    assert_eq!(container(&[(ZERO_LABEL, "true"), (SCALE_MIN_LABEL, "0")]).to_zero_after(), fifteen_minutes);
    assert_eq!(container(&[(ZERO_LABEL, "true"), (SCALE_MIN_LABEL, "1")]).to_zero_after(), None);
    assert_eq!(container(&[(ZERO_LABEL, "false")]).to_zero_after(), None);
    assert_eq!(container(&[(ZERO_DURATION_LABEL, "1m")]).to_zero_after(), None);
}

#[test]
fn a_slot_bears_one_invocation_where_the_target_is_not_said() {
    let capacity = [(SCALE_TYPE_LABEL, "capacity")];
    assert_eq!(check(&capacity, Runtime::Wasm).unwrap().target, 1.0);
    assert_eq!(check(&capacity, Runtime::Container).unwrap().target, 50.0);
}

#[test]
fn an_empty_value_is_none() {
    assert_eq!(container(&[(MAX_LABEL, ""), (SCALE_TYPE_LABEL, ""), (ZERO_LABEL, "")]), container(&[]));
    assert_eq!(check(&[(MAX_LABEL, "")], Runtime::Wasm).unwrap().max, 16);
}

proptest! {
    #[test]
    fn whatever_is_read_is_valid(
        values in proptest::collection::vec(proptest::option::of("[0-9]{1,3}|[0-9]\\.[0-9]|true|rps|[0-9]m|\\PC{0,4}"), 10),
        wasm: bool,
    ) {
        let names = [
            SCALE_MIN_LABEL, MAX_LABEL, FACTOR_LABEL, SCALE_TYPE_LABEL, TARGET_LABEL, PROPORTION_LABEL, ZERO_LABEL,
            ZERO_DURATION_LABEL, FREEZE_AFTER_LABEL, WEIGHT_LABEL,
        ];
        let labels = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?))).collect();
        let runtime = if wasm { Runtime::Wasm } else { Runtime::Container };
        if let Ok(policy) = Policy::from_labels(&labels, runtime, &Defaults::default()) {
            prop_assert!(policy.min <= policy.max && policy.max >= 1 && policy.factor <= 100, "{policy:?}");
            prop_assert!(policy.per_replica() > 0.0 && policy.per_replica().is_finite(), "{policy:?}");
            prop_assert!(policy.weight > 0.0 && policy.weight.is_finite(), "{policy:?}");
        }
    }
}
