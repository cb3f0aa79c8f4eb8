//! One host's slots, divided by need and weight.

/// What one function wants of a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Want {
    /// Slots that were decided for it.
    pub wanted: u32,
    /// Of these, what its load needs now; the others are held for a load that it had before.
    pub needed: u32,
    /// Slots it gets before anybody gets more than theirs; at most `wanted` of them. What nobody asked for by name is
    /// no minimum: minimums of idle functions are held back from those with a load.
    pub min: u32,
    /// Its share when slots are short, against the others'; what is no number above 0 counts as 1.
    pub weight: f64,
}

/// Divides `slots_total` among `wants`: the answer has one number for each, in their order.
///
/// The sum is never above `slots_total`, and nobody gets more than was wanted. Where there is enough,
/// everybody gets what was wanted. Where there is not, everybody first gets the minimum, then what is needed
/// now, then what is held. The first of these for which there is not enough goes round by weight, and what one
/// does not take goes to the others (weighted max-min fairness), so a function that needs a thousand cannot
/// take what another one's weight entitles it to. Deterministic: equals in weight and need differ by one
/// slot at most, and the earlier one has it. Takes n log n steps.
pub fn share(slots_total: u32, wants: &[Want]) -> Vec<u32> {
    let total = u64::from(slots_total);
    if wants.iter().map(|want| u64::from(want.wanted)).sum::<u64>() <= total {
        return wants.iter().map(|want| want.wanted).collect();
    }
    let mut given = vec![0; wants.len()];
    let mut left = total;
    for tier in [least, needed, |want: &Want| want.wanted] {
        let sum = wants.iter().zip(&given).map(|(want, given)| u64::from(tier(want) - given)).sum::<u64>();
        if sum > left {
            let caps: Vec<u32> = wants.iter().zip(&given).map(|(want, given)| tier(want) - given).collect();
            fill(left, wants, &caps, &mut given);
            return given;
        }
        wants.iter().zip(&mut given).for_each(|(want, given)| *given = tier(want));
        left -= sum;
    }
    given
}

fn least(want: &Want) -> u32 {
    want.min.min(want.wanted)
}

fn needed(want: &Want) -> u32 {
    want.needed.min(want.wanted).max(least(want))
}

fn weight(want: &Want) -> f64 {
    if want.weight.is_finite() && want.weight > 0.0 { want.weight } else { 1.0 }
}

/// Adds `left` slots to `given`, by weight and up to a cap for each; the caps are together more than that.
fn fill(mut left: u64, wants: &[Want], caps: &[u32], given: &mut [u32]) {
    // Who is satisfied with the least for each unit of weight comes first.
    let mut order: Vec<(f64, usize)> = wants
        .iter()
        .enumerate()
        .filter(|(at, _)| caps[*at] > 0)
        .map(|(at, want)| (f64::from(caps[at]) / weight(want), at))
        .collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    // Summed from the end: what is subtracted from a sum leaves its rounding behind.
    let mut weights = vec![0.0; order.len() + 1];
    for (at, (_, want)) in order.iter().enumerate().rev() {
        weights[at] = weights[at + 1] + weight(&wants[*want]);
    }
    let mut satisfied = 0;
    for (at, &(level, want)) in order.iter().enumerate() {
        if level * weights[at] > left as f64 {
            break;
        }
        let cap = caps[want];
        if u64::from(cap) > left {
            break;
        }
        given[want] += cap;
        left -= u64::from(cap);
        satisfied = at + 1;
    }
    let rest = &order[satisfied..];
    let level = left as f64 / weights[satisfied].max(f64::MIN_POSITIVE);
    let mut rounded: Vec<(f64, usize)> = Vec::with_capacity(rest.len());
    for &(_, want) in rest {
        let part = level * weight(&wants[want]);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let whole = (part.floor() as u32).min(caps[want]);
        let whole = u64::from(whole).min(left);
        given[want] += u32::try_from(whole).unwrap_or(u32::MAX);
        left -= whole;
        if whole < u64::from(caps[want]) {
            rounded.push((part.fract(), want));
        }
    }
    // What rounding left over, less than one for each, goes to whom it took most from.
    rounded.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, want) in rounded.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        given[want] += 1;
    }
}

#[cfg(test)]
mod tests;
