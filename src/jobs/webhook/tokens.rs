//! Security event tokens, pushed to their receiver (RFC 8935).

use hyper::header;
use serde::Deserialize;

use super::couriers::{Verdict, not_taken};
use super::poster::Message;
use crate::domain::text::safe_line;
use crate::domain::webhook::HookKey;
use crate::outgoing::Answer;

/// So much of what a receiver says is kept.
const MAX_REASON: usize = 200;

/// What a receiver says when it does not take a token (RFC 8935 §2.3).
#[derive(Debug, Deserialize)]
struct Refusal {
    err: String,
    #[serde(default)]
    description: String,
}

/// RFC 8935 §2.1.
pub(super) fn message(token: &str, bearer: Option<&HookKey>) -> Message {
    let mut headers = vec![
        (header::CONTENT_TYPE, "application/secevent+jwt".to_owned()),
        (header::ACCEPT, "application/json".to_owned()),
    ];
    headers.extend(bearer.map(|key| (header::AUTHORIZATION, format!("Bearer {}", key.bearer()))));
    Message { headers, body: token.as_bytes().to_vec() }
}

/// 202 means that the receiver has taken the token for good (RFC 8935 §2.2). Any other success comes from something that
/// knows nothing of that, a portal perhaps, so it is not believed. 400 with an error says that a repetition is of no
/// use (§2.1), but for the errors that end when keys or credentials have been changed.
pub(super) fn verdict(answer: &Result<Answer, String>) -> Verdict {
    match answer {
        Err(reason) => Verdict::NotNow(reason.clone()),
        Ok(Answer { status: 202, .. }) => Verdict::Taken,
        Ok(Answer { status: status @ 200..=299, .. }) => {
            Verdict::NotNow(format!("answered {status}: a receiver says 202 when it has taken a token"))
        }
        Ok(Answer { status: 400, body }) => {
            match serde_json::from_slice::<Refusal>(body.as_deref().unwrap_or_default()) {
                Ok(refusal) => refused(&refusal),
                Err(_) => not_taken(400),
            }
        }
        Ok(answer) => not_taken(answer.status),
    }
}

/// The errors of RFC 8935 §2.4.
fn refused(refusal: &Refusal) -> Verdict {
    let (err, description) = (safe_line(&refusal.err, MAX_REASON), safe_line(&refusal.description, MAX_REASON));
    let reply = match description.as_str() {
        "" => format!("refused: {err}"),
        description => format!("refused: {err}: {description}"),
    };
    match refusal.err.as_str() {
        "invalid_key" | "authentication_failed" => Verdict::NotNow(reply),
        _ => Verdict::Never(reply),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(202, "", Verdict::Taken)]
    #[case(200, "<html>", Verdict::NotNow("answered 200: a receiver says 202 when it has taken a token".to_owned()))]
    #[case(307, "", Verdict::NotNow("answered 307: redirects are not followed".to_owned()))]
    #[case(400, "what?", Verdict::NotNow("answered 400".to_owned()))]
    #[case(401, "", Verdict::NotNow("answered 401".to_owned()))]
    #[case(410, "", Verdict::Gone)]
    #[case(503, "", Verdict::NotNow("answered 503".to_owned()))]
    #[case(400, r#"{"err":"invalid_request"}"#, Verdict::Never("refused: invalid_request".to_owned()))]
    #[case(400, r#"{"err":"invalid_issuer","description":"who?"}"#, Verdict::Never("refused: invalid_issuer: who?".to_owned()))]
    #[case(400, r#"{"err":"invalid_audience"}"#, Verdict::Never("refused: invalid_audience".to_owned()))]
    #[case(400, r#"{"err":"access_denied"}"#, Verdict::Never("refused: access_denied".to_owned()))]
    #[case(400, r#"{"err":"invalid_key"}"#, Verdict::NotNow("refused: invalid_key".to_owned()))]
    #[case(400, r#"{"err":"authentication_failed"}"#, Verdict::NotNow("refused: authentication_failed".to_owned()))]
    fn an_answer_means_what_the_rfc_says(#[case] status: u16, #[case] body: &'static str, #[case] means: Verdict) {
        let answer = Answer { status, body: Some(body.into()) };
        assert_eq!(verdict(&Ok(answer)), means);
    }
}
