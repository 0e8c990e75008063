//! A list of people as CSV: each row with what the person is to have, for an invitation or an import.

use std::collections::BTreeMap;

use super::assignments::Wishes;
use super::csv::{Lines, Mistake, Record, Table, plain, text};
use super::invite::{Coming, Invitee};
use crate::domain::names::{EmailAddress, fold};
use crate::domain::roles::Roles;
use crate::domain::text::{safe_line, safe_name};
use crate::domain::user::{ACCOUNT_ADMIN, Status};

/// A list as read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roll {
    pub people: Vec<Entry>,
    /// Columns that mean nothing here.
    pub unread: Vec<String>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The line that it begins in, from 1.
    pub at: usize,
    /// The address, else what stands where one should be.
    pub written: String,
    pub name: Option<String>,
    /// The reason says what is wrong.
    pub invitee: Result<Invitee, String>,
}

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Email,
    /// In place of an address, where there is none.
    UserName,
    GivenName,
    FamilyName,
    DisplayName,
    Role,
    Organization,
    Licenses,
    Projects,
    Language,
    Status,
}

/// The names of columns as this service and people write them; letters and digits only, folded.
const COLUMNS: [(&str, Column); 33] = [
    ("email", Column::Email),
    ("mail", Column::Email),
    ("emailaddress", Column::Email),
    ("address", Column::Email),
    ("username", Column::UserName),
    ("login", Column::UserName),
    ("userprincipalname", Column::UserName),
    ("givenname", Column::GivenName),
    ("firstname", Column::GivenName),
    ("familyname", Column::FamilyName),
    ("lastname", Column::FamilyName),
    ("surname", Column::FamilyName),
    ("displayname", Column::DisplayName),
    ("name", Column::DisplayName),
    ("fullname", Column::DisplayName),
    ("role", Column::Role),
    ("accountrole", Column::Role),
    ("organization", Column::Organization),
    ("organisation", Column::Organization),
    ("license", Column::Licenses),
    ("licenses", Column::Licenses),
    ("licence", Column::Licenses),
    ("licences", Column::Licenses),
    ("project", Column::Projects),
    ("projects", Column::Projects),
    ("projectrole", Column::Projects),
    ("projectroles", Column::Projects),
    ("projectsandroles", Column::Projects),
    ("language", Column::Language),
    ("preferredlanguage", Column::Language),
    ("locale", Column::Language),
    ("status", Column::Status),
    ("active", Column::Status),
];

const ACTIVE: [&str; 4] = ["active", "true", "yes", "enabled"];
const INACTIVE: [&str; 6] = ["inactive", "false", "no", "disabled", "suspended", "deactivated"];
const PENDING: [&str; 4] = ["pending", "invite", "invited", "new"];

/// What is shown of what is no address, in characters.
const SHOWN: usize = 120;

impl Roll {
    /// Reads at most `max` rows. A row that is wrong stays in the list, to be shown with what is wrong.
    ///
    /// # Errors
    /// A [`Mistake`] of the whole file.
    pub fn read(file: &str, reactivate: bool, roles: &Roles, max: usize) -> Result<Self, Mistake> {
        let mut lines = Lines::of(file.as_bytes());
        let mut table = Table::of(&text(lines.first()?, 1)?, lines);
        let (columns, unread) = columns(&table.columns)?;
        let mut roll = Roll { people: Vec::new(), unread };
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        while let Some(Record { at, values }) = table.next()? {
            if roll.people.len() == max {
                let what = format!("more than {max} people: split the file, and import its parts one after the other");
                return Err(Mistake { at, what });
            }
            let cells = values.map(|values| Cells::of(&columns, values));
            let mut entry = match cells {
                Ok(cells) => cells.entry(at, reactivate, roles),
                Err(what) => Entry { at, written: format!("line {at}"), name: None, invitee: Err(what) },
            };
            if let Ok(invitee) = &entry.invitee
                && let Some(first) = known.insert(invitee.address.folded().to_owned(), at)
            {
                entry.invitee = Err(format!("the same address as in line {first}"));
            }
            roll.people.push(entry);
        }
        Ok(roll)
    }

