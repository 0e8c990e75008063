//! The words of mails and of the pages for invited people, by language: texts, dates and spans, and which language a
//! person reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::time::Timestamp;

/// The language that always exists, and that fills the gaps of all others.
const DEFAULT: &str = "en";

macro_rules! built_in {
    ($($tag:literal)*) => {
        [$(($tag, include_str!(concat!("../../config/locales/", $tag, ".toml")))),*]
    };
}

/// The languages that come with usherd: tag and texts. A new one is a file and a word here.
const BUILT_IN: [(&str, &str); 6] = built_in! { "en" "de" "es" "fr" "ja" "vi" };

/// The words of one language, by `section.key`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Words {
    tag: Arc<str>,
    texts: Arc<HashMap<String, String>>,
}

/// Why a file of words cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    #[error("{0}")]
    Syntax(String),
    #[error("`{0}` must be a text")]
    NotText(String),
    #[error("`{0}` is not a string of usherd; look for the right name in its own strings")]
    Unknown(String),
    #[error("`{0}` must be one line")]
    Lines(String),
}

/// The languages that usherd speaks, by tag.
#[derive(Debug, Clone)]
pub struct Languages(BTreeMap<String, Words>);

impl Languages {
    /// Those that come with usherd.
    pub fn built_in() -> Self {
        static LANGUAGES: LazyLock<Languages> = LazyLock::new(|| {
            let load = |(tag, _)| Words::load(tag, None).expect("the built-in words are read by a test");
            Languages(BUILT_IN.map(load).into_iter().map(|words| (words.tag().to_owned(), words)).collect())
        });
        LANGUAGES.clone()
    }

    /// One more language, or other words for one.
    pub fn put(&mut self, words: Words) {
        self.0.insert(words.tag().to_owned(), words);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Words> {
        self.0.values()
    }

    /// The language that somebody reads best. Each preference has the form of Accept-Language, and an earlier one counts
    /// more than all behind it; English when they name no language that usherd speaks.
    pub fn best<'a>(&self, preferences: impl IntoIterator<Item = &'a str>) -> &Words {
        let wanted = preferences.into_iter().flat_map(ranked);
        let best = wanted.into_iter().find_map(|tag| self.0.get(&tag));
        best.unwrap_or_else(|| self.0.get(DEFAULT).expect("the default language is built in"))
    }
}

