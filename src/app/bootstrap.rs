//! The first start: an account, its admin, a token, and words on how to go on. The next start changes and prints
//! nothing of that.

use std::fmt;

use super::open::{StartError, Waiting, patiently};
use crate::config::Settings;
use crate::directory::tokens::NewToken;
use crate::directory::{Directory, Error};
use crate::domain::names::{ClientName, EmailAddress};
use crate::domain::secrets::{ProvisioningToken, Scopes};

/// The client of the first token.
const FIRST_CLIENT: &str = "bootstrap";

/// What the first start has to tell. Secrets are in it, so it goes to the terminal and nowhere else.
#[derive(Debug, Default)]
pub struct Welcome {
    pub account: String,
    pub scim_base: String,
    pub token: Option<ProvisioningToken>,
    /// Who comes in as the first admin, and by which link; nobody in particular when no address was given.
    pub admin: Option<(Option<EmailAddress>, String)>,
    pub mails: String,
}

/// Makes what `bootstrap.*` asks for and is not there. `None` when the account existed.
///
/// Each step can be repeated, also by several replicas that start at the same moment, and is repeated while the store
/// is away.
///
/// # Errors
/// [`StartError`].
pub(super) async fn bootstrap(
    directory: &Directory,
    settings: &Settings,
    mails: String,
    waiting: &Waiting<'_>,
) -> Result<Option<Welcome>, StartError> {
    let Some(account) = &settings.bootstrap.account else { return Ok(None) };
    let made = patiently(waiting, absent, || directory.ensure_account(account, account.as_str())).await?;
    let client = ClientName::parse(FIRST_CLIENT).map_err(|error| Error::Internal(error.to_string()))?;
    let new =
        NewToken { client, scopes: Scopes::bootstrap(), profile: "lenient".to_owned(), test: false, expires: None };

    let mut token = None;
    if let Some(secret) = &settings.bootstrap.scim_token {
        patiently(waiting, absent, || directory.ensure_token(account, new.clone(), secret)).await?;
    } else if made {
        token = Some(patiently(waiting, absent, || directory.create_token(account, new.clone())).await?.1);
    }

    let named = settings.bootstrap.admin_email.clone();
    let mut admin = None;
    if named.is_some() || made {
        let link = match &named {
            Some(address) => patiently(waiting, absent, || directory.ensure_admin(account, address)).await?,
            None => patiently(waiting, absent, || directory.ensure_unnamed_admin(account)).await?,
        };
        admin = link.map(|link| (named, link));
    }
    if !made {
        tracing::info!(
            %account,
            "the account is there; `usherd token create --account {account} --name NAME` makes a token, \
             `usherd admin grant --account {account} --user ADDRESS` lets an admin in"
        );
    }
    let scim_base = format!("{}/scim/v2", directory.settings().public_url);
    Ok(made.then(|| Welcome { account: account.to_string(), scim_base, token, admin, mails }))
}

pub(super) fn absent(error: &Error) -> Option<String> {
    match error {
        Error::Unavailable { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

impl fmt::Display for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nusherd is ready: account {}, made just now.\n", self.account)?;
        writeln!(f, "  SCIM base URL   {}", self.scim_base)?;
        match &self.token {
            Some(token) => writeln!(f, "  SCIM token      {}", token.expose())?,
            None => writeln!(f, "  SCIM token      the configured one (bootstrap.scim_token)")?,
        }
        if let Some((address, link)) = &self.admin {
            let whose = match address {
                Some(address) => format!("{address}: accept with this address at"),
                None => "accept with your own address at".to_owned(),
            };
            writeln!(f, "  First admin     {whose}\n                  {link}")?;
        }
        writeln!(f, "  Mails           {}", self.mails)?;
        if let Some(token) = &self.token {
            writeln!(f, "\nTry it: this invites Ada.\n")?;
            writeln!(
                f,
                "  curl -s {}/Users -H 'Authorization: Bearer {}' -H 'Content-Type: application/scim+json' \
                 -d '{{\"userName\":\"ada@example.com\",\"emails\":[{{\"value\":\"ada@example.com\",\"primary\":true}}]}}'",
                self.scim_base,
                token.expose()
            )?;
        }
        writeln!(
            f,
            "\nThis is shown once. Later: `usherd token create --account {0} --name NAME` makes a token,\n\
             `usherd admin grant --account {0} --user ADDRESS` lets an admin in.\n",
            self.account
        )
    }
}
