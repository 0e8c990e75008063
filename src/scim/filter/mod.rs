//! Filters (RFC 7644 §3.4.2.2): parsed by hand, bounded in depth and length, evaluated against one document.
//!
//! The tree is public so that the query planner can look for what an index answers.

mod ast;
mod evaluate;
mod lexer;
mod parser;

pub use ast::{Filter, Operator};
pub use parser::FilterBounds;
pub(super) use parser::{Dialect, Parser};

#[cfg(test)]
mod tests;
