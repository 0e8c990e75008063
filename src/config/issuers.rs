//! The keys that speak of issuers of tokens.

use super::reader::{Entry, Reader};
use super::values::{Expected, text, web_url};
use crate::http::issuers::access::AccessIssuer;
use crate::http::issuers::relying_party::{ClientSecret, OpenIdSettings};

/// `[openid]`; `None` when no issuer is named.
pub fn openid(r: &mut Reader) -> Option<OpenIdSettings> {
    let issuer = r.optional("openid.issuer", issuer);
    let client_id = r.optional("openid.client_id", text);
    let client_secret = r.secret("openid.client_secret", |text| Ok(ClientSecret::new(text)));
    let name = r.optional("openid.name", text);
    let trust_email = r.value("openid.trust_email", super::values::switch);
    match (issuer, client_id) {
        (Some(issuer), Some(client_id)) => {
            let name = name.unwrap_or_else(|| host_of(&issuer));
            Some(OpenIdSettings { issuer, client_id, client_secret, name, trust_email })
        }
        // What is wrong already is not missing as well.
        _ if r.is_wrong("openid") => None,
        (Some(_), None) => {
            r.mistake("openid.client_id", "missing: openid.issuer is set, so say what it calls usherd");
            None
        }
        (None, Some(_)) => {
            r.mistake("openid.issuer", "missing: openid.client_id is set, so say who the issuer is");
            None
        }
        (None, None) => None,
    }
}

/// `[[scim.issuers]]`.
pub fn of_access_tokens(r: &mut Reader) -> Vec<AccessIssuer> {
    let mut issuers: Vec<AccessIssuer> = Vec::new();
    for entry in r.tables("scim.issuers") {
        let key = entry.key().to_owned();
        let Some(issuer) = access_issuer(r, entry) else { continue };
        if issuers.iter().any(|other| other.url == issuer.url) {
            r.mistake(&format!("{key}.url"), "listed twice: an issuer has one audience and one claim for its clients");
        } else {
            issuers.push(issuer);
        }
    }
    issuers
}

fn access_issuer(r: &mut Reader, mut entry: Entry) -> Option<AccessIssuer> {
    let url = entry.required(r, "url", issuer);
    let audience = entry.required(r, "audience", text);
    let client_claim = entry.optional(r, "client_claim", text).unwrap_or_else(|| "sub".to_owned());
    let keys_url = entry.optional(r, "keys_url", web_url);
    entry.finish(r, &["url", "audience", "client_claim", "keys_url"]);
    Some(AccessIssuer { url: url?, audience: audience?, client_claim, keys_url })
}

/// A URL that is compared as it was written (OpenID Connect Core §2).
fn issuer(text: &str) -> Result<String, Expected> {
    let url = web_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("an issuer with a query: write it as it stands in the issuer's discovery document".to_owned());
    }
    Ok(text.to_owned())
}

fn host_of(issuer: &str) -> String {
    let url = web_url(issuer).ok();
    url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| issuer.to_owned())
}
