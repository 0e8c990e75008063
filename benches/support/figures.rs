//! Ratios, and how far they scatter.

use std::fmt;

/// The median of some measurements, with the quartiles around it.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    lower: f64,
    pub median: f64,
    upper: f64,
}

impl Figure {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
        Figure { lower: at(1), median: at(2), upper: at(3) }
    }

    /// Of one measurement divided by the one made beside it.
    pub fn of_ratios(over: &[f64], under: &[f64]) -> Self {
        Self::of(over.iter().zip(under).map(|(over, under)| over / under).collect())
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.lower, self.upper)
    }
}
