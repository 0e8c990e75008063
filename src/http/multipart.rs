//! Forms with files: `multipart/form-data` (RFC 7578), as browsers write it (HTML, "multipart/form-data encoding
//! algorithm"). Small enough to be held in memory, since the guard of the edge bounds the body.

/// The boundary that a content type names; `None` for any other form.
pub fn boundary(content_type: &str) -> Option<&str> {
    let mut parts = content_type.split(';').map(str::trim);
    parts.next().filter(|kind| kind.eq_ignore_ascii_case("multipart/form-data"))?;
    let boundary = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    // RFC 2046 §5.1.1.
    Some(boundary.trim_matches('"')).filter(|boundary| (1..=70).contains(&boundary.len()))
}

/// The parts with their names, in their order. What is no UTF-8 gets replacement characters. A part that does not end is
/// none.
pub fn parts(body: &[u8], boundary: &str) -> Vec<(String, String)> {
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = delimiter.as_bytes();
    // The first one may stand at the very beginning, without a line before it.
    let Some(begin) = find(body, &delimiter[2..]) else { return Vec::new() };
    let mut rest = &body[begin + delimiter.len() - 2..];
    let mut parts = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let Some(end) = find(part, delimiter) else { break };
        parts.extend(read(&part[..end]));
        rest = &part[end + delimiter.len()..];
    }
    parts
}

fn find(text: &[u8], sought: &[u8]) -> Option<usize> {
    text.windows(sought.len()).position(|window| window == sought)
}

fn read(part: &[u8]) -> Option<(String, String)> {
    let end = find(part, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&part[..end]);
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, disposition) = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    let (_, from_name) = disposition.split_once(" name=\"")?;
    // Browsers write a quotation mark within a name as %22.
    let (name, _) = from_name.split_once('"')?;
    Some((name.to_owned(), String::from_utf8_lossy(&part[end + 4..]).into_owned()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const BODY: &[u8] = b"--X\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nabc\r\n--X\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"people.csv\"\r\nContent-Type: text/csv\r\n\r\n\
        email\r\n\"a\r\n--b\"\r\n\r\n--X\r\nContent-Disposition: form-data; name=\"list\"\r\n\r\n\r\n--X--\r\n";

    #[test]
    fn each_part_has_its_name_and_its_octets_as_they_are() {
        let expected = [("csrf", "abc"), ("file", "email\r\n\"a\r\n--b\"\r\n"), ("list", "")];
        assert_eq!(parts(BODY, "X"), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[rstest]
    #[case::cut_off(&BODY[..58])]
    #[case::empty(b"")]
    #[case::another_boundary(b"--Y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--Y--\r\n")]
    #[case::without_a_name(b"--X\r\nContent-Disposition: form-data\r\n\r\nb\r\n--X--\r\n")]
    #[case::without_a_head(b"--X\r\nb\r\n--X--\r\n")]
    fn what_is_none_is_left_out(#[case] body: &[u8]) {
        assert_eq!(parts(body, "X"), []);
    }

    #[rstest]
    #[case("multipart/form-data; boundary=----WebKitFormBoundaryA1", Some("----WebKitFormBoundaryA1"))]
    #[case("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", Some("a b"))]
    #[case("multipart/form-data", None)]
    #[case("multipart/form-data; boundary=", None)]
    #[case("application/x-www-form-urlencoded", None)]
    #[case("", None)]
    fn a_boundary_is_named_by_the_content_type(#[case] kind: &str, #[case] expected: Option<&str>) {
        assert_eq!(boundary(kind), expected);
    }
}
