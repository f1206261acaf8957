//! Merging at read: which of the stored points a series shows, and in which order.

use std::collections::BTreeMap;

/// Where a point came from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub rank: u32,
    pub attempt: u32,
    /// Added to a boottime of this producer it gives a time that orders across machines: the same for
    /// all producers of one boot, so that their order is that of the boot clock itself.
    pub order_offset_ns: i64,
}

/// Stored points of one key: where in the run, when, and from whom.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub step: Vec<i64>,
    pub boottime_ns: Vec<i64>,
    /// Index into the origins.
    pub origin: Vec<u32>,
}

/// What a series shows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Selection {
    /// Only this rank. `None`: all.
    pub rank: Option<u32>,
    /// Only steps from here on. `None`: all.
    pub since: Option<i64>,
    /// Everything that was stored, in the order of its time.
    pub raw: bool,
}

/// The points to show, in the order to show them: by step and rank, the last value of each; with `raw`
/// all of them by attempt and time. `firsts` is the key's first step in each attempt. `None`: all of
/// them as they are stored, which is the usual case of one producer whose steps only grow.
pub(crate) fn select(
    points: &Placed,
    origins: &[Origin],
    firsts: &BTreeMap<u32, i64>,
    selection: Selection,
) -> Option<Vec<u32>> {
    if is_plain(points, origins, selection) {
        return None;
    }
    let visible = |at: &u32| {
        let Some(origin) = origin_of(points, origins, *at) else {
            return false;
        };
        let step = step_of(points, *at);
        selection.rank.is_none_or(|rank| rank == origin.rank)
            && selection.since.is_none_or(|since| step >= since)
            && (selection.raw || !is_hidden(firsts, origin.attempt, step))
    };
    let mut chosen: Vec<u32> = (0..points.step.len() as u32).filter(visible).collect();
    if selection.raw {
        chosen.sort_by_key(|at| age(points, origins, *at));
    } else {
        chosen.sort_by_key(|at| {
            let rank = origin_of(points, origins, *at).map_or(0, |o| o.rank);
            (step_of(points, *at), rank, age(points, origins, *at))
        });
        keep_last(points, origins, &mut chosen);
    }
    Some(chosen)
}

/// One producer, steps and times that only grow, nothing left out: storing order is showing order.
fn is_plain(points: &Placed, origins: &[Origin], selection: Selection) -> bool {
    let Some(first) = points.origin.first() else {
        return true;
    };
    let Some(origin) = origins.get(*first as usize) else {
        return false;
    };
    let lowest = points.step.first().copied().unwrap_or(i64::MIN);
    origins.iter().all(|o| o.attempt <= origin.attempt)
        && selection.rank.is_none_or(|rank| rank == origin.rank)
        && selection.since.is_none_or(|since| since <= lowest)
        && points.origin.iter().all(|at| at == first)
        && points.step.is_sorted_by(|a, b| a < b)
        && points.boottime_ns.is_sorted()
}

/// Whether a later attempt logged this key at or before this step.
pub(crate) fn is_hidden(firsts: &BTreeMap<u32, i64>, attempt: u32, step: i64) -> bool {
    firsts.range(attempt + 1..).any(|(_, first)| step >= *first)
}

fn origin_of<'a>(points: &Placed, origins: &'a [Origin], at: u32) -> Option<&'a Origin> {
    origins.get(*points.origin.get(at as usize)? as usize)
}

fn step_of(points: &Placed, at: u32) -> i64 {
    points.step.get(at as usize).copied().unwrap_or(0)
}

/// Attempt, then time.
fn age(points: &Placed, origins: &[Origin], at: u32) -> (u32, i64) {
    let boottime_ns = points.boottime_ns.get(at as usize).copied().unwrap_or(0);
    origin_of(points, origins, at).map_or((0, 0), |o| {
        (o.attempt, boottime_ns.saturating_add(o.order_offset_ns))
    })
}

/// Of equal (step, rank) keep the last; the indices are sorted by age within them.
fn keep_last(points: &Placed, origins: &[Origin], chosen: &mut Vec<u32>) {
    let place = |at: u32| {
        (
            step_of(points, at),
            origin_of(points, origins, at).map(|o| o.rank),
        )
    };
    // `dedup_by` keeps the first of a run, so look from the end.
    chosen.reverse();
    chosen.dedup_by(|a, b| place(*a) == place(*b));
    chosen.reverse();
}

