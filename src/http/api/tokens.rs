//! Tokens of the account: made, listed, rotated, revoked.

use std::time::Duration;

use axum::Json;
use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::{Few, Text, Within};
use super::operation::{Answer, Call, Operation};
use crate::directory::Error;
use crate::directory::tokens::{NewToken, Token};
use crate::domain::names::ClientName;
use crate::domain::secrets::{IssuedTo, ProvisioningToken, Scope};
use crate::domain::time::Timestamp;
use crate::scim::Profile;

const TOKENS: &[Scope] = &[Scope::Tokens];

pub fn operations() -> Vec<Operation> {
    vec![
        Operation::new((Method::GET, "/tokens"), "listTokens", "All tokens, also those that have ended", TOKENS, list),
        Operation::new(
            (Method::POST, "/tokens"),
            "createToken",
            "Make a token, which may do no more than the one that asks; the secret is shown this once",
            TOKENS,
            create,
        )
        .created(),
        Operation::new(
            (Method::POST, "/tokens/{id}/rotate"),
            "rotateToken",
            "Make a successor with the same rights; the old one works on for a while",
            TOKENS,
            rotate,
        )
        .created(),
        Operation::new((Method::DELETE, "/tokens/{id}"), "revokeToken", "End a token at once", TOKENS, revoke),
    ]
}

/// A scope, spelled as everywhere.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeName(Scope);

impl JsonSchema for ScopeName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scope".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "enum": Scope::ALL.map(Scope::as_str) })
    }
}

/// A token without its secret.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Token")]
pub struct TokenView {
    id: String,
    /// The client that uses it. Tokens of one name are one client.
    client: String,
    scopes: Vec<ScopeName>,
    /// The dialect in which its SCIM requests are read.
    profile: String,
    /// Mails nobody.
    test: bool,
    created: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    /// Whose access tokens speak for it, where it has no secret.
    issued_to: Option<IssuedToView>,
}

/// A client of an issuer of access tokens.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "IssuedTo")]
pub struct IssuedToView {
    issuer: String,
    /// As the issuer names it.
    subject: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct MadeToken {
    #[serde(flatten)]
    token: TokenView,
    /// The token itself. Nobody can show it again.
    secret: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Tokens")]
pub struct TokensView {
    tokens: Vec<TokenView>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTokenBody {
    client: Text<64>,
    scopes: Few<ScopeName, 20>,
    /// `lenient` unless said.
    profile: Option<Text<64>>,
    #[serde(default)]
    test: bool,
    expires_in_days: Option<Within<1, 3650>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Rotation")]
pub struct RotateBody {
    /// How long the old token works on; 24 unless said.
    overlap_hours: Option<Within<0, 720>>,
    expires_in_days: Option<Within<1, 3650>>,
}

impl TokenView {
    fn of(token: &Token) -> Self {
        TokenView {
            id: token.id.to_string(),
            client: token.client.to_string(),
            scopes: token.scopes.iter().map(ScopeName).collect(),
            profile: token.profile.clone(),
            test: token.test,
            created: token.created.to_string(),
            expires_at: token.expires_at.as_ref().map(Timestamp::to_string),
            revoked_at: token.revoked_at.as_ref().map(Timestamp::to_string),
            issued_to: token.issued_to.clone().map(|IssuedTo { issuer, subject }| IssuedToView { issuer, subject }),
        }
    }
}

impl NewTokenBody {
    fn token(self) -> Result<NewToken, Error> {
        let client = ClientName::parse(&self.client.0).map_err(|error| Error::Invalid(format!("client: {error}")))?;
        let profile = self.profile.map_or_else(|| "lenient".to_owned(), |name| name.0);
        let known = Profile::named(&profile).ok_or_else(|| {
            let known = Profile::ALL.map(|profile| profile.name()).join(", ");
            Error::Invalid(format!("profile: one of {known}"))
        })?;
        if self.scopes.0.is_empty() {
            return Err(Error::Invalid("scopes: a token without any could do nothing; name at least one".to_owned()));
        }
        Ok(NewToken {
            client,
            scopes: self.scopes.0.into_iter().map(|scope| scope.0).collect(),
            profile: known.name().to_owned(),
            test: self.test,
            expires: self.expires_in_days.map(days),
        })
    }
}

fn days(days: Within<1, 3650>) -> Duration {
    Duration::from_secs(u64::from(days.0) * 24 * 60 * 60)
}

async fn list(call: Call) -> Result<Answer<Json<TokensView>>, Error> {
    let tokens = call.directory().tokens(&call.caller).await?;
    Ok(Answer::of(Json(TokensView { tokens: tokens.iter().map(TokenView::of).collect() })))
}

async fn create(call: Call<(), Json<NewTokenBody>>) -> Result<Answer<Json<MadeToken>>, Error> {
    let (call, Json(body)) = call.split();
    call.require(Scope::Tokens).await?;
    made(call.directory().make_token(&call.caller, body.token()?).await?)
}

async fn rotate(call: Call<(), Json<RotateBody>>) -> Result<Answer<Json<MadeToken>>, Error> {
    let (call, Json(body)) = call.split();
    let overlap = Duration::from_secs(body.overlap_hours.map_or(24, |hours| u64::from(hours.0)) * 60 * 60);
    let id = call.id()?;
    made(call.directory().renew_token(&call.caller, id, overlap, body.expires_in_days.map(days)).await?)
}

fn made((token, secret): (Token, ProvisioningToken)) -> Result<Answer<Json<MadeToken>>, Error> {
    Ok(Answer::of(Json(MadeToken { token: TokenView::of(&token), secret: secret.expose().to_owned() })))
}

async fn revoke(call: Call) -> Result<Answer<Json<TokenView>>, Error> {
    let token = call.directory().end_token(&call.caller, call.id()?).await?;
    Ok(Answer::of(Json(TokenView::of(&token))))
}
