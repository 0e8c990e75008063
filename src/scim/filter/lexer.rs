//! Cuts a filter into tokens, each with the byte at which it begins.

/// One token. A word is anything between blanks and brackets: a name, an operator, a keyword, a number or, in a
/// tolerant profile, a value without quotes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'t> {
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Word(&'t str),
    Text(String),
    /// A text in single quotes, which the grammar does not have.
    SingleQuoted(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed<'t> {
    pub token: Token<'t>,
    pub at: usize,
}

/// What is wrong, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LexError {
    pub at: usize,
    pub message: &'static str,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Placed<'_>>, LexError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, length) = match next {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '[' => (Token::OpenBracket, 1),
            ']' => (Token::CloseBracket, 1),
            '"' => double_quoted(rest).map_err(|message| LexError { at, message })?,
            '\'' => single_quoted(rest).ok_or(LexError { at, message: "this quote is not closed" })?,
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "()[]\"".contains(c)).unwrap_or(rest.len());
                (Token::Word(&rest[..end]), end)
            }
        };
        tokens.push(Placed { token, at });
        at += length;
    }
    Ok(tokens)
}

/// A JSON string at the start of `rest`, and its length with the quotes.
fn double_quoted(rest: &str) -> Result<(Token<'_>, usize), &'static str> {
    let mut escaped = false;
    for (i, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                let text = serde_json::from_str(&rest[..=i]).map_err(|_| "this is not a JSON string")?;
                return Ok((Token::Text(text), i + 1));
            }
            _ => {}
        }
    }
    Err("this quote is not closed")
}

/// A text in single quotes; a backslash takes the next character as it is.
fn single_quoted(rest: &str) -> Option<(Token<'_>, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '\'' => return Some((Token::SingleQuoted(text), i + 1)),
            '\\' => text.push(chars.next()?.1),
            c => text.push(c),
        }
    }
    None
}