/// Thin a series to at most `max_points` (4 at least), keeping of each stretch its lowest and its highest
/// value and a NaN if there is one, so that no spike is lost; the first and the last point stay.
pub(crate) fn thin(chosen: Vec<u32>, max_points: usize, number: &dyn Fn(u32) -> f64) -> Vec<u32> {
    if chosen.len() <= max_points.max(4) {
        return chosen;
    }
    let per_bucket = if chosen.iter().any(|at| number(*at).is_nan()) {
        3
    } else {
        2
    };
    let buckets = (max_points.saturating_sub(2) / per_bucket).max(1);
    let mut kept = Vec::with_capacity(max_points);
    kept.extend(chosen.first().copied());
    for bucket in 0..buckets {
        let (from, to) = (
            bucket * chosen.len() / buckets,
            (bucket + 1) * chosen.len() / buckets,
        );
        kept.extend(extremes(chosen.get(from..to).unwrap_or_default(), number));
    }
    kept.extend(chosen.last().copied());
    kept.dedup();
    kept
}

/// The lowest, the highest and the first NaN of a stretch, in their order.
fn extremes(stretch: &[u32], number: &dyn Fn(u32) -> f64) -> Vec<u32> {
    let (mut lowest, mut highest, mut nan) = (None, None, None);
    for (position, at) in stretch.iter().enumerate() {
        let value = number(*at);
        if value.is_nan() {
            nan = nan.or(Some(position));
            continue;
        }
        if lowest.is_none_or(|(_, known)| value < known) {
            lowest = Some((position, value));
        }
        if highest.is_none_or(|(_, known)| value > known) {
            highest = Some((position, value));
        }
    }
    let numbers = lowest
        .into_iter()
        .chain(highest)
        .map(|(position, _)| position);
    let mut positions: Vec<usize> = numbers.chain(nan).collect();
    positions.sort_unstable();
    positions.dedup();
    positions
        .into_iter()
        .filter_map(|p| stretch.get(p).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(points: &[(i64, i64, u32)]) -> Placed {
        Placed {
            step: points.iter().map(|p| p.0).collect(),
            boottime_ns: points.iter().map(|p| p.1).collect(),
            origin: points.iter().map(|p| p.2).collect(),
        }
    }

    fn origin(rank: u32, attempt: u32) -> Origin {
        Origin {
            rank,
            attempt,
            order_offset_ns: 0,
        }
    }

    #[test]
    fn the_last_value_of_a_step_wins_per_rank() {
        let points = placed(&[(1, 10, 0), (1, 12, 0), (0, 13, 0), (1, 11, 1)]);
        let origins = [origin(0, 1), origin(1, 1)];
        let chosen = select(
            &points,
            &origins,
            &BTreeMap::from([(1, 0)]),
            Selection::default(),
        );
        assert_eq!(chosen, Some(vec![2, 1, 3]));
    }

    #[test]
    fn a_later_attempt_hides_from_its_first_step_on() {
        let points = placed(&[(0, 1, 0), (5, 2, 0), (6, 3, 0), (5, 1, 1)]);
        let origins = [origin(0, 1), origin(0, 2)];
        let firsts = BTreeMap::from([(1, 0), (2, 5)]);
        assert_eq!(
            select(&points, &origins, &firsts, Selection::default()),
            Some(vec![0, 3])
        );
        let raw = Selection {
            raw: true,
            ..Selection::default()
        };
        assert_eq!(
            select(&points, &origins, &firsts, raw),
            Some(vec![0, 1, 2, 3])
        );
    }

    #[test]
    fn thinning_keeps_spikes_and_nan() {
        let mut values = vec![0.0; 10_000];
        values[1234] = 99.0;
        values[7777] = f64::NAN;
        values[8888] = f64::NEG_INFINITY;
        let kept = thin((0..10_000).collect(), 100, &|at| values[at as usize]);
        assert!(kept.len() <= 100, "{}", kept.len());
        assert!(
            [0, 1234, 7777, 8888, 9999]
                .iter()
                .all(|at| kept.contains(at))
        );
        assert!(kept.is_sorted());
    }
}
