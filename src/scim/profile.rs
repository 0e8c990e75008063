//! Profiles: named sets of tolerances, chosen per provisioning token.
//!
//! A tolerance is a deviation from RFC 7643/7644 that some identity provider is known to send. The engine asks for it
//! at exactly one place each, and reports every one that it applied, so that an administrator can see what a client
//! gets away with.

use std::collections::BTreeSet;
use std::fmt;

use super::filter::FilterBounds;

macro_rules! tolerances {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// One deviation that a profile accepts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Tolerance { $($(#[doc = $doc])* $variant,)* }

        impl Tolerance {
            pub const ALL: &'static [Tolerance] = &[$(Tolerance::$variant,)*];

            /// The name in logs and in configuration.
            pub const fn name(self) -> &'static str {
                match self { $(Tolerance::$variant => $name,)* }
            }

            /// What it lets pass, in words: what stands above it here.
            pub const fn meaning(self) -> &'static str {
                match self { $(Tolerance::$variant => concat!($($doc,)*),)* }
            }
        }
    };
}

tolerances! {
    /// `"op": "Add"` (Entra ID's default client).
    OperatorCase = "operator-case",
    /// `"active": "False"` (Entra ID's default client).
    BooleanStrings = "boolean-strings",
    /// `"42"` for a number.
    NumberStrings = "number-strings",
    /// A number or a boolean for a string: `"employeeNumber": 701984`.
    ScalarAsString = "scalar-as-string",
    /// A date without a time for a dateTime: it is read as midnight UTC.
    DateOnly = "date-only",
    /// `{"name.givenName": "K", "urn:…:User:employeeNumber": "A"}` in a body or a PATCH value without path.
    DottedKeys = "dotted-keys",
    /// An attribute of an extension beside the core ones: `"manager": null` (Entra ID).
    UnqualifiedExtension = "unqualified-extension",
    /// `add` to `emails[type eq "work"].value` without a work address creates one.
    AddCreatesElement = "add-creates-element",
    /// The same for `replace`, which the RFC answers with `noTarget` (Entra ID).
    ReplaceCreatesElement = "replace-creates-element",
    /// `replace` of `emails[type eq "work"]` by a value without `type` keeps the type that selected it.
    SelectorKept = "selector-kept",
    /// `remove` of `members` with the list of those to remove in `value` (Entra ID, JumpCloud, authentik).
    RemoveWithValues = "remove-with-values",
    /// `remove` with a filter that matches nothing succeeds.
    RemoveWithoutMatch = "remove-without-match",
    /// `"manager": "271"` for `{"value": "271"}` (Entra ID).
    ScalarForComplex = "scalar-for-complex",
    /// One object or value where a list is due: `"emails": {…}` (OneLogin).
    SingleForList = "single-for-list",
    /// A list of one, or `[{"value": …}]`, where one value is due.
    ListForSingle = "list-for-single",
    /// An empty string unassigns an attribute, as `null` does.
    EmptyClears = "empty-clears",
    /// Read-only attributes in the value of a PATCH are dropped (Okta sends `id` with every group name).
    ReadOnlyIgnored = "read-only-ignored",
    /// A body or PATCH without `schemas`, or without the right one in it.
    MissingSchemas = "missing-schemas",
    /// URNs that this server does not know, in `schemas` and as keys.
    ForeignSchemas = "foreign-schemas",
    /// Attributes that the schema does not know are ignored and counted.
    UnknownAttributes = "unknown-attributes",
    /// A filter on an attribute that the type does not have finds no value there (RFC 7644 §3.4.2.1).
    UnknownFilterAttributes = "unknown-filter-attributes",
    /// `password` is dropped: people do not sign in here.
    PasswordDropped = "password-dropped",
    /// `externalId eq jyoung` (Entra ID's documentation).
    UnquotedFilterValues = "unquoted-filter-values",
    /// `userName eq 'x'`.
    SingleQuotedFilterValues = "single-quoted-filter-values",
    /// `emails[type eq "work"].value eq "x"`, which the grammar lacks (Entra ID).
    ValuePathComparison = "value-path-comparison",
    /// A PATCH with no operation changes nothing (Entra ID's validator).
    EmptyOperations = "empty-operations",
    /// An operation without `path`, which the RFC allows and the interoperability profile forbids.
    PathlessOperations = "pathless-operations",
    /// `replace` of a complex attribute leaves alone what its value does not name (RFC 7644 §3.5.2.3); the
    /// interoperability profile replaces all of it.
    ReplaceMerges = "replace-merges",
    /// A filter in a path may select several values.
    SeveralMatches = "several-matches",
    /// A path may end behind its brackets: `emails[type eq "work"]`.
    WholeValuePaths = "whole-value-paths",
    /// A value that is JSON inside a string (Entra ID's app role assignments).
    JsonInString = "json-in-string",
    /// A trailing or doubled slash in the URL.
    SloppyUrls = "sloppy-urls",
    /// A group PATCH is answered with 204 (Entra ID prefers it).
    GroupPatchNoContent = "group-patch-no-content",
    /// A PUT that omits `active`, `externalId` or every address leaves them alone.
    OmittedStays = "omitted-stays",
    /// `roles` sets the account role.
    RolesAsAccountRole = "roles-as-account-role",
    /// `entitlements` sets licenses.
    EntitlementsAsLicenses = "entitlements-as-licenses",
    /// The enterprise `organization` sets the organization, by name.
    OrganizationByName = "organization-by-name",
    /// `active` is echoed as the provider asserted it (Okta would loop otherwise).
    AssertedActive = "asserted-active",
}

