//! The forms in which values are written: spans of time, rates, sizes, addresses, names. Each is read by one function
//! from a text, whichever layer or command line it comes from; its error says which form was expected.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use lettre::message::Mailbox;
use url::Url;

use crate::domain::lifecycle::Admit;
use crate::domain::names::EmailAddress;
use crate::http::limits::Rate;

/// What was expected in place of a text, as the end of the sentence `"the text" is …`.
pub type Expected = String;

/// What provisioning a user does (lifecycle: "Policy").
pub const ADMIT: &[(&str, Admit)] = &[("invite", Admit::Invite), ("notify", Admit::Notify), ("silent", Admit::Silent)];

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Longest first; `ms` before `m` and `s`, since the first unit that fits is taken.
const UNITS: [(&str, u64); 5] = [("d", DAY), ("h", HOUR), ("ms", 1), ("m", MINUTE), ("s", SECOND)];

/// A span of time: numbers with the units `d`, `h`, `m`, `s`, `ms`, larger ones first, each at most once: `7d`,
/// `1h30m`, `250ms`. A day has 24 hours.
pub fn span(text: &str) -> Result<Duration, Expected> {
    let malformed =
        || "not a span of time: write numbers with the units d, h, m, s or ms, such as 7d, 1h30m or 250ms".to_owned();
    let mut rest = text;
    let mut millis = 0_u64;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() || last_unit == u64::MAX {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let (name, unit) = UNITS.into_iter().find(|(name, _)| tail.starts_with(name)).ok_or_else(malformed)?;
        if unit >= last_unit {
            return Err(malformed());
        }
        let number: u64 = number.parse().map_err(|_| malformed())?;
        millis = number
            .checked_mul(unit)
            .and_then(|part| millis.checked_add(part))
            .ok_or_else(|| "too long a span of time".to_owned())?;
        last_unit = unit;
        rest = &tail[name.len()..];
    }
    Ok(Duration::from_millis(millis))
}

/// A [`span`] within bounds.
pub fn span_in(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, Expected> {
    move |text| {
        let value = span(text)?;
        if range.contains(&value) {
            Ok(value)
        } else {
            Err(format!("not between {} and {}", written(*range.start()), written(*range.end())))
        }
    }
}

/// A span as [`span`] reads it, in whole milliseconds.
pub fn written(span: Duration) -> String {
    let mut millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, unit) in [("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)] {
        if millis >= unit {
            text.push_str(&format!("{}{name}", millis / unit));
            millis %= unit;
        }
    }
    text
}

/// `1000/s`, `60/m`, `5/h`, `50/d`, each optionally with `burst 2000` (default: the count); `off` is `None`.
pub fn rate(text: &str) -> Result<Option<Rate>, Expected> {
    if text == "off" {
        return Ok(None);
    }
    let malformed = || "not a rate: write 1000/s, 60/m, 5/h or 50/d, \"1000/s burst 2000\", or off".to_owned();
    let (rate, burst) = match text.split_once(" burst ") {
        Some((rate, burst)) => (rate.trim(), Some(burst.trim())),
        None => (text, None),
    };
    let (count, per) = rate.split_once('/').ok_or_else(malformed)?;
    let number = |text: &str| text.parse::<NonZeroU32>().map_err(|_| malformed());
    let count = number(count)?;
    let per = match per {
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => return Err(malformed()),
    };
    let burst = burst.map(number).transpose()?.unwrap_or(count);
    Ok(Some(Rate { count, per: Duration::from_millis(per), burst }))
}

/// A size in bytes: `16MiB` (powers of 1024), `8kB` (powers of 1000), `512B`, or a bare number of bytes.
pub fn size(text: &str) -> Result<usize, Expected> {
    let malformed = || "not a size: write a number with B, kB, KiB, MB, MiB, GB or GiB, such as 16MiB".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit.trim_start() {
        "" | "B" => 1,
        "kB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return Err(malformed()),
    };
    let number: usize = number.parse().map_err(|_| malformed())?;
    number.checked_mul(unit).ok_or_else(|| "more bytes than this machine can address".to_owned())
}

/// A [`size`] within bounds.
pub fn size_in(range: RangeInclusive<usize>, bounds: &'static str) -> impl Fn(&str) -> Result<usize, Expected> {
    move |text| {
        let value = size(text)?;
        if range.contains(&value) { Ok(value) } else { Err(format!("not between {bounds}")) }
    }
}

/// A whole number within bounds.
pub fn count<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, Expected>
where
    N: FromStr + PartialOrd + fmt::Display,
{
    move |text| match text.parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err(format!("not a whole number between {} and {}", range.start(), range.end())),
    }
}

