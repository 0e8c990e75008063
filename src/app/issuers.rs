//! Issuers of tokens, as configured.

use std::sync::Arc;

use super::open::StartError;
use crate::config::Settings;
use crate::domain::time::Timestamp;
use crate::http::issuers::access::AccessTokens;
use crate::http::issuers::relying_party::RelyingParty;
use crate::http::issuers::{Issuer, MAX_ANSWER, TIMEOUT};
use crate::outgoing::{Client, Reach};

/// Makes what speaks with the issuers of the configuration.
pub(super) struct Issuers<'a> {
    settings: &'a Settings,
    client: Arc<Client>,
}

impl<'a> Issuers<'a> {
    /// # Errors
    /// [`StartError::IssuerAuthority`].
    pub fn new(settings: &'a Settings) -> Result<Self, StartError> {
        let reach = Reach {
            allow_private: settings.issuers.allow_private,
            key: "issuers.allow_private",
            timeout: TIMEOUT,
            max_answer: MAX_ANSWER,
        };
        let client =
            Client::new(reach, settings.issuers.tls_ca_file.as_deref()).map_err(StartError::IssuerAuthority)?;
        Ok(Issuers { settings, client: Arc::new(client) })
    }

    pub fn access_tokens(&self) -> AccessTokens {
        let issuers = self.settings.scim.issuers.iter().cloned();
        AccessTokens::new(
            issuers
                .map(|issuer| {
                    let speaks = self.issuer(&issuer.url, issuer.keys_url.clone());
                    (issuer, speaks)
                })
                .collect(),
        )
    }

    pub fn relying_party(&self) -> Option<RelyingParty> {
        let settings = self.settings.openid.clone()?;
        let issuer = self.issuer(&settings.issuer, None);
        Some(RelyingParty::new(settings, issuer))
    }

    /// Asks each issuer for its keys, and says which answered.
    ///
    /// # Errors
    /// [`StartError`] naming the first that did not.
    pub async fn check(&self) -> Result<Vec<String>, StartError> {
        let openid = self.settings.openid.iter().map(|openid| (&openid.issuer, None));
        let of_scim = self.settings.scim.issuers.iter().map(|issuer| (&issuer.url, issuer.keys_url.clone()));
        let mut said = Vec::new();
        for (url, keys_url) in openid.chain(of_scim) {
            let asked = self.issuer(url, keys_url).endpoints(Timestamp::EPOCH).await;
            asked.map_err(|error| StartError::Other(format!("issuer {url}: {error}")))?;
            said.push(format!("The issuer {url} says its keys."));
        }
        Ok(said)
    }

    fn issuer(&self, url: &str, keys_url: Option<url::Url>) -> Issuer {
        Issuer::new(url.to_owned(), keys_url, Arc::clone(&self.client))
    }
}
