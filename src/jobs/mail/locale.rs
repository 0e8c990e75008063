//! Languages: the strings of mails, dates and spans in words, and which language a person reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::domain::time::Timestamp;

/// The language that always exists, and that fills the gaps of all others.
pub(super) const DEFAULT: &str = "en";

/// The languages that come with usherd: tag and strings. A new one is a file and a line.
pub(super) const BUILT_IN: [(&str, &str); 1] = [(DEFAULT, include_str!("../../../config/mail/locales/en.toml"))];

/// The strings of one language, by `section.key`.
#[derive(Debug, Clone)]
pub(super) struct Strings {
    texts: Arc<HashMap<String, String>>,
}

/// Why a file of strings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StringsError {
    #[error("{0}")]
    Syntax(String),
    #[error("`{0}` must be a text")]
    NotText(String),
    #[error("`{0}` is not a string of usherd; look for the right name in its own strings")]
    Unknown(String),
    #[error("`{0}` must be one line")]
    Lines(String),
}

impl Strings {
    /// The built-in strings of `tag`, else the default's, with `own` (TOML: sections of texts) laid over them.
    pub fn load(tag: &str, own: Option<&str>) -> Result<Self, StringsError> {
        let mut texts = HashMap::new();
        for (built_in, source) in BUILT_IN {
            if built_in == DEFAULT || built_in == tag {
                texts.extend(parse(source)?);
            }
        }
        for (key, text) in own.map(parse).transpose()?.unwrap_or_default() {
            if !texts.contains_key(&key) {
                return Err(StringsError::Unknown(key));
            }
            texts.insert(key, text);
        }
        Ok(Strings { texts: Arc::new(texts) })
    }

    /// The string, or its key when there is none, so that a gap shows without stopping a mail.
    pub fn text<'a>(&'a self, key: &'a str) -> &'a str {
        self.find(key).unwrap_or(key)
    }

    pub fn find(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }

    /// A span in its largest sensible unit, rounded: `7 days`, `36 hours`, `10 minutes`. At least a minute.
    pub fn span(&self, span: Duration) -> String {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let seconds = span.as_secs();
        let (unit, size) = match seconds {
            0..=5_399 => ("minute", MINUTE),
            5_400..=172_799 => ("hour", HOUR),
            _ => ("day", DAY),
        };
        let count = ((seconds + size / 2) / size).max(1);
        let form = if count == 1 { "one" } else { "other" };
        fill(self.text(&format!("span.{unit}_{form}")), &[("n", &count.to_string())])
    }

    /// An instant as people there write it, with its zone: `Monday, 30 November 2026 at 09:30 UTC`.
    pub fn date(&self, instant: Timestamp, zone: &TimeZone) -> String {
        let local = instant.to_jiff().to_zoned_datetime(zone.clone());
        let weekday = format!("date.weekday_{}", local.weekday().to_monday_one_offset());
        let month = format!("date.month_{}", local.month());
        fill(
            self.text("date.pattern"),
            &[
                ("weekday", self.text(&weekday)),
                ("day", &local.day().to_string()),
                ("month", self.text(&month)),
                ("year", &local.year().to_string()),
                ("time", &local.strftime("%H:%M").to_string()),
                ("zone", &local.strftime("%Z").to_string()),
            ],
        )
    }
}