    /// Whether somebody of it becomes Account Admin, or comes in without an invitation.
    pub fn gives_power(&self) -> bool {
        let is_powerful = |invitee: &Invitee| {
            let role = invitee.wishes.account_role.as_ref();
            invitee.coming == Coming::Active || role.is_some_and(|role| fold(role) == fold(ACCOUNT_ADMIN))
        };
        self.people.iter().filter_map(|entry| entry.invitee.as_ref().ok()).any(is_powerful)
    }
}

/// What each column is, and the names of those that are none of these.
fn columns(names: &[String]) -> Result<(Vec<Option<Column>>, Vec<String>), Mistake> {
    let mut columns: Vec<Option<Column>> = Vec::new();
    let mut unread = Vec::new();
    for name in names {
        let plain = plain(name);
        let column = COLUMNS.iter().find(|(known, _)| *known == plain).map(|(_, column)| *column);
        if column.is_none() && !name.trim().is_empty() {
            unread.push(safe_line(name, SHOWN));
        }
        if column.is_some() && columns.contains(&column) {
            let what = format!("the column {:?} is there twice, by this or another name", safe_line(name, SHOWN));
            return Err(Mistake { at: 1, what });
        }
        columns.push(column);
    }
    if !columns.contains(&Some(Column::Email)) && !columns.contains(&Some(Column::UserName)) {
        let what = "the first line names the columns, and one of them has to be `email`".to_owned();
        return Err(Mistake { at: 1, what });
    }
    Ok((columns, unread))
}

/// The cells of a row; an empty one says nothing.
struct Cells(BTreeMap<Column, String>);

impl Cells {
    fn of(columns: &[Option<Column>], values: Vec<String>) -> Self {
        let named = columns.iter().zip(values).filter_map(|(column, value)| Some(((*column)?, plain_text(&value))));
        Cells(named.filter(|(_, value)| !value.is_empty()).collect())
    }

    fn get(&self, column: Column) -> Option<&str> {
        self.0.get(&column).map(String::as_str)
    }

