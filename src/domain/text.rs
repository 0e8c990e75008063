//! Texts that people chose, made fit to be shown and mailed.
//!
//! A name arrives over SCIM from whoever filled in a form. Before anything renders or mails it, what could forge a
//! header, reverse a line or hide a letter is taken out (console: "Names").

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The longest name that is shown or mailed, in characters.
pub const NAME_LIMIT: usize = 64;

/// No text is looked at beyond this many characters for each one that may remain, so that the cost does not grow with
/// what a client sends.
const LOOK_AHEAD: usize = 32;

/// More marks than any script puts on one letter.
const MAX_ACCENTS: usize = 8;

/// A person's, account's or project's name, ready to be shown: [`safe_line`] with at most [`NAME_LIMIT`] characters.
/// Empty when nothing visible is left; the caller then falls back to something of its own.
pub fn safe_name(text: &str) -> String {
    safe_line(text, NAME_LIMIT)
}

/// One line of at most `limit` characters in NFC: no control, bidirectional or invisible characters, white space
/// collapsed to single spaces, no space at either end. A cut never parts a letter from its accents. Applying it again
/// changes nothing.
pub fn safe_line(text: &str, limit: usize) -> String {
    // NFC first: what a character turns into is what has to be judged (KELVIN SIGN becomes an ASCII letter). And last
    // again, because taking characters out can bring a letter and its accent together.
    let normal = text.chars().take(limit.saturating_mul(LOOK_AHEAD)).nfc();
    let kept: String = visible(normal).nfc().collect();
    cut(&kept, limit).to_owned()
}

/// `a***@example.org`: enough of an address for its owner to recognise it, and for a log line. A text without `@` is
/// masked whole.
pub fn masked_address(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((user, domain)) => {
            let first: String = safe_line(user, 1);
            format!("{first}***@{}", safe_line(domain, 255))
        }
        None => "***".to_owned(),
    }
}

/// What becomes of one character.
enum Fate {
    Keep,
    /// White space of any kind, also what separates lines: words stay apart.
    Space,
    Drop,
    /// Joins its neighbours in scripts and emoji that need it, invisible elsewhere.
    Joiner,
}

fn fate(c: char) -> Fate {
    match c {
        c if c.is_whitespace() => Fate::Space,
        c if c.is_control() => Fate::Drop,
        '\u{200C}' | '\u{200D}' => Fate::Joiner,
        // Bidirectional marks, embeddings, overrides and isolates (Unicode TR36: spoofing by reordering).
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{206F}' => Fate::Drop,
        // Zero width, soft hyphen, invisible operators, fillers that look like nothing.
        '\u{00AD}' | '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}' => {
            Fate::Drop
        }
        '\u{200B}' | '\u{2060}'..='\u{2065}' | '\u{2800}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' => Fate::Drop,
        // Variation selectors but for the two that choose text or emoji form, annotations, object replacement, tags.
        '\u{FE00}'..='\u{FE0D}' | '\u{FFF0}'..='\u{FFFC}' | '\u{E0000}'..='\u{E0FFF}' => Fate::Drop,
        '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' => Fate::Drop,
        _ => Fate::Keep,
    }
}

/// The characters that remain. A joiner stays only between two characters outside ASCII: in Latin text it could only
/// make two equal-looking names differ.
fn visible(characters: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    let mut out: Vec<char> = Vec::new();
    let mut pending = None;
    for c in characters {
        let last = out.last().copied();
        match fate(c) {
            Fate::Drop => {}
            Fate::Space if last.is_none() => pending = None,
            Fate::Space => pending = Some(' '),
            Fate::Joiner if pending.is_none() && last.is_some_and(|l| !l.is_ascii()) => pending = Some(c),
            Fate::Joiner => {}
            Fate::Keep if extends(c) && stacked(&out, pending) => {}
            Fate::Keep => {
                out.extend(pending.take().filter(|&p| p == ' ' || !c.is_ascii()));
                out.push(c);
            }
        }
    }
    out.into_iter()
}

/// Whether one more accent has no letter to stand on, or stands on [`MAX_ACCENTS`] others: such a pile covers the lines
/// above and below.
fn stacked(out: &[char], pending: Option<char>) -> bool {
    let accents = out.iter().rev().take_while(|&&c| extends(c)).count();
    let base = out.iter().rev().nth(accents);
    pending == Some(' ') || base.is_none_or(|&c| c == ' ') || accents >= MAX_ACCENTS
}

