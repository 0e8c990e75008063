//! What an account decides for itself, in place of the configuration: read as it stands, changed by an operator at the
//! command line or an Account Admin in the console, and told in the audit with what it was before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::{Account, Own};
use super::audit::AuditEvent;
use super::error::Error;
use super::request::Request;
use super::{Directory, entropy, version};
use crate::domain::lifecycle::{Admit, BrakeLimit};
use crate::domain::secrets::Scope;
use crate::domain::text::safe_name;

/// The longest life of an invitation, as `invitations.ttl` has it.
const MAX_TTL: Duration = Duration::from_secs(30 * 86_400);
/// The shortest.
const MIN_TTL: Duration = Duration::from_secs(1);
const MAX_RENEWALS: u32 = 100;
/// Of people.
const MAX_COUNT: u32 = 1_000_000;

/// New settings of an account; `None` leaves one as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountChanges {
    pub name: Option<String>,
    pub admit: Option<Setting<Admit>>,
    pub invitation_ttl: Option<Setting<Duration>>,
    pub max_renewals: Option<Setting<u32>>,
    pub hold_until_start_date: Option<Setting<bool>>,
    pub hold_above: Option<Setting<Own<u32>>>,
    pub brake: Option<Setting<Own<BrakeLimit>>>,
}

/// What an account says about something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting<T> {
    /// Nothing: it follows the configuration.
    Configured,
    Own(T),
}

impl<T> Setting<T> {
    fn own(self) -> Option<T> {
        match self {
            Setting::Configured => None,
            Setting::Own(own) => Some(own),
        }
    }
}

impl<T> From<Option<T>> for Setting<T> {
    fn from(own: Option<T>) -> Self {
        own.map_or(Setting::Configured, Setting::Own)
    }
}

impl AccountChanges {
    /// Whether every value is one that the configuration would take, too.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what to write.
    fn check(&self) -> Result<(), Error> {
        let invalid = |words: String| Err(Error::Invalid(words));
        if self.name.as_ref().is_some_and(|name| name.is_empty() || safe_name(name) != *name) {
            return invalid("the name of the account has 1 to 64 characters on one line".to_owned());
        }
        if let Some(Setting::Own(ttl)) = self.invitation_ttl
            && !(MIN_TTL..=MAX_TTL).contains(&ttl)
        {
            return invalid("an invitation lives between 1 second and 30 days".to_owned());
        }
        if let Some(Setting::Own(renewals)) = self.max_renewals
            && renewals > MAX_RENEWALS
        {
            return invalid(format!("an invitation is renewed {MAX_RENEWALS} times at the most"));
        }
        if let Some(Setting::Own(Own::On(above))) = self.hold_above
            && above > MAX_COUNT
        {
            return invalid(format!("first invitations are held above a number up to {MAX_COUNT}"));
        }
        match self.brake {
            Some(Setting::Own(Own::On(limit))) if limit.min > MAX_COUNT || limit.percent > 100 => {
                invalid(format!("the brake has a number up to {MAX_COUNT} and a percentage up to 100"))
            }
            _ => Ok(()),
        }
    }

    fn give(&self, account: &mut Account) {
        if let Some(name) = &self.name {
            account.name.clone_from(name);
        }
        account.admit = self.admit.map_or(account.admit, Setting::own);
        let ttl = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        account.invitation_ttl = self.invitation_ttl.map_or(account.invitation_ttl, |setting| setting.own().map(ttl));
        account.max_renewals = self.max_renewals.map_or(account.max_renewals, Setting::own);
        account.hold_until_start_date = self.hold_until_start_date.map_or(account.hold_until_start_date, Setting::own);
        account.hold_above = self.hold_above.map_or(account.hold_above, Setting::own);
        account.brake = self.brake.map_or(account.brake, Setting::own);
    }
}

