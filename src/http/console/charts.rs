//! Small charts: numbers as the coordinates of a drawing. A drawing has no words and no colours of its own: words stand
//! beside it where they can be read at any width, colours come from the stylesheet.

use std::fmt::Write;

/// The drawing that a curve is scaled to.
pub const WIDTH: u32 = 300;
pub const HEIGHT: u32 = 60;
/// Room for half of a line at the edges.
const MARGIN: f64 = 3.0;

/// How one number went over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// `points` of a polyline.
    pub line: String,
    /// The same, closed along the bottom.
    pub area: String,
    /// Where the last point is.
    pub end: (String, String),
    pub least: u64,
    pub most: u64,
}

impl Curve {
    /// Through these points, of which the first number says when. `None` with fewer than two: one point is no course.
    pub fn through(points: &[(i64, u64)]) -> Option<Self> {
        let ((first, _), (last, _)) = (points.first()?, points.last()?);
        if first >= last {
            return None;
        }
        let least = points.iter().map(|(_, value)| *value).min()?;
        let most = points.iter().map(|(_, value)| *value).max()?;
        // A curve that never moves is a line in the middle, not at the bottom, where nothing would be.
        let (low, high) = if least == most { (least.saturating_sub(1), most + 1) } else { (least, most) };
        let x = |when: i64| number(when - first) / number(last - first) * f64::from(WIDTH);
        let share = |value: u64| real(value - low) / real(high - low);
        let y = |value: u64| f64::from(HEIGHT) - MARGIN - share(value) * (f64::from(HEIGHT) - 2.0 * MARGIN);
        let mut line = String::new();
        for (when, value) in points {
            let space = if line.is_empty() { "" } else { " " };
            // Writing to a text cannot fail.
            write!(line, "{space}{:.1},{:.1}", x(*when), y(*value)).ok();
        }
        let area = format!("0,{HEIGHT} {line} {WIDTH},{HEIGHT}");
        let (when, value) = points.last()?;
        let end = (format!("{:.1}", x(*when)), format!("{:.1}", y(*value)));
        Some(Curve { line, area, end, least, most })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a coordinate has one decimal")]
fn real(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "days fit many times")]
fn number(value: i64) -> f64 {
    value as f64
}

/// One of several numbers that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    pub label: &'static str,
    pub value: u64,
    pub href: Option<String>,
    /// Percent of the largest one; at least one where there is anything at all.
    pub share: u64,
}

/// Bars in their order, each with its label, number, and where it leads.
pub fn bars(numbers: impl IntoIterator<Item = (&'static str, u64, Option<String>)>) -> Vec<Bar> {
    let bar = |(label, value, href)| Bar { label, value, href, share: 0 };
    let mut bars: Vec<Bar> = numbers.into_iter().map(bar).collect();
    let most = bars.iter().map(|bar| bar.value).max().unwrap_or(0).max(1);
    for bar in &mut bars {
        bar.share = (bar.value.saturating_mul(100) / most).max(bar.value.min(1));
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_spans_the_drawing_from_its_first_day_to_its_last_and_from_its_least_to_its_most() {
        let curve = Curve::through(&[(10, 0), (11, 5), (14, 10)]).unwrap();
        assert_eq!(curve.line, "0.0,57.0 75.0,30.0 300.0,3.0");
        assert_eq!(curve.area, "0,60 0.0,57.0 75.0,30.0 300.0,3.0 300,60");
        assert_eq!((curve.least, curve.most), (0, 10));
        assert_eq!(curve.end, ("300.0".to_owned(), "3.0".to_owned()));
    }

    #[test]
    fn what_never_moves_is_a_line_in_the_middle_and_one_point_is_none() {
        assert_eq!(Curve::through(&[(0, 4), (9, 4)]).unwrap().line, "0.0,30.0 300.0,30.0");
        assert_eq!(Curve::through(&[(0, 0), (9, 0)]).unwrap().line, "0.0,57.0 300.0,57.0");
        assert_eq!(Curve::through(&[(0, 4)]), None);
        assert_eq!(Curve::through(&[]), None);
    }

    #[test]
    fn the_largest_bar_is_full_and_a_small_one_is_seen() {
        let shares = |values: &[u64]| -> Vec<u64> {
            bars(values.iter().map(|value| ("", *value, None))).iter().map(|bar| bar.share).collect()
        };
        assert_eq!(shares(&[1, 50, 1_000, 0]), [1, 5, 100, 0]);
        assert_eq!(shares(&[0, 0]), [0, 0]);
    }
}
