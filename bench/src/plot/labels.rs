//! Where names stand, so that none covers another.

use super::svg::text_width;

/// Heights of names that would stand at `wanted`, moved apart to `gap` and kept between `top` and `bottom`.
pub(super) fn apart(wanted: &[f64], gap: f64, top: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut places = wanted.to_vec();
    let mut least = top;
    for &at in &order {
        places[at] = places[at].max(least);
        least = places[at] + gap;
    }
    let mut most = bottom;
    for &at in order.iter().rev() {
        places[at] = places[at].min(most);
        most = places[at] - gap;
    }
    places
}

/// Where the keys of names stand in rows of a width: of each its `x` and its row.
pub(super) fn rows<'a>(names: impl IntoIterator<Item = &'a str>, width: f64) -> Vec<(f64, usize)> {
    let (mut x, mut row) = (0.0, 0);
    let mut places = Vec::new();
    for name in names {
        let wide = KEY_WIDTH + text_width(name);
        if x > 0.0 && x + wide > width {
            (x, row) = (0.0, row + 1);
        }
        places.push((x, row));
        x += wide + KEY_GAP;
    }
    places
}

/// From the begin of a key to its name.
pub(super) const KEY_WIDTH: f64 = 24.0;
const KEY_GAP: f64 = 12.0;

/// From one row of keys to the next.
pub(super) const KEY_ROW: f64 = 20.0;

/// How many rows there are.
pub(super) fn row_count(places: &[(f64, usize)]) -> usize {
    places.last().map_or(0, |(_, row)| row + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_order_and_their_distance() {
        let places = apart(&[50.0, 49.0, 10.0, 99.0], 14.0, 0.0, 100.0);
        assert_eq!(places, [63.0, 49.0, 10.0, 99.0]);
        let crowded = apart(&[100.0, 100.0, 100.0], 14.0, 0.0, 100.0);
        assert_eq!(crowded, [72.0, 86.0, 100.0]);
    }

    #[test]
    fn keys_go_to_the_next_row_when_they_do_not_fit() {
        let places = rows(["one", "two", "three"], 110.0);
        assert_eq!(places.iter().map(|(_, row)| *row).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!((places[2].0, row_count(&places), row_count(&[])), (0.0, 2, 0));
    }
}