impl Words {
    /// English, as it comes with usherd: for pages that are in no other language.
    pub fn english() -> &'static Words {
        static ENGLISH: LazyLock<Words> =
            LazyLock::new(|| Words::load(DEFAULT, None).expect("the built-in words are read by a test"));
        &ENGLISH
    }

    /// The built-in words of `tag`, else the default's, with `own` (TOML: sections of texts) laid over them.
    ///
    /// # Errors
    /// [`WordsError`], of the first mistake.
    pub fn load(tag: &str, own: Option<&str>) -> Result<Self, WordsError> {
        let mut texts = HashMap::new();
        for (built_in, source) in BUILT_IN {
            if built_in == DEFAULT || built_in == tag {
                texts.extend(parse(source)?);
            }
        }
        for (key, text) in own.map(parse).transpose()?.unwrap_or_default() {
            if !texts.contains_key(&key) {
                return Err(WordsError::Unknown(key));
            }
            texts.insert(key, text);
        }
        Ok(Words { tag: tag.into(), texts: Arc::new(texts) })
    }

    /// The language, as a tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Which way the language is written (Unicode CLDR: right to left).
    pub fn direction(&self) -> &'static str {
        match self.tag.split('-').next() {
            Some("ar" | "fa" | "he" | "ur" | "ps" | "dv" | "yi") => "rtl",
            _ => "ltr",
        }
    }

    /// The text with its `{names}` filled in.
    pub fn told(&self, key: &str, values: &[(&str, &str)]) -> String {
        fill(self.text(key), values)
    }

    /// The text, or its key when there is none, so that a gap shows without stopping a mail.
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
        self.counted(unit, count)
    }

    /// How long to wait, rounded up: `40 seconds`, `2 minutes`. At least a second.
    pub fn wait(&self, wait: Duration) -> String {
        let seconds = wait.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX);
        match seconds {
            0..=59 => self.counted("second", seconds),
            60..=3_599 => self.counted("minute", seconds.div_ceil(60)),
            _ => self.counted("hour", seconds.div_ceil(3_600)),
        }
    }

    fn counted(&self, unit: &str, count: u64) -> String {
        let form = if count == 1 { "one" } else { "other" };
        self.told(&format!("span.{unit}_{form}"), &[("n", &count.to_string())])
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
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
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
fn ranked(preferred: &str) -> Vec<String> {
    let mut tags: Vec<(f32, &str)> = preferred.split(',').take(20).filter_map(ranked_tag).collect();
    tags.sort_by(|a, b| b.0.total_cmp(&a.0));
    let tags = tags.into_iter().flat_map(|(_, tag)| {
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

fn parse(source: &str) -> Result<BTreeMap<String, String>, WordsError> {
    let sections: toml::Table = source
        .parse()
        .map_err(|error: toml::de::Error| WordsError::Syntax(error.to_string().trim_end().replace('\n', " / ")))?;
    let mut texts = BTreeMap::new();
    for (section, table) in sections {
        let toml::Value::Table(table) = table else { return Err(WordsError::NotText(section)) };
        for (name, value) in table {
            let key = format!("{section}.{name}");
            match value {
                toml::Value::String(text) if text.contains(char::is_control) => {
                    return Err(WordsError::Lines(key));
                }
                toml::Value::String(text) => texts.insert(key, text),
                _ => return Err(WordsError::NotText(key)),
            };
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english() -> &'static Words {
        Words::english()
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
    fn a_wait_is_rounded_up() {
        let told = |millis| english().wait(Duration::from_millis(millis));
        assert_eq!(
            (told(300), told(40_000), told(59_001)),
            ("1 second".into(), "40 seconds".into(), "1 minute".into())
        );
        assert_eq!((told(61_000), told(3_600_000)), ("2 minutes".into(), "1 hour".into()));
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
        assert_eq!(ranked("fr;q=0.5, de-AT, *;q=0.1, es;q=0"), ["de-at", "de", "fr", "fr"]);
        assert_eq!(ranked("en_US"), ["en-us", "en"]);
        assert!(ranked("").is_empty());
        let best = |preferences: &[&str]| Languages::built_in().best(preferences.iter().copied()).tag().to_owned();
        assert_eq!(best(&["vi", "de, en"]), "vi", "what somebody says of themselves counts more than their browser");
        assert_eq!(best(&["tlh", "pt, ja;q=0.9, en;q=0.8"]), "ja");
        assert_eq!(best(&[]), "en");
    }

    #[test]
    fn filled_in_values_are_not_filled_in_again() {
        assert_eq!(fill("{a} and {b} and {c", &[("a", "{b}"), ("b", "x")]), "{b} and x and {c");
    }

    /// Names in braces, in the order of the alphabet.
    fn names(text: &str) -> Vec<&str> {
        let mut names: Vec<&str> = text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_language_says_everything_and_fills_in_the_same_names() {
        let english = parse(BUILT_IN[0].1).expect("parses");
        for (tag, source) in BUILT_IN {
            let texts = parse(source).unwrap_or_else(|error| panic!("{tag}: {error}"));
            assert_eq!(texts.keys().collect::<Vec<_>>(), english.keys().collect::<Vec<_>>(), "{tag}");
            for (key, text) in &texts {
                assert_eq!(names(text), names(&english[key]), "{tag}: {key}");
                assert!(!text.trim().is_empty(), "{tag}: {key}");
            }
        }
    }

    #[test]
    fn dates_are_told_as_people_there_write_them() {
        let instant = Timestamp::parse("2026-12-01T09:30:00Z").expect("an instant");
        let told = |tag| Words::load(tag, None).expect("built in").date(instant, &TimeZone::UTC);
        assert_eq!(told("de"), "Dienstag, 1. Dezember 2026, 09:30 UTC");
        assert_eq!(told("es"), "martes, 1 de diciembre de 2026, 09:30 UTC");
        assert_eq!(told("fr"), "mardi 1 décembre 2026 à 09:30 UTC");
        assert_eq!(told("ja"), "2026年12月1日(火) 09:30 UTC");
        assert_eq!(told("vi"), "Thứ Ba, ngày 1 tháng 12 năm 2026, 09:30 UTC");
    }

    #[test]
    fn own_words_may_only_replace_what_exists_in_one_line() {
        let load = |own| Words::load("xx", Some(own)).map(|s| s.text("invitation.subject").to_owned());
        assert_eq!(load("[invitation]\nsubject = \"Komm herein\""), Ok("Komm herein".to_owned()));
        assert_eq!(load("[invitation]\nsubjct = \"x\""), Err(WordsError::Unknown("invitation.subjct".to_owned())));
        assert_eq!(load("[invitation]\nsubject = 7"), Err(WordsError::NotText("invitation.subject".to_owned())));
        assert_eq!(
            load("[invitation]\nsubject = \"a\\r\\nBcc: b\""),
            Err(WordsError::Lines("invitation.subject".to_owned()))
        );
        assert!(matches!(load("[invitation"), Err(WordsError::Syntax(_))));
    }
}