pub fn switch(text: &str) -> Result<bool, Expected> {
    match text {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("not a switch: write true or false".to_owned()),
    }
}

/// One of a closed set of words.
pub fn word<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> impl Fn(&str) -> Result<T, Expected> {
    move |text| match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            Err(format!("none of {}", words.join(", ")))
        }
    }
}

/// Any text that is not blank, trimmed.
pub fn text(text: &str) -> Result<String, Expected> {
    let trimmed = text.trim();
    if trimmed.is_empty() { Err("empty".to_owned()) } else { Ok(trimmed.to_owned()) }
}

pub fn path(text: &str) -> Result<PathBuf, Expected> {
    if text.is_empty() { Err("empty: write a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// An IP address with a port to listen on; port 0 lets the system choose.
pub fn listen(text: &str) -> Result<SocketAddr, Expected> {
    text.parse().map_err(|_| {
        "not an IP address with a port: write 127.0.0.1:8080 for this machine only, 0.0.0.0:8080 or [::]:8080 for all \
         interfaces"
            .to_owned()
    })
}

/// An address range, `10.0.0.0/8`, or one address.
pub fn network(text: &str) -> Result<IpNet, Expected> {
    let single = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
    text.parse()
        .ok()
        .or_else(single)
        .ok_or_else(|| "not an address range: write 10.0.0.0/8, fd00::/8 or a single address".to_owned())
}

/// An `http` or `https` URL with a host.
pub fn web_url(text: &str) -> Result<Url, Expected> {
    let malformed = || "not a web address: write https://host/path".to_owned();
    let url = Url::parse(text).map_err(|_| malformed())?;
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !web {
        return Err(malformed());
    }
    if url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err("a web address with a password in it: leave that out".to_owned())
    }
}

/// A host name or address as it stands in a `Host` header, with a port if it is not the usual one.
pub fn host(text: &str) -> Result<String, Expected> {
    let malformed = || "not a host name: write login.example.com or login.example.com:8443".to_owned();
    let url = Url::parse(&format!("http://{text}/")).map_err(|_| malformed())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let host = url.host_str().filter(|_| bare && !text.contains(['/', '*', ' '])).ok_or_else(malformed)?;
    Ok(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// The part of an address behind the @, in lower case and ASCII form.
pub fn mail_domain(text: &str) -> Result<String, Expected> {
    match EmailAddress::parse(&format!("someone@{text}")) {
        Ok(address) => Ok(address.domain().to_owned()),
        Err(_) => Err("not a mail domain: write example.com".to_owned()),
    }
}

pub fn mail_address(text: &str) -> Result<EmailAddress, Expected> {
    EmailAddress::parse(text).map_err(|error| format!("not a mail address such as somebody@example.com: {error}"))
}

/// Whatever a layer reads by itself.
pub fn parsed<T>(text: &str) -> Result<T, Expected>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// An address with an optional name: `usherd <no-reply@example.com>`.
pub fn mailbox(text: &str) -> Result<Mailbox, Expected> {
    // The mail library takes control characters in a name and panics when it writes the header.
    let clean = Some(text).filter(|text| !text.contains(char::is_control));
    clean
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| "not a mail address: write \"usherd <no-reply@example.com>\" or no-reply@example.com".to_owned())
}

/// A zone of the IANA time zone database, which is compiled in.
pub fn time_zone(text: &str) -> Result<TimeZone, Expected> {
    TimeZone::get(text).map_err(|_| "not a time zone: write an IANA name such as Europe/Berlin, or UTC".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("7d", 604_800_000)]
    #[case("15m", 900_000)]
    #[case("1h30m", 5_400_000)]
    #[case("45s", 45_000)]
    #[case("250ms", 250)]
    #[case("1s250ms", 1_250)]
    #[case("0s", 0)]
    fn a_span_is_a_sum_of_numbers_with_units(#[case] text: &str, #[case] millis: u64) {
        assert_eq!(span(text), Ok(Duration::from_millis(millis)));
    }

    #[rstest]
    #[case("")]
    #[case("30")]
    #[case("s")]
    #[case("1.5h")]
    #[case("-1s")]
    #[case("30m1h")]
    #[case("1h1h")]
    #[case("1 h")]
    #[case("1w")]
    #[case("7D")]
    #[case("99999999999999999999d")]
    #[case("213503982335d")]
    fn a_span_without_unit_or_in_another_order_is_refused(#[case] text: &str) {
        assert!(span(text).is_err());
    }

    proptest! {
        #[test]
        fn a_written_span_is_read_as_the_same_span(millis in 0..100_u64 * 365 * DAY) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(span(&written(value)), Ok(value));
        }

        #[test]
        fn no_text_panics_a_reader(input in "\\PC*") {
            let _: [bool; 8] = [
                span(&input).is_ok(), rate(&input).is_ok(), size(&input).is_ok(), host(&input).is_ok(),
                mailbox(&input).is_ok(), time_zone(&input).is_ok(), network(&input).is_ok(), web_url(&input).is_ok(),
            ];
        }
    }

    #[test]
    fn a_rate_is_a_count_per_unit_with_an_optional_burst() {
        let bucket = |count, per, burst| {
            let number = |n| NonZeroU32::new(n).unwrap();
            Ok(Some(Rate { count: number(count), per: Duration::from_secs(per), burst: number(burst) }))
        };
        assert_eq!(rate("1000/s burst 2000"), bucket(1000, 1, 2000));
        assert_eq!(rate("60/m"), bucket(60, 60, 60));
        assert_eq!(rate("5/h"), bucket(5, 3_600, 5));
        assert_eq!(rate("50/d"), bucket(50, 86_400, 50));
        assert_eq!(rate("off"), Ok(None));
        for wrong in ["", "1000", "0/s", "10/w", "10/s burst", "10/s burst 0", "10/s, burst 20", "-1/s", "Off"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_counts_bytes() {
        for (text, bytes) in [
            ("16MiB", 16_777_216),
            ("8kB", 8_000),
            ("4KiB", 4_096),
            ("512", 512),
            ("512 B", 512),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "MiB", "16mib", "16M", "1.5MiB", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_and_domains_are_folded_to_lower_case() {
        assert_eq!(host("Login.Example.com:8443").as_deref(), Ok("login.example.com:8443"));
        assert_eq!(host("[::1]").as_deref(), Ok("[::1]"));
        assert_eq!(mail_domain("Example.COM").as_deref(), Ok("example.com"));
        for wrong in ["", "https://example.com", "a/b", "user@host", "*.example.com", "a b"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mailbox_may_have_a_name_but_no_line_break() {
        assert_eq!(mailbox("usherd <no-reply@localhost>").unwrap().name.as_deref(), Some("usherd"));
        assert_eq!(mailbox("no-reply@example.com").unwrap().name, None);
        for wrong in ["", "nobody", "usherd <no-reply>", "a\r\nb <x@example.com>"] {
            assert!(mailbox(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_single_address_is_a_range_of_its_own() {
        assert_eq!(network("10.1.2.3"), Ok("10.1.2.3/32".parse().unwrap()));
        assert_eq!(network("fd00::/8"), Ok("fd00::/8".parse().unwrap()));
        assert!(network("10.0.0.0/33").is_err());
    }
}
