//! The first start: an account, its admin, a token, and words on how to go on. The next start changes and prints
//! nothing of that.

use std::fmt;

use crate::config::Settings;
use crate::directory::tokens::NewToken;
use crate::directory::{Directory, Error};
use crate::domain::names::{ClientName, EmailAddress};
use crate::domain::secrets::{ProvisioningToken, Scopes};

/// The client of the first token.
const FIRST_CLIENT: &str = "bootstrap";
/// Who administers an account for which nobody is named: the link that is printed lets them in.
const FIRST_ADMIN: &str = "admin@localhost.localdomain";

/// What the first start has to tell. Secrets are in it, so it goes to the terminal and nowhere else.
#[derive(Debug, Default)]
pub struct Welcome {
    pub account: String,
    pub scim_base: String,
    pub token: Option<ProvisioningToken>,
    pub admin: Option<(EmailAddress, String)>,
    pub mails: String,
}

/// Makes what `bootstrap.*` asks for and is not there. `None` when the account existed.
///
/// # Errors
/// Of the store; [`Error::Invalid`] for a token or an address that cannot be.
pub async fn bootstrap(directory: &Directory, settings: &Settings, mails: String) -> Result<Option<Welcome>, Error> {
    let Some(account) = &settings.bootstrap.account else { return Ok(None) };
    let made = directory.ensure_account(account, account.as_str()).await?;
    let client = ClientName::parse(FIRST_CLIENT).map_err(|error| Error::Internal(error.to_string()))?;
    let new =
        NewToken { client, scopes: Scopes::bootstrap(), profile: "lenient".to_owned(), test: false, expires: None };

    let configured = settings.bootstrap.scim_token.as_ref();
    let mut token = None;
    if let Some(secret) = configured {
        directory.ensure_token(account, new, secret).await?;
    } else if made {
        token = Some(directory.create_token(account, new).await?.1);
    }

    let named = settings.bootstrap.admin_email.clone();
    let mut admin = None;
    if named.is_some() || made {
        let address = match named {
            Some(address) => address,
            None => EmailAddress::parse(FIRST_ADMIN).map_err(|error| Error::Internal(error.to_string()))?,
        };
        admin = directory.ensure_admin(account, &address).await?.map(|link| (address, link));
    }
    let scim_base = format!("{}/scim/v2", directory.settings().public_url);
    Ok(made.then(|| Welcome { account: account.to_string(), scim_base, token, admin, mails }))
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
            writeln!(f, "  First admin     {address}: accept with this address at\n                  {link}")?;
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