/// `text` with each `{name}` replaced. Values are not looked into again, so a name with braces stays a name.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let known = after.split_once('}').and_then(|(name, tail)| {
            let value = values.iter().find(|(known, _)| *known == name)?.1;
            Some((value, tail))
        });
        match known {
            Some((value, tail)) => {
                out.push_str(value);
                rest = tail;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The languages that `preferred` names, best first. It has the form of Accept-Language (RFC 7643 §4.1.1 refers to
/// RFC 7231 §5.3.5): `de-AT, fr;q=0.5`. Each tag is followed by its language alone.
pub(super) fn preferences(preferred: &str) -> Vec<String> {
    let mut ranked: Vec<(f32, &str)> = preferred.split(',').take(20).filter_map(ranked_tag).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let tags = ranked.into_iter().flat_map(|(_, tag)| {
        let tag = tag.to_ascii_lowercase().replace('_', "-");
        let language = tag.split('-').next().unwrap_or_default().to_owned();
        [tag, language]
    });
    tags.collect()
}

fn ranked_tag(item: &str) -> Option<(f32, &str)> {
    let mut parts = item.split(';').map(str::trim);
    let tag = parts.next().filter(|tag| !tag.is_empty() && *tag != "*")?;
    let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok())?;
    (quality > 0.0).then_some((quality, tag))
}

fn parse(source: &str) -> Result<BTreeMap<String, String>, StringsError> {
    let sections: toml::Table = source
        .parse()
        .map_err(|error: toml::de::Error| StringsError::Syntax(error.to_string().trim_end().replace('\n', " / ")))?;
    let mut texts = BTreeMap::new();
    for (section, table) in sections {
        let toml::Value::Table(table) = table else { return Err(StringsError::NotText(section)) };
        for (name, value) in table {
            let key = format!("{section}.{name}");
            match value {
                toml::Value::String(text) if text.contains(char::is_control) => {
                    return Err(StringsError::Lines(key));
                }
                toml::Value::String(text) => texts.insert(key, text),
                _ => return Err(StringsError::NotText(key)),
            };
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english() -> Strings {
        Strings::load("en", None).expect("the built-in strings")
    }

    #[test]
    fn spans_are_told_in_the_largest_sensible_unit() {
        let told = |seconds| english().span(Duration::from_secs(seconds));
        assert_eq!(told(7 * 86_400), "7 days");
        assert_eq!(told(7 * 86_400 - 20), "7 days");
        assert_eq!(told(86_400), "24 hours");
        assert_eq!(told(3_600), "60 minutes");
        assert_eq!(told(600), "10 minutes");
        assert_eq!(told(60), "1 minute");
        assert_eq!(told(1), "1 minute");
    }

    #[test]
    fn dates_name_weekday_month_and_zone() {
        let instant = Timestamp::parse("2026-11-30T09:30:00Z").expect("an instant");
        assert_eq!(english().date(instant, &TimeZone::UTC), "Monday, 30 November 2026 at 09:30 UTC");
        let berlin = TimeZone::get("Europe/Berlin").expect("bundled");
        assert_eq!(english().date(instant, &berlin), "Monday, 30 November 2026 at 10:30 CET");
    }

    #[test]
    fn preferred_languages_are_read_best_first_with_their_language_behind_them() {
        assert_eq!(preferences("fr;q=0.5, de-AT, *;q=0.1, es;q=0"), ["de-at", "de", "fr", "fr"]);
        assert_eq!(preferences("en_US"), ["en-us", "en"]);
        assert!(preferences("").is_empty());
    }

    #[test]
    fn filled_in_values_are_not_filled_in_again() {
        assert_eq!(fill("{a} and {b} and {c", &[("a", "{b}"), ("b", "x")]), "{b} and x and {c");
    }

    #[test]
    fn own_strings_may_only_replace_what_exists_in_one_line() {
        let load = |own| Strings::load("xx", Some(own)).map(|s| s.text("invitation.subject").to_owned());
        assert_eq!(load("[invitation]\nsubject = \"Komm herein\""), Ok("Komm herein".to_owned()));
        assert_eq!(load("[invitation]\nsubjct = \"x\""), Err(StringsError::Unknown("invitation.subjct".to_owned())));
        assert_eq!(load("[invitation]\nsubject = 7"), Err(StringsError::NotText("invitation.subject".to_owned())));
        assert_eq!(
            load("[invitation]\nsubject = \"a\\r\\nBcc: b\""),
            Err(StringsError::Lines("invitation.subject".to_owned()))
        );
        assert!(matches!(load("[invitation"), Err(StringsError::Syntax(_))));
    }
}