/// The first `limit` characters, moved back to where a visible character ends.
fn cut(text: &str, limit: usize) -> &str {
    let Some((end, _)) = text.char_indices().nth(limit) else { return text };
    let inside = |at: usize| {
        let joined = text[..at].chars().next_back().is_some_and(is_joiner);
        joined || text[at..].chars().next().is_some_and(|c| is_joiner(c) || extends(c))
    };
    let boundary = text[..end].char_indices().map(|(at, _)| at).rev();
    // Where not even one whole character fits, it is cut.
    let end = std::iter::once(end).chain(boundary).find(|&at| !inside(at)).filter(|&at| at > 0).unwrap_or(end);
    text[..end].trim_end_matches(|c| c == ' ' || is_joiner(c))
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// Whether `c` only changes the character before it: accents, skin tones, emoji form.
fn extends(c: char) -> bool {
    is_combining_mark(c) || matches!(c, '\u{FE0E}' | '\u{FE0F}' | '\u{1F3FB}'..='\u{1F3FF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_forge_a_header_or_reverse_a_line_is_gone() {
        assert_eq!(safe_name("Ada\r\nBcc: eve@example.org\0"), "Ada Bcc: eve@example.org");
        assert_eq!(safe_name("\u{202E}gpj.exe\u{202C}"), "gpj.exe");
        assert_eq!(safe_name("pay\u{200B}pal\u{FEFF}"), "paypal");
        assert_eq!(safe_name("a\u{200D}b"), "ab");
        assert_eq!(safe_name("\u{1b}[31mred\u{7f}\u{9b}"), "[31mred");
        assert_eq!(safe_name("one\u{2028}two\u{85}three"), "one two three");
        assert_eq!(safe_name("\u{3164}\u{2800}"), "");
    }

    #[test]
    fn names_of_the_world_stay_as_they_are() {
        for name in ["Zoë Müller-Lüdenscheidt", "山田 太郎", "Nguyễn Thị Minh Khai", "می‌خواهم", "👩‍👩‍👧 Ada ❤️", "O’Brien"]
        {
            assert_eq!(safe_name(name), name);
        }
        assert_eq!(safe_name("  Jose\u{301}\t\u{a0} Pe\u{301}rez "), "José Pérez");
    }

    #[test]
    fn a_long_name_is_cut_between_visible_characters() {
        assert_eq!(safe_name(&"x".repeat(10_000)), "x".repeat(64));
        // 63 letters and then an emoji of three joined characters, which does not fit.
        assert_eq!(safe_name(&format!("{}👩\u{200D}🔬", "x".repeat(63))), "x".repeat(63));
        // A letter whose accent has no precomposed form stays with its accent or goes.
        assert_eq!(safe_name(&format!("{}q\u{303}", "x".repeat(63))), "x".repeat(63));
        assert_eq!(safe_name(&format!("{}q\u{303}", "x".repeat(62))), format!("{}q\u{303}", "x".repeat(62)));
        assert_eq!(safe_name(&format!("q{} x", "\u{303}".repeat(500))), format!("q{} x", "\u{303}".repeat(8)));
        assert_eq!(safe_name("\u{303}\u{303} \u{301}Ada"), "Ada");
    }

    #[test]
    fn a_masked_address_keeps_its_domain_and_first_letter() {
        assert_eq!(masked_address("ada@example.org"), "a***@example.org");
        assert_eq!(masked_address("no address\r\n"), "***");
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_bounded_line_and_stays_it(text in any::<String>()) {
            let name = safe_name(&text);
            prop_assert!(!name.chars().any(char::is_control));
            prop_assert!(name.chars().count() <= NAME_LIMIT);
            prop_assert_eq!(name.trim(), &name);
            prop_assert!(!name.contains("  "));
            prop_assert_eq!(safe_name(&name), name);
        }

        #[test]
        fn any_mixture_of_hostile_characters_becomes_one_line(
            text in "[\r\n\0\t ab\u{1F468}\u{200D}\u{200C}\u{202E}\u{303}\u{FE0F}\u{1F3FB}\u{212A}\u{3A9}]{0,200}"
        ) {
            let name = safe_name(&text);
            prop_assert!(!name.chars().any(char::is_control));
            prop_assert!(name.chars().count() <= NAME_LIMIT);
            prop_assert_eq!(safe_name(&name), name);
        }
    }
}