impl Tolerance {
    const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// The tolerance of this name in configuration.
    pub fn named(name: &str) -> Option<Tolerance> {
        Self::ALL.iter().copied().find(|tolerance| tolerance.name() == name)
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The tolerances that a request needed.
pub type Applied = BTreeSet<Tolerance>;

/// A named set of tolerances, and how large a filter it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    name: &'static str,
    tolerances: u64,
    filter: FilterBounds,
}

const fn set(tolerances: &[Tolerance]) -> u64 {
    let mut bits = 0;
    let mut i = 0;
    while i < tolerances.len() {
        bits |= tolerances[i].bit();
        i += 1;
    }
    bits
}

/// What RFC 7644 itself grants, or (for a removal without match) says both ways: its member example succeeds, its
/// Table 9 has `noTarget`.
const RFC: u64 = set(&[
    Tolerance::PathlessOperations,
    Tolerance::ReplaceMerges,
    Tolerance::SeveralMatches,
    Tolerance::WholeValuePaths,
    Tolerance::UnknownFilterAttributes,
    Tolerance::RemoveWithoutMatch,
]);

/// Not in `lenient`, because each changes what a request means rather than how it is written.
const OPT_IN: u64 = set(&[
    Tolerance::ReplaceCreatesElement,
    Tolerance::GroupPatchNoContent,
    Tolerance::RolesAsAccountRole,
    Tolerance::EntitlementsAsLicenses,
    Tolerance::OrganizationByName,
    Tolerance::AssertedActive,
]);

const LENIENT: u64 = set(Tolerance::ALL) & !OPT_IN;
const MAPPED: u64 =
    set(&[Tolerance::RolesAsAccountRole, Tolerance::EntitlementsAsLicenses, Tolerance::OrganizationByName]);

impl Profile {
    /// The default: everything that a known client gets wrong without ambiguity.
    pub const LENIENT: Profile = Profile::of("lenient", LENIENT);
    pub const RFC_STRICT: Profile = Profile::of("rfc-strict", RFC);
    /// draft-zollner-scim-interop-profile.
    pub const INTEROP: Profile = Profile::of(
        "interop",
        set(&[
            Tolerance::OperatorCase,
            Tolerance::PasswordDropped,
            Tolerance::RemoveWithoutMatch,
            Tolerance::AddCreatesElement,
            Tolerance::SelectorKept,
            Tolerance::OmittedStays,
        ]),
    );
    pub const ENTRA: Profile = Profile::of(
        "entra",
        LENIENT | MAPPED | set(&[Tolerance::ReplaceCreatesElement, Tolerance::GroupPatchNoContent]),
    );
    pub const OKTA: Profile = Profile::of("okta", LENIENT | MAPPED | set(&[Tolerance::AssertedActive]));

