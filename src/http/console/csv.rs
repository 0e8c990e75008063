//! Lines of a CSV file (RFC 4180) that no spreadsheet takes for a formula.

/// One line, with its end.
pub(super) fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.into_iter().map(cell).collect();
    cells.join(",") + "\r\n"
}

/// A cell that begins like a formula gets an apostrophe, which spreadsheets show as text.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_begins_like_a_formula_is_text_and_separators_are_quoted() {
        let cells = ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "a,b", "say \"hi\"", "plain", ""];
        let expected = "'=1+1,'+1,'-1,'@sum,'\tx,\"'\rx\",\"a,b\",\"say \"\"hi\"\"\",plain,\r\n";
        assert_eq!(line(cells), expected);
    }
}
