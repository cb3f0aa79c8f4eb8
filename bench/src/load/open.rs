//! The open loop: requests fall due by the clock, whatever became of those before.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::connection::Connections;
use super::{READ_BYTES, STALL, Share};
use crate::stats::Latencies;

const ALARM: Token = Token(usize::MAX);

/// How long late requests may still be sent after the last one was due.
const GRACE: Duration = Duration::from_secs(2);

/// Sends `rate` requests in a second, each on a free connection, late when none is free.
///
/// A latency counts from the instant its request was due, so waiting for a connection is in it.
pub(super) fn run(
    mut connections: Connections,
    mut requests: impl Iterator<Item = Bytes>,
    rate: f64,
    duration: Duration,
) -> Result<Share> {
    ensure!(rate.is_finite() && rate > 0.0, "a rate of {rate} requests in a second cannot be sent");
    let mut buffer = vec![0; READ_BYTES];
    let mut events = Events::with_capacity(connections.all.len() + 1);
    let mut latencies = Latencies::new();
    let mut idle: Vec<usize> = (0..connections.all.len()).collect();
    let alarm = Alarm::new(connections.poll.registry())?;
    let started = Instant::now();
    let mut schedule =
        Schedule { started, interval: Duration::from_secs_f64(rate.recip()), duration, sent: 0 };
    let mut ended = started;
    loop {
        while let Some(due) = schedule.due(Instant::now())
            && let Some(free) = idle.pop()
        {
            let request = requests.next().expect("the requests go round for ever");
            connections.all[free].send(request, due)?;
            schedule.sent += 1;
        }
        let over = schedule.next().is_none() || started.elapsed() > duration + GRACE;
        if over && idle.len() == connections.all.len() {
            break;
        }
        if !over && let Some(next) = schedule.next().filter(|_| !idle.is_empty()) {
            alarm.set(next.saturating_duration_since(Instant::now()))?;
        }
        connections.poll.poll(&mut events, Some(STALL))?;
        ensure!(!events.is_empty(), "no answer for {STALL:?}");
        for event in events.iter().filter(|event| event.token() != ALARM) {
            let Token(at) = event.token();
            let Some(since) = connections.all[at].proceed(&mut buffer)? else { continue };
            ended = Instant::now();
            latencies.record(ended - since);
            idle.push(at);
        }
    }
    Ok(Share { latencies, unsent: schedule.unsent(), started, ended })
}

/// When requests fall due: one after each interval, from the start until the duration is over.
struct Schedule {
    started: Instant,
    interval: Duration,
    duration: Duration,
    sent: u32,
}

impl Schedule {
    /// When the next request falls due; `None` when there is no more.
    fn next(&self) -> Option<Instant> {
        let after = self.interval.checked_mul(self.sent)?;
        (after < self.duration).then(|| self.started + after)
    }

    /// The next request's instant when it has come.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.next().filter(|due| *due <= now)
    }

    fn unsent(&self) -> u64 {
        let wanted = self.duration.as_nanos().div_ceil(self.interval.as_nanos().max(1));
        u64::try_from(wanted).unwrap_or(u64::MAX).saturating_sub(u64::from(self.sent))
    }
}

/// A timer that wakes the poll to the microsecond; epoll's own timeout counts milliseconds.
struct Alarm(OwnedFd);

impl Alarm {
    fn new(registry: &Registry) -> Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
        let timer = timer.context("cannot make a timer")?;
        let raw = timer.as_raw_fd();
        registry.register(&mut SourceFd(&raw), ALARM, Interest::READABLE).context("cannot watch a timer")?;
        Ok(Self(timer))
    }

    /// Rings once, after so long; an earlier setting is void. Nobody need read it: mio asks for edges.
    fn set(&self, after: Duration) -> Result<()> {
        // Zero would switch it off.
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: after.as_secs().cast_signed(), tv_nsec: after.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once).context("cannot set a timer")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_due_by_the_clock() {
        let started = Instant::now();
        let (interval, duration) = (Duration::from_millis(10), Duration::from_millis(25));
        let mut schedule = Schedule { started, interval, duration, sent: 0 };
        assert_eq!(schedule.due(started), Some(started));
        schedule.sent = 1;
        assert_eq!(schedule.due(started + Duration::from_millis(9)), None);
        assert_eq!(schedule.due(started + Duration::from_millis(30)), Some(started + interval));
        assert_eq!(schedule.unsent(), 2);
        schedule.sent = 3;
        assert_eq!(schedule.next(), None);
        assert_eq!(schedule.unsent(), 0);
    }
}