impl Directory {
    /// Changes the settings of an account. `revision` is the one that the changes were made from; without it they go
    /// on top of whatever stands there.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] when somebody changed the account since `revision`; [`Error::Invalid`];
    /// [`Error::NotFound`] when there is no such account; [`Error::MissingScope`] without `tokens`.
    pub async fn set_account(
        &self,
        request: &Request,
        revision: Option<u64>,
        changes: &AccountChanges,
    ) -> Result<Account, Error> {
        changes.check()?;
        retrying!(self, {
            let (context, _) = self.open_to_write(request, &[]).await?;
            context.require(Scope::Tokens)?;
            let found = context.account_revision();
            if revision.is_some_and(|revision| revision != found) {
                return Err(Error::PreconditionFailed { current: version(found) });
            }
            let mut account = context.account.clone();
            changes.give(&mut account);
            let told = differences(&context.account, &account);
            if told.is_empty() {
                return Ok(Some(account));
            }
            let side = |side: fn(&(&'static str, String, String)) -> String| {
                told.iter().map(side).collect::<Vec<_>>().join(", ")
            };
            let event = AuditEvent {
                attributes: told.iter().map(|(name, ..)| (*name).to_owned()).collect(),
                before: Some(side(|(name, before, _)| format!("{name} {before}"))),
                after: Some(side(|(name, _, after)| format!("{name} {after}"))),
                revision: Some(found + 1),
                ..AuditEvent::new(context.now, context.actor.clone(), "account.changed")
            };
            let mut batch = context.batch(entropy::commit_id(context.now));
            context.plan_account(&account, &event, &mut batch);
            Ok(self.committed(&context.space, &batch).await?.then_some(account))
        })
    }
}

/// The settings that differ: name, what it was, what it is.
fn differences(before: &Account, after: &Account) -> Vec<(&'static str, String, String)> {
    fn told(account: &Account) -> [(&'static str, String); 7] {
        [
            ("name", format!("\"{}\"", account.name)),
            ("admit", worded(account.admit.as_ref(), |admit| admit.as_str().to_owned())),
            ("invitation_ttl", worded(account.invitation_ttl.as_ref(), |millis| format!("{} s", millis / 1_000))),
            ("max_renewals", worded(account.max_renewals.as_ref(), ToString::to_string)),
            ("hold_until_start_date", worded(account.hold_until_start_date.as_ref(), ToString::to_string)),
            ("hold_above", worded(account.hold_above.as_ref(), |own| switched(own, ToString::to_string))),
            (
                "brake",
                worded(account.brake.as_ref(), |own| {
                    switched(own, |limit| format!("{} or {} %", limit.min, limit.percent))
                }),
            ),
        ]
    }
    let pairs = told(before).into_iter().zip(told(after));
    pairs.filter(|(before, after)| before != after).map(|((name, before), (_, after))| (name, before, after)).collect()
}

fn worded<T>(own: Option<&T>, words: impl Fn(&T) -> String) -> String {
    own.map_or_else(|| "as configured".to_owned(), words)
}

fn switched<T>(own: &Own<T>, words: impl Fn(&T) -> String) -> String {
    match own {
        Own::Off => "off".to_owned(),
        Own::On(value) => words(value),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::domain::time::Timestamp;

    fn account() -> Account {
        Account::new("acme".parse().unwrap(), "Acme", Timestamp::EPOCH)
    }

    #[test]
    fn only_what_is_named_changes_and_the_difference_says_from_what_to_what() {
        let before = Account { max_renewals: Some(3), ..account() };
        let mut after = before.clone();
        AccountChanges {
            admit: Some(Setting::Own(Admit::Notify)),
            max_renewals: Some(Setting::Configured),
            brake: Some(Setting::Own(Own::On(BrakeLimit { min: 5, percent: 10 }))),
            ..AccountChanges::default()
        }
        .give(&mut after);
        let told = differences(&before, &after);
        let told: Vec<_> = told.iter().map(|(name, before, after)| (*name, before.as_str(), after.as_str())).collect();
        assert_eq!(
            told,
            [
                ("admit", "as configured", "notify"),
                ("max_renewals", "3", "as configured"),
                ("brake", "as configured", "5 or 10 %"),
            ]
        );
    }

    #[rstest]
    #[case::no_name(AccountChanges { name: Some(String::new()), ..AccountChanges::default() })]
    #[case::two_lines(AccountChanges { name: Some("A\nB".to_owned()), ..AccountChanges::default() })]
    #[case::no_life(AccountChanges { invitation_ttl: Some(Setting::Own(Duration::ZERO)), ..AccountChanges::default() })]
    #[case::too_long(AccountChanges {
        invitation_ttl: Some(Setting::Own(MAX_TTL + Duration::from_secs(1))),
        ..AccountChanges::default()
    })]
    #[case::too_often(AccountChanges { max_renewals: Some(Setting::Own(101)), ..AccountChanges::default() })]
    #[case::more_than_all(AccountChanges {
        brake: Some(Setting::Own(Own::On(BrakeLimit { min: 0, percent: 101 }))),
        ..AccountChanges::default()
    })]
    fn what_the_configuration_would_not_take_is_refused(#[case] changes: AccountChanges) {
        assert!(matches!(changes.check(), Err(Error::Invalid(_))));
    }
}