    fn entry(&self, at: usize, reactivate: bool, roles: &Roles) -> Entry {
        let written = self.get(Column::Email).or(self.get(Column::UserName)).unwrap_or_default();
        let [given, family] = [Column::GivenName, Column::FamilyName].map(|column| self.name(column));
        let both = [given.as_deref(), family.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let name = self.name(Column::DisplayName).or(Some(both).filter(|both| !both.is_empty()));
        let shown = if written.is_empty() { format!("line {at}") } else { safe_line(written, SHOWN) };
        let invitee = EmailAddress::parse(written).map_err(|error| match written {
            "" => "there is no address in this row".to_owned(),
            _ => error.to_string(),
        });
        let invitee = invitee.and_then(|address| {
            Ok(Invitee {
                display_name: name.clone(),
                given_name: given,
                family_name: family,
                language: self.language()?,
                wishes: self.wishes(roles),
                reactivate,
                coming: self.coming()?,
                ..Invitee::of(address)
            })
        });
        Entry { at, written: shown, name, invitee }
    }

    fn name(&self, column: Column) -> Option<String> {
        self.get(column).map(safe_name).filter(|name| !name.is_empty())
    }

    fn language(&self) -> Result<Option<String>, String> {
        match self.get(Column::Language) {
            Some(tag) if !is_language_tag(tag) => {
                Err(format!("{:?} is no language tag such as de or pt-BR", safe_line(tag, SHOWN)))
            }
            tag => Ok(tag.map(str::to_owned)),
        }
    }

    fn coming(&self) -> Result<Coming, String> {
        let Some(word) = self.get(Column::Status) else { return Ok(Coming::Invited) };
        let is = |words: &[&str]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
        match (is(&PENDING), is(&ACTIVE), is(&INACTIVE)) {
            (true, ..) => Ok(Coming::Invited),
            (_, true, _) => Ok(Coming::Active),
            (.., true) => Ok(Coming::Inactive),
            _ => {
                let known = Status::ALL.map(Status::as_str).join(", ");
                Err(format!("{:?} is no status; known are {known}", safe_line(word, SHOWN)))
            }
        }
    }

    fn wishes(&self, roles: &Roles) -> Wishes {
        let list = |column| self.get(column).map(|cell| items(cell).map(str::to_owned).collect());
        // A name may have a colon in it: what follows the last one is a role when there is such a one.
        let project = |item: &str| match item.rsplit_once(':') {
            Some((project, role)) if roles.project_role(role.trim()).is_ok() => {
                (project.trim().to_owned(), Some(role.trim().to_owned()))
            }
            Some(_) | None => (item.to_owned(), None),
        };
        Wishes {
            account_role: self.get(Column::Role).map(str::to_owned),
            organization: self.get(Column::Organization).map(|name| Some(name.to_owned())),
            licenses: list(Column::Licenses),
            projects: self.get(Column::Projects).map(|cell| items(cell).map(project).collect()),
            ..Wishes::default()
        }
    }
}

/// Several of something in one cell.
fn items(cell: &str) -> impl Iterator<Item = &str> {
    cell.split([';', '|', '\n']).map(str::trim).filter(|item| !item.is_empty())
}

/// A cell without what an export puts before a text that a spreadsheet would take for a formula.
fn plain_text(cell: &str) -> String {
    let text = cell.trim();
    let guarded = text.strip_prefix('\'').filter(|rest| rest.starts_with(['=', '+', '-', '@']));
    guarded.unwrap_or(text).to_owned()
}

/// Whether it has the form of a language tag (RFC 5646 §2.1). The longest that anybody registered is shorter (§4.4.1).
pub fn is_language_tag(text: &str) -> bool {
    const MAX_LANGUAGE: usize = 35;
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric());
    text.len() <= MAX_LANGUAGE && text.split('-').all(is_part)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(file: &str) -> Roll {
        Roll::read(file, false, &Roles::builtin(), 500).unwrap()
    }

    fn only(file: &str) -> Invitee {
        let mut roll = read(file);
        assert_eq!(roll.people.len(), 1);
        roll.people.remove(0).invitee.unwrap()
    }

