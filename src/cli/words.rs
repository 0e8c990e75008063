//! Words of a closed set, with their meaning for the help.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::config::values::{ADMIT, count};
use crate::directory::account::Own;
use crate::directory::account_settings::Setting;
use crate::directory::hold::Decision;
use crate::domain::lifecycle::{Admit, BrakeLimit};
use crate::domain::secrets::{Scope, UnknownScope};
use crate::domain::webhook::UserEvent;
use crate::scim::Profile;

pub fn admit() -> impl TypedValueParser<Value = Admit> {
    let known = ADMIT.iter().map(|(word, admit)| PossibleValue::new(*word).help(meaning_of_admit(*admit)));
    PossibleValuesParser::new(known).try_map(|word| {
        let found = ADMIT.iter().find(|(known, _)| *known == word);
        found.map(|(_, admit)| *admit).ok_or("no such policy")
    })
}

const fn meaning_of_admit(admit: Admit) -> &'static str {
    match admit {
        Admit::Invite => "Pending, with an invitation by mail",
        Admit::Notify => "Active at once, with a welcome mail",
        Admit::Silent => "Active without mail",
    }
}

/// What a webhook tells.
pub fn event() -> impl TypedValueParser<Value = UserEvent> {
    let known = UserEvent::ALL.map(|event| PossibleValue::new(event.as_str()).help(event.meaning()));
    PossibleValuesParser::new(known).try_map(|word| word.parse::<UserEvent>())
}

/// What is to become of held invitations.
pub fn held() -> impl TypedValueParser<Value = Decision> {
    const WORDS: [(&str, Decision, &str); 3] = [
        ("send", Decision::Send, "They go out by mail"),
        ("admit", Decision::Admit, "The people become Active, without a mail"),
        ("drop", Decision::Drop, "They are revoked"),
    ];
    let known = WORDS.map(|(word, _, meaning)| PossibleValue::new(word).help(meaning));
    PossibleValuesParser::new(known).try_map(|word| {
        let found = WORDS.iter().find(|(known, ..)| *known == word);
        found.map(|(_, decision, _)| *decision).ok_or("no such decision")
    })
}

/// A number, or a word on the whole.
pub fn hold_above(text: &str) -> Result<Setting<Own<u32>>, String> {
    setting(text, count(0..=1_000_000))
}

/// `MIN,PERCENT`, or a word on the whole.
pub fn brake(text: &str) -> Result<Setting<Own<BrakeLimit>>, String> {
    setting(text, |text| {
        let (min, percent) = text.split_once(',').ok_or("not MIN,PERCENT, such as 5,10")?;
        Ok(BrakeLimit { min: count(0..=1_000_000)(min)?, percent: count(0..=100)(percent)? })
    })
}

fn setting<T>(text: &str, value: impl FnOnce(&str) -> Result<T, String>) -> Result<Setting<Own<T>>, String> {
    match text {
        "default" => Ok(Setting::Configured),
        "off" => Ok(Setting::Own(Own::Off)),
        text => value(text)
            .map(|value| Setting::Own(Own::On(value)))
            .map_err(|error| format!("{error}; or off, or default")),
    }
}

/// What an identity provider needs, and no more.
pub const USUAL_SCOPES: [Scope; 4] = [Scope::Users, Scope::Groups, Scope::Resources, Scope::Invitations];

pub fn scope() -> impl TypedValueParser<Value = Scope> {
    let known = Scope::ALL.map(|scope| PossibleValue::new(scope.as_str()).help(scope.meaning()));
    PossibleValuesParser::new(known).try_map(|word| -> Result<Scope, UnknownScope> { word.parse() })
}

/// The name of a dialect, since that is what a token keeps.
pub fn profile() -> PossibleValuesParser {
    PossibleValuesParser::new(Profile::ALL.map(|profile| PossibleValue::new(profile.name()).help(profile.meaning())))
}
