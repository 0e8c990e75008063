//! Recursive descent over the grammar of RFC 7644 Figure 1, with `not` before `and` before `or`.

use serde_json::Value;

use super::ast::{Filter, Operator};
use super::lexer::{self, Placed, Token};
use crate::scim::error::ScimError;
use crate::scim::name::AttrPath;
use crate::scim::profile::{Applied, Profile, Tolerance};

/// How large a filter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterBounds {
    /// Brackets, parentheses and `not` inside each other.
    pub depth: usize,
    /// Bytes.
    pub length: usize,
}

impl FilterBounds {
    pub const DEFAULT: FilterBounds = FilterBounds { depth: 50, length: 8_000 };
}

/// What a profile lets a client write beyond the grammar, and what of it was used.
#[derive(Debug)]
pub struct Dialect<'a> {
    pub profile: &'a Profile,
    pub applied: &'a mut Applied,
}

impl Filter {
    /// Parses a filter. Errors are `invalidFilter` and name the byte.
    pub fn parse(text: &str, profile: &Profile) -> Result<Filter, ScimError> {
        Self::parse_noting(text, profile, &mut Applied::new())
    }

    /// As [`Filter::parse`], and notes the tolerances that the text needed.
    pub fn parse_noting(text: &str, profile: &Profile, applied: &mut Applied) -> Result<Filter, ScimError> {
        let mut parser = Parser::new(text, Dialect { profile, applied })?;
        let filter = parser.filter(0)?;
        parser.end()?;
        Ok(filter)
    }
}

pub(in crate::scim) struct Parser<'t, 'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Placed<'t>>>,
    /// Where the text ends, for errors there.
    length: usize,
    dialect: Dialect<'a>,
}

fn error(at: usize, message: impl std::fmt::Display) -> ScimError {
    ScimError::invalid_filter(format!("at byte {at}: {message}"))
}

impl<'t, 'a> Parser<'t, 'a> {
    pub fn new(text: &'t str, dialect: Dialect<'a>) -> Result<Self, ScimError> {
        let most = dialect.profile.filter_bounds().length;
        if text.len() > most {
            return Err(error(most, format_args!("a filter has at most {most} bytes")));
        }
        let tokens = lexer::tokens(text).map_err(|wrong| error(wrong.at, wrong.message))?;
        Ok(Parser { tokens: tokens.into_iter().peekable(), length: text.len(), dialect })
    }

    fn at(&mut self) -> usize {
        self.tokens.peek().map_or(self.length, |placed| placed.at)
    }