    #[rstest]
    #[case::excel(
        "\u{feff}Email;Given name;Family name;Role;Projects\r\nada@x.org;Ada;Lovelace;User;Apollo:Viewer\r\n"
    )]
    #[case::copied(
        "E-mail\tFirst name\tLast name\tAccount role\tProject:role\nada@x.org\tAda\tLovelace\tUser\tApollo : viewer"
    )]
    #[case::quoted("email,givenName,familyName,role,project\n\"ada@x.org\",\"Ada\",Lovelace,User,\"Apollo:Viewer\"\n")]
    fn the_same_person_in_each_form(#[case] file: &str) {
        let ada = only(file);
        assert_eq!(ada.address.as_str(), "ada@x.org");
        assert_eq!(ada.display_name.as_deref(), Some("Ada Lovelace"));
        assert_eq!((ada.given_name.as_deref(), ada.family_name.as_deref()), (Some("Ada"), Some("Lovelace")));
        assert_eq!(ada.wishes.account_role.as_deref(), Some("User"));
        let projects = ada.wishes.projects.unwrap();
        assert_eq!(projects[0].0, "Apollo");
        assert!(projects[0].1.as_ref().unwrap().eq_ignore_ascii_case("viewer"));
        assert_eq!(ada.coming, Coming::Invited);
    }

    #[test]
    fn a_cell_may_hold_several_things_and_line_breaks_and_an_empty_one_says_nothing() {
        let ada =
            only("email,name,licenses,projects,organization\na@x.org,\"Ada\nLovelace\",TestOps; KSE,\"A: B|C\",\n");
        assert_eq!(ada.wishes.licenses, Some(vec!["TestOps".to_owned(), "KSE".to_owned()]));
        assert_eq!(ada.wishes.projects, Some(vec![("A: B".to_owned(), None), ("C".to_owned(), None)]));
        assert_eq!((ada.wishes.organization, ada.wishes.account_role), (None, None));
    }

    #[rstest]
    #[case("Active", Coming::Active)]
    #[case("TRUE", Coming::Active)]
    #[case("suspended", Coming::Inactive)]
    #[case("Pending", Coming::Invited)]
    #[case("", Coming::Invited)]
    fn a_status_says_how_somebody_comes(#[case] word: &str, #[case] coming: Coming) {
        assert_eq!(only(&format!("email,status\na@x.org,{word}\n")).coming, coming);
    }

    #[rstest]
    #[case("email,status\na@x.org,perhaps\n", "\"perhaps\" is no status; known are Pending, Active, Inactive")]
    #[case("email,language\na@x.org,deutsch bitte\n", "\"deutsch bitte\" is no language tag such as de or pt-BR")]
    #[case("email,name\n,Ada\n", "there is no address in this row")]
    #[case("email,name\na@x.org\n", "1 fields, where the first line names 2 columns")]
    fn a_wrong_row_stays_with_what_is_wrong(#[case] file: &str, #[case] says: &str) {
        let roll = read(file);
        assert_eq!(roll.people[0].invitee, Err(says.to_owned()));
    }

    #[test]
    fn a_wrong_row_takes_no_other_with_it_and_an_address_is_there_once() {
        let roll = read("email,phone\na@x.org,1\nnobody,2\nA@X.org,3\nb@x.org,4\n");
        let wrong: Vec<usize> = roll.people.iter().filter(|it| it.invitee.is_err()).map(|it| it.at).collect();
        assert_eq!(wrong, [3, 4]);
        assert_eq!(roll.people[2].invitee, Err("the same address as in line 2".to_owned()));
        assert_eq!(roll.unread, ["phone"]);
    }

    #[rstest]
    #[case("", "line 1: the file is empty")]
    #[case("name,phone\nAda,1\n", "line 1: the first line names the columns, and one of them has to be `email`")]
    #[case("email,mail\na@x.org,b@x.org\n", "line 1: the column \"mail\" is there twice, by this or another name")]
    #[case("email,name\na@x.org,\"Ada\n", "line 2: a quoted field does not end")]
    fn a_wrong_file_is_refused_with_the_line(#[case] file: &str, #[case] says: &str) {
        let refused = Roll::read(file, false, &Roles::builtin(), 500).unwrap_err();
        assert_eq!(refused.to_string(), says);
    }

    #[test]
    fn more_rows_than_may_be_are_refused_with_the_line_where_it_is_too_much() {
        let refused = Roll::read("email\na@x.org\nb@x.org\nc@x.org\n", false, &Roles::builtin(), 2).unwrap_err();
        assert_eq!(refused.at, 4);
        assert!(refused.what.starts_with("more than 2 people"));
    }

    #[test]
    fn what_an_export_guards_against_formulas_reads_back_as_it_was() {
        let ada = only("email,name,organization\n'+a@x.org,'=Ada,'-X\n");
        assert_eq!(ada.address.as_str(), "+a@x.org");
        assert_eq!(ada.wishes.organization, Some(Some("-X".to_owned())));
    }

    #[rstest]
    #[case("email,role\na@x.org,account admin\n", true)]
    #[case("email,status\na@x.org,Active\n", true)]
    #[case("email,status,role\na@x.org,Inactive,User\n", false)]
    fn admins_and_people_without_an_invitation_are_power(#[case] file: &str, #[case] power: bool) {
        assert_eq!(read(file).gives_power(), power);
    }
}
