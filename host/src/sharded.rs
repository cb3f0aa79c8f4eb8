//! Counts that every core adds to, each on a cache line of its own; whoever reads them sums up.
//!
//! A counter that all cores write to costs each of them a trip to the others' caches, which is dearer
//! than all the rest of counting. In: what an invocation counts. Out: what decides who is admitted
//! (`slots`), which has to be one number.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::proto;

/// Upper bounds of a [`Histogram`], without the last that has none.
pub const BOUNDS: usize = 16;

/// Shards for each core: threads take theirs in turn, and not all of them serve requests.
const SHARDS_PER_CORE: usize = 2;
/// Most shards, whatever the machine.
const MAX_SHARDS: usize = 32;

static SHARDS: LazyLock<usize> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores * SHARDS_PER_CORE).min(MAX_SHARDS)
});

/// The shard of this thread, taken in turn at its first use.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % *SHARDS;
    }
    OWN.with(|own| *own)
}

/// A value alone on its cache lines: two of them, because cores fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Alone<T>(pub(crate) T);

/// One value for each shard.
#[derive(Debug)]
struct Sharded<T>(Box<[Alone<T>]>);

impl<T> Sharded<T> {
    fn own(&self) -> &T {
        // The number of shards never changes, so this is never out of range.
        &self.0[own_shard()].0
    }

    fn sum(&self, count: impl Fn(&T) -> u64) -> u64 {
        self.0.iter().map(|shard| count(&shard.0)).sum()
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self((0..*SHARDS).map(|_| Alone::default()).collect())
    }
}

/// How many came and how many of them have gone, on whatever threads.
///
/// Both are in one order with every other sequentially consistent access: who comes and then reads
/// something, and who writes that and then asks who is here, cannot miss each other.
#[derive(Debug, Default)]
pub struct Presence(Sharded<Passages>);

#[derive(Debug, Default)]
struct Passages {
    came: AtomicU64,
    gone: AtomicU64,
}

impl Presence {
    /// One more is here.
    pub fn come(&self) {
        self.0.own().came.fetch_add(1, Ordering::SeqCst);
    }

    /// One that came has gone.
    pub fn go(&self) {
        self.0.own().gone.fetch_add(1, Ordering::SeqCst);
    }

    /// All that ever came. Never falls.
    pub fn came(&self) -> u64 {
        self.0.sum(|passages| passages.came.load(Ordering::SeqCst))
    }

    /// How many are here. One that comes or goes during the call may count as here.
    pub fn here(&self) -> u64 {
        // Those that have gone first: whoever is among them is then among those that came, too.
        let gone = self.0.sum(|passages| passages.gone.load(Ordering::SeqCst));
        self.came().saturating_sub(gone)
    }
}

/// The upper bounds of a histogram, inclusive.
#[derive(Debug)]
pub struct Bounds {
    seconds: [f64; BOUNDS],
    nanos: [u64; BOUNDS],
}

impl Bounds {
    /// Bounds in seconds, in rising order, each of whole nanoseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounds are positive and below 500 years"
    )]
    pub const fn new(seconds: [f64; BOUNDS]) -> Self {
        let (mut nanos, mut at) = ([0; BOUNDS], 0);
        while at < BOUNDS {
            nanos[at] = (seconds[at] * 1e9 + 0.5) as u64;
            at += 1;
        }
        Self { seconds, nanos }
    }

    /// Bounds that double, from `first` seconds on.
    pub const fn doubling(first: f64) -> Self {
        let (mut seconds, mut at) = ([first; BOUNDS], 1);
        while at < BOUNDS {
            seconds[at] = seconds[at - 1] * 2.0;
            at += 1;
        }
        Self::new(seconds)
    }
}

/// Durations, counted by size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    counts: Sharded<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// How many lie between two bounds; the last, above all of them.
    between: [AtomicU64; BOUNDS + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// An empty one.
    pub fn new(bounds: &'static Bounds) -> Self {
        Self { bounds, counts: Sharded::default() }
    }

    /// Counts one duration. Never waits, and writes to no other thread's cache line.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let place = self.bounds.nanos.partition_point(|bound| *bound < nanos);
        let counts = self.counts.own();
        counts.between[place].fetch_add(1, Ordering::Relaxed);
        counts.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.sum(|counts| counts.between.iter().map(|count| count.load(Ordering::Relaxed)).sum())
    }

    /// What Prometheus is told.
    pub fn to_proto(&self) -> proto::Histogram {
        let mut cumulative = 0;
        let mut reached = (0..=BOUNDS).map(|place| {
            cumulative += self.counts.sum(|counts| counts.between[place].load(Ordering::Relaxed));
            cumulative
        });
        let buckets: Vec<_> = self.bounds.seconds.iter().zip(reached.by_ref()).map(bucket).collect();
        let count = reached.next().expect("there is one more count than there are bounds");
        let sum = Duration::from_nanos(self.counts.sum(|counts| counts.sum_nanos.load(Ordering::Relaxed)));
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum.as_secs_f64());
        histogram
    }
}

fn bucket((bound, count): (&f64, u64)) -> proto::Bucket {
    let mut bucket = proto::Bucket::default();
    bucket.set_upper_bound(*bound);
    bucket.set_cumulative_count(count);
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    static BOUNDS_FROM_1_US: Bounds = Bounds::doubling(1e-6);

    #[test]
    fn a_duration_on_a_bound_is_below_it() {
        let histogram = Histogram::new(&BOUNDS_FROM_1_US);
        for nanos in [0, 1_000, 1_001, 2_000, u64::MAX] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let told = histogram.to_proto();
        let counts: Vec<_> = told.get_bucket().iter().map(proto::Bucket::cumulative_count).collect();
        assert_eq!(counts[..3], [2, 4, 4]);
        assert_eq!((counts.len(), told.get_sample_count(), histogram.count()), (BOUNDS, 5, 5));
    }

    #[test]
    fn nothing_is_lost_over_many_threads() {
        let (presence, histogram) = (Presence::default(), Histogram::new(&BOUNDS_FROM_1_US));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        presence.come();
                        assert!(presence.here() >= 1);
                        histogram.observe(Duration::from_micros(3));
                        presence.go();
                    }
                });
            }
        });
        assert_eq!((presence.came(), presence.here(), histogram.count()), (8_000, 0, 8_000));
    }

    #[test]
    fn who_goes_elsewhere_than_it_came_has_gone() {
        let presence = Presence::default();
        presence.come();
        std::thread::scope(|scope| {
            scope.spawn(|| presence.go());
        });
        assert_eq!((presence.came(), presence.here()), (1, 0));
    }
}