    fn next(&mut self) -> Option<Token<'t>> {
        self.tokens.next().map(|placed| placed.token)
    }

    fn take(&mut self, token: &Token<'_>) -> bool {
        self.tokens.next_if(|placed| placed.token == *token).is_some()
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        self.tokens
            .next_if(|placed| matches!(placed.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword)))
            .is_some()
    }

    fn expect(&mut self, token: &Token<'_>, sign: char) -> Result<(), ScimError> {
        let at = self.at();
        if self.take(token) { Ok(()) } else { Err(error(at, format_args!("`{sign}` is missing here"))) }
    }

    /// Nothing may follow.
    pub fn end(&mut self) -> Result<(), ScimError> {
        match self.tokens.peek() {
            None => Ok(()),
            Some(placed) => Err(error(placed.at, "the filter should end here, or go on with `and` or `or`")),
        }
    }

    pub fn filter(&mut self, depth: usize) -> Result<Filter, ScimError> {
        self.chain(depth, "or", Self::conjunction, Filter::Or)
    }

    fn conjunction(&mut self, depth: usize) -> Result<Filter, ScimError> {
        self.chain(depth, "and", Self::factor, Filter::And)
    }

    fn chain(
        &mut self,
        depth: usize,
        keyword: &str,
        side: fn(&mut Self, usize) -> Result<Filter, ScimError>,
        join: fn(Vec<Filter>) -> Filter,
    ) -> Result<Filter, ScimError> {
        let first = side(self, depth)?;
        if !self.take_keyword(keyword) {
            return Ok(first);
        }
        let mut sides = vec![first, side(self, depth)?];
        while self.take_keyword(keyword) {
            sides.push(side(self, depth)?);
        }
        Ok(join(sides))
    }

    fn factor(&mut self, depth: usize) -> Result<Filter, ScimError> {
        let at = self.at();
        let most = self.dialect.profile.filter_bounds().depth;
        if depth > most {
            return Err(error(at, format_args!("a filter nests at most {most} deep")));
        }
        match self.next() {
            Some(Token::Open) => self.grouped(depth),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("not") && self.take(&Token::Open) => {
                Ok(Filter::Not(Box::new(self.grouped(depth)?)))
            }
            Some(Token::Word(word)) => {
                let path = AttrPath::parse(word)
                    .ok_or_else(|| error(at, format_args!("`{}` is no attribute name", shown(word))))?;
                if self.take(&Token::OpenBracket) { self.value_path(path, depth) } else { self.test(path) }
            }
            Some(_) => Err(error(at, "an attribute name is due here")),
            None => Err(error(at, "the filter ends where an attribute name is due")),
        }
    }

    fn grouped(&mut self, depth: usize) -> Result<Filter, ScimError> {
        let inner = self.filter(depth + 1)?;
        self.expect(&Token::Close, ')')?;
        Ok(inner)
    }

    /// The rest of `emails[…]`, the bracket taken.
    fn value_path(&mut self, path: AttrPath, depth: usize) -> Result<Filter, ScimError> {
        let mut inner = self.bracketed(depth)?;
        let at = self.at();
        if let Some(sub) = self.trailing_sub() {
            if !self.dialect.profile.applies(Tolerance::ValuePathComparison, self.dialect.applied) {
                return Err(error(at, "nothing can follow `]` but `and` and `or`: compare inside of the brackets"));
            }
            let sub = sub.ok_or_else(|| error(at, "a sub-attribute is due behind `].`"))?;
            let test = self.test(AttrPath::simple(sub))?;
            match &mut inner {
                Filter::And(sides) => sides.push(test),
                _ => inner = Filter::And(vec![inner, test]),
            }
        }
        Ok(Filter::ValuePath(path, Box::new(inner)))
    }

    /// The filter between brackets, the opening one taken. A value path cannot stand in another: complex values do not
    /// nest (RFC 7643 §2.3.8, errata 4690).
    pub fn bracketed(&mut self, depth: usize) -> Result<Filter, ScimError> {
        let at = self.at();
        let inner = self.filter(depth + 1)?;
        if has_value_path(&inner) {
            return Err(error(at, "brackets cannot stand in brackets"));
        }
        self.expect(&Token::CloseBracket, ']')?;
        Ok(inner)
    }

    /// `.value` behind a bracket: `None` when there is none, `Some(None)` when it is no sub-attribute.
    pub fn trailing_sub(&mut self) -> Option<Option<String>> {
        let placed =
            self.tokens.next_if(|placed| matches!(placed.token, Token::Word(word) if word.starts_with('.')))?;
        let Token::Word(word) = placed.token else { return None };
        let path = AttrPath::parse(&word[1..]).filter(|path| path.urn.is_none() && path.sub.is_none());
        Some(path.map(|path| path.name))
    }

    /// `[` behind a path.
    pub fn open_bracket(&mut self) -> bool {
        self.take(&Token::OpenBracket)
    }

    /// The word at the front, with its place.
    pub fn word(&mut self) -> Option<&'t str> {
        match self.tokens.next_if(|placed| matches!(placed.token, Token::Word(_)))?.token {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether everything was read.
    pub fn is_at_end(&mut self) -> bool {
        self.tokens.peek().is_none()
    }

    fn test(&mut self, path: AttrPath) -> Result<Filter, ScimError> {
        let at = self.at();
        let Some(Token::Word(word)) = self.next() else {
            return Err(error(at, format_args!("an operator is due behind `{path}`")));
        };
        if word.eq_ignore_ascii_case("pr") {
            return Ok(Filter::Present(path));
        }
        let operator = Operator::named(word)
            .ok_or_else(|| error(at, format_args!("the operator `{}` is not supported", shown(word))))?;
        let value = self.value()?;
        Ok(Filter::Compare(path, operator, value))
    }

    fn value(&mut self) -> Result<Value, ScimError> {
        let at = self.at();
        match self.next() {
            Some(Token::Text(text)) => Ok(Value::String(text)),
            Some(Token::SingleQuoted(text)) => {
                if self.dialect.profile.applies(Tolerance::SingleQuotedFilterValues, self.dialect.applied) {
                    Ok(Value::String(text))
                } else {
                    Err(error(at, "a value stands in double quotes"))
                }
            }
            Some(Token::Word(word)) => match word {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                "null" => Ok(Value::Null),
                _ => match serde_json::from_str(word) {
                    // A number that would lose digits is a text in disguise, such as a long employee number.
                    Ok(Value::Number(number)) if number.to_string() == word || !self.unquoted() => {
                        Ok(Value::Number(number))
                    }
                    _ if self.unquoted() => {
                        self.dialect.applied.insert(Tolerance::UnquotedFilterValues);
                        Ok(Value::String(word.to_owned()))
                    }
                    _ => Err(error(at, "a text stands in double quotes")),
                },
            },
            Some(_) => Err(error(at, "a value is due here")),
            None => Err(error(at, "the filter ends where a value is due")),
        }
    }

    fn unquoted(&self) -> bool {
        self.dialect.profile.tolerates(Tolerance::UnquotedFilterValues)
    }
}

fn has_value_path(filter: &Filter) -> bool {
    match filter {
        Filter::ValuePath(..) => true,
        Filter::And(sides) | Filter::Or(sides) => sides.iter().any(has_value_path),
        Filter::Not(inner) => has_value_path(inner),
        Filter::Present(_) | Filter::Compare(..) => false,
    }
}

/// The start of a word, for messages.
fn shown(word: &str) -> &str {
    let end = word.char_indices().nth(40).map_or(word.len(), |(end, _)| end);
    &word[..end]
}
