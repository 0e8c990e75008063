//! Streams of security event tokens, fetched by their receivers (RFC 8936 §2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::bounded::{Few, Text, Within};
use super::operation::{Answer, Call, Operation};
use crate::directory::Error;
use crate::directory::streams::{Fetch, Fetched, MAX_FETCHED};
use crate::domain::ids::{EndpointId, OutboxId};
use crate::domain::secrets::Scope;
use crate::http::bounds::WAIT;

const AUDIT: &[Scope] = &[Scope::Audit];
/// How often it is looked for. Another replica may have put it there, so no word of this one would do.
const LOOK: Duration = Duration::from_secs(1);
/// So many wait in this process; further ones are told at once that there is nothing.
const WAITING: usize = 64;
/// So many tokens are refused in one request.
const MAX_REFUSED: usize = 100;

pub fn operations() -> Vec<Operation> {
    let fetch_tokens = "Fetch the security event tokens that wait in a stream, and acknowledge those fetched before (RFC \
                        8936); of a stream with values it needs the scopes users, groups and resources besides";
    let waiting = Arc::new(Semaphore::new(WAITING));
    vec![Operation::new(
        (Method::POST, "/streams/{id}/poll"),
        "pollStream",
        fetch_tokens,
        AUDIT,
        move |call: Call<(), Json<PollBody>>| poll(call, Arc::clone(&waiting)),
    )]
}

/// RFC 8936 §2.2. Members that are not known are passed over, as those of later extensions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Poll")]
pub struct PollBody {
    /// How many tokens are wanted at the most; 100 at once are given, if that is not less. 0: only acknowledge.
    max_events: Option<Within<0, 1_000_000>>,
    /// Whether to answer at once when nothing waits, instead of after up to 10 seconds.
    #[serde(default)]
    return_immediately: bool,
    /// The `jti` of tokens that are kept safe now and are not to be handed out again.
    #[serde(default)]
    ack: Few<Text<64>, 1_000>,
    /// By `jti`, why a token cannot be taken; it is not handed out again either.
    #[serde(default)]
    set_errs: BTreeMap<String, SetError>,
}

/// RFC 8936 §2.6.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "TokenRefusal")]
struct SetError {
    /// `invalid_request`, `invalid_key`, `invalid_issuer`, `invalid_audience` …
    err: Text<100>,
    #[serde(default)]
    description: Text<1_000>,
}

/// RFC 8936 §2.3.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Polled")]
pub struct PolledView {
    /// By `jti`, the tokens that wait, signed.
    sets: BTreeMap<String, String>,
    /// Whether more wait than these.
    more_available: bool,
}

impl PollBody {
    /// What is no `jti` of ours cannot wait: it is acknowledged already.
    fn fetch(&self) -> Result<Fetch, Error> {
        if self.set_errs.len() > MAX_REFUSED {
            return Err(Error::Invalid(format!("setErrs: at most {MAX_REFUSED} tokens are refused at once")));
        }
        let acknowledged = self.ack.0.iter().filter_map(|Text(jti)| jti.parse().ok()).collect();
        let refused =
            self.set_errs.iter().filter_map(|(jti, error)| Some((jti.parse::<OutboxId>().ok()?, error.said())));
        let wanted = self.max_events.map_or(MAX_FETCHED, Within::size);
        Ok(Fetch { acknowledged, refused: refused.collect(), wanted })
    }
}

impl SetError {
    fn said(&self) -> String {
        match self.description.0.as_str() {
            "" => self.err.0.clone(),
            description => format!("{}: {description}", self.err.0),
        }
    }
}

async fn poll(call: Call<(), Json<PollBody>>, waiting: Arc<Semaphore>) -> Result<Answer<Json<PolledView>>, Error> {
    let (call, Json(body)) = call.split();
    call.require(Scope::Audit).await?;
    let id: EndpointId = call.id()?;
    let fetch = body.fetch()?;
    let mut fetched = call.directory().poll_stream(&call.caller, id, &fetch).await?;
    if fetched.tokens.is_empty() && fetch.wanted > 0 && !body.return_immediately {
        // Whoever finds no seat is answered at once, and asks again.
        if let Ok(_seat) = waiting.try_acquire() {
            fetched = wait(&call, id, fetch.wanted).await?;
        }
    }
    let Fetched { tokens, more } = fetched;
    let sets = tokens.into_iter().map(|(jti, token)| (jti.to_string(), token)).collect();
    Ok(Answer::of(Json(PolledView { sets, more_available: more })))
}

/// Waits until something is there, or for as long as a request may. Rights are read again with what is handed out.
async fn wait(call: &Call, id: EndpointId, wanted: usize) -> Result<Fetched, Error> {
    let directory = call.directory();
    let comes = async {
        while !directory.is_waiting(&call.caller.account, id).await? {
            tokio::time::sleep(LOOK).await;
        }
        Ok::<(), Error>(())
    };
    match tokio::time::timeout(WAIT, comes).await {
        Ok(came) => came?,
        Err(_) => return Ok(Fetched::default()),
    }
    directory.poll_stream(&call.caller, id, &Fetch { wanted, ..Fetch::default() }).await
}
