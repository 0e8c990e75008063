//! People as somebody pastes them: one on a line or several behind commas, with a name or without.

use std::collections::BTreeSet;

use crate::domain::names::EmailAddress;
use crate::domain::text::{safe_line, safe_name};

/// So many people are added at once.
pub const MAX_PEOPLE: usize = 500;
/// What is shown of a line that is no address, in characters.
const SHOWN: usize = 120;

/// One person of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pasted {
    /// The address, else what stands where one should be.
    pub written: String,
    pub name: Option<String>,
    /// The reason says what is wrong.
    pub address: Result<EmailAddress, String>,
}

/// A list as read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    pub people: Vec<Pasted>,
    /// How often somebody was there once more.
    pub repeated: usize,
}

impl Roster {
    /// Reads `Ada Lovelace <ada@example.com>`, `ada@example.com` and, as a spreadsheet has it, `Ada Lovelace
    /// ada@example.com`. Whatever is none of these stays in the list, to be shown with what is wrong.
    pub fn read(text: &str) -> Self {
        let mut roster = Roster::default();
        let mut known = BTreeSet::new();
        for pasted in items(text).flat_map(one_or_more) {
            let key = pasted.address.as_ref().map_or(pasted.written.clone(), |address| address.folded().to_owned());
            if known.insert(key) {
                roster.people.push(pasted);
            } else {
                roster.repeated += 1;
            }
        }
        roster
    }
}

/// The parts between line ends, commas and semicolons; those within quotes or angle brackets part nothing.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let (mut quoted, mut bracketed) = (false, false);
        line.split(move |c: char| {
            match c {
                '"' => quoted = !quoted,
                '<' => bracketed = !quoted,
                '>' => bracketed = false,
                ',' | ';' => return !quoted && !bracketed,
                _ => {}
            }
            false
        })
        .map(str::trim)
        .filter(|item| !item.is_empty())
    })
}

/// The people of an item: several when it is nothing but addresses.
fn one_or_more(item: &str) -> Vec<Pasted> {
    let words: Vec<&str> = item.split_whitespace().collect();
    if !item.contains('<') && words.len() > 1 && words.iter().all(|word| word.contains('@')) {
        return words.into_iter().map(|word| pasted("", word)).collect();
    }
    let bracketed = item.strip_suffix('>').and_then(|front| front.rsplit_once('<'));
    let spaced = item.rsplit_once(char::is_whitespace).filter(|(_, last)| last.contains('@'));
    let (name, address) = bracketed.or(spaced).unwrap_or(("", item));
    vec![pasted(name, address)]
}

fn pasted(name: &str, address: &str) -> Pasted {
    let name = safe_name(name.trim().trim_matches('"'));
    Pasted {
        written: safe_line(address, SHOWN),
        name: Some(name).filter(|name| !name.is_empty()),
        address: EmailAddress::parse(address).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let people = Roster::read(text).people;
        people.into_iter().map(|it| (it.name.unwrap_or_default(), it.address.unwrap().as_str().to_owned())).collect()
    }

    #[rstest]
    #[case::lines("ada@example.com\r\n\r\n  alan@example.com\n")]
    #[case::commas("ada@example.com, alan@example.com,")]
    #[case::semicolons("ada@example.com;alan@example.com")]
    #[case::spaces("ada@example.com alan@example.com")]
    fn addresses_are_parted_by_what_people_part_them_by(#[case] text: &str) {
        assert_eq!(read(text), ["ada@example.com", "alan@example.com"].map(|it| (String::new(), it.to_owned())));
    }

    #[rstest]
    #[case::a_mail_program("Ada Lovelace <ada@example.com>", "Ada Lovelace")]
    #[case::quoted("\"Lovelace, Ada\" <ada@example.com>", "Lovelace, Ada")]
    #[case::a_spreadsheet("Ada\tLovelace\tada@example.com", "Ada Lovelace")]
    #[case::only_brackets("<ada@example.com>", "")]
    #[case::hostile("\u{202e}Ada\u{7} <ada@example.com>", "Ada")]
    fn a_name_may_stand_before_the_address(#[case] text: &str, #[case] name: &str) {
        assert_eq!(read(text), [(name.to_owned(), "ada@example.com".to_owned())]);
    }

    #[test]
    fn an_open_quote_or_bracket_ends_with_its_line() {
        let roster =
            Roster::read("\"Ada <ada@example.com>, x\nalan@example.com\nGrace <grace@example.com\nkay@example.com");
        let written: Vec<&str> = roster.people.iter().map(|it| it.written.as_str()).collect();
        assert_eq!(written.len(), 4, "{written:?}");
        assert_eq!((written[1], written[3]), ("alan@example.com", "kay@example.com"));
    }

    #[test]
    fn what_is_no_address_stays_to_be_shown() {
        let roster = Roster::read("Ada Lovelace\nada@@example.com");
        assert!(roster.people.iter().all(|it| it.address.is_err()));
        assert_eq!(roster.people[0].written, "Ada Lovelace");
    }

    #[test]
    fn somebody_who_is_there_twice_is_added_once() {
        let roster = Roster::read("ada@example.com\nAda <ADA@EXAMPLE.com>\nx\nx");
        assert_eq!((roster.people.len(), roster.repeated), (2, 2));
    }
}