    pub const ALL: [Profile; 5] = [Self::LENIENT, Self::RFC_STRICT, Self::INTEROP, Self::ENTRA, Self::OKTA];

    const fn of(name: &'static str, tolerances: u64) -> Profile {
        Profile { name, tolerances, filter: FilterBounds::DEFAULT }
    }

    pub fn named(name: &str) -> Option<Profile> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whom it is for, for the help of a command and for a form.
    pub fn meaning(&self) -> &'static str {
        match self.name {
            "okta" => "For Okta",
            "entra" => "For Microsoft Entra ID",
            "interop" => "The draft interoperability profile",
            "rfc-strict" => "The letter of RFC 7643 and RFC 7644, for a client under development",
            // `lenient`; a profile is one of `ALL`.
            _ => "Takes what real clients send; for all others",
        }
    }

    pub const fn tolerates(&self, tolerance: Tolerance) -> bool {
        self.tolerances & tolerance.bit() != 0
    }

    /// As [`Profile::tolerates`], and notes in `applied` that it was needed.
    pub fn applies(&self, tolerance: Tolerance, applied: &mut Applied) -> bool {
        let tolerated = self.tolerates(tolerance);
        if tolerated {
            applied.insert(tolerance);
        }
        tolerated
    }

    /// The same profile with one switch set otherwise.
    #[must_use]
    pub const fn with(self, tolerance: Tolerance, on: bool) -> Profile {
        let tolerances = if on { self.tolerances | tolerance.bit() } else { self.tolerances & !tolerance.bit() };
        Profile { tolerances, ..self }
    }

    pub const fn filter_bounds(&self) -> FilterBounds {
        self.filter
    }

    /// The same profile with filters as large as this.
    #[must_use]
    pub const fn with_filters(self, filter: FilterBounds) -> Profile {
        Profile { filter, ..self }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Profile::LENIENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tolerance_has_its_own_bit_and_name() {
        assert!(Tolerance::ALL.len() <= 64);
        for (i, tolerance) in Tolerance::ALL.iter().enumerate() {
            assert_eq!(*tolerance as usize, i);
            assert_eq!(Tolerance::named(tolerance.name()), Some(*tolerance));
            assert!(tolerance.meaning().trim().ends_with('.'), "{}", tolerance.meaning());
        }
    }

    #[test]
    fn profiles_differ_where_the_decisions_say_so() {
        let tolerates = |name: &str, tolerance| Profile::named(name).map(|profile| profile.tolerates(tolerance));
        assert_eq!(tolerates("entra", Tolerance::ReplaceCreatesElement), Some(true));
        assert_eq!(tolerates("lenient", Tolerance::ReplaceCreatesElement), Some(false));
        assert_eq!(tolerates("lenient", Tolerance::AddCreatesElement), Some(true));
        assert_eq!(tolerates("rfc-strict", Tolerance::UnknownAttributes), Some(false));
        assert_eq!(tolerates("interop", Tolerance::UnknownAttributes), Some(false));
        assert_eq!(tolerates("interop", Tolerance::PathlessOperations), Some(false));
        assert_eq!(tolerates("rfc-strict", Tolerance::PathlessOperations), Some(true));
        assert_eq!(tolerates("okta", Tolerance::AssertedActive), Some(true));
        assert_eq!(tolerates("entra", Tolerance::OrganizationByName), Some(true));
        assert_eq!(tolerates("lenient", Tolerance::RolesAsAccountRole), Some(false));
        assert_eq!(tolerates("rfc-strict", Tolerance::OmittedStays), Some(false));
        assert_eq!(Profile::named("Lenient"), None);
        assert_eq!(Profile::default().name(), "lenient");
    }

    #[test]
    fn one_switch_can_be_set_otherwise() {
        let profile = Profile::OKTA.with(Tolerance::RolesAsAccountRole, false);
        assert!(!profile.tolerates(Tolerance::RolesAsAccountRole));
        assert!(profile.tolerates(Tolerance::OrganizationByName));
    }
}
