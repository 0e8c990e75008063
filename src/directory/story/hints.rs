//! What to do about a refused request, in words for the admin of an identity provider. A class of error has one entry;
//! a new class is a line of data.

use super::Line;

/// What an admin reads beside a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// The class of the error, a `scimType`, or a status.
    cause: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to change in Okta, in Entra ID, and wherever else (also: here in usherd).
    pub okta: &'static str,
    pub entra: &'static str,
    pub elsewhere: &'static str,
}

/// The hint of a refused request: by its cause, else by its status.
pub fn hint_for(line: &Line) -> Option<&'static Hint> {
    let cause = line.refused.as_ref().map_or("", |refused| refused.cause.as_str());
    let status = line.status.to_string();
    let known = |name: &str| HINTS.iter().find(|hint| hint.cause == name);
    if line.is_refused() { known(cause).or_else(|| known(&status)).or_else(|| known("other")) } else { None }
}

const HINTS: &[Hint] = &[
    Hint {
        cause: "token_not_alive",
        meaning: "The token was revoked or has expired, so nothing that this client sends arrives any more.",
        okta: "Make a token here (or rotate the client's), then in Okta open the application > Provisioning > \
               Integration > Edit, replace the API token, Test Connector Configuration, Save.",
        entra: "Make a token here, then in Entra open the enterprise application > Provisioning > Admin Credentials, \
                replace the Secret Token, Test Connection, Save, and restart provisioning when it is in quarantine.",
        elsewhere: "Put a new token into the client. Rotate before the old one expires: both work during the overlap.",
    },
    Hint {
        cause: "missing_scope",
        meaning: "The token works, but it may not do this.",
        okta: "Make a token with the missing scope here and put it into the application. To push no groups instead, \
               turn Push Groups off in Okta.",
        entra: "Make a token with the missing scope here and put it into Admin Credentials; or turn off the mapping \
                (Provision Microsoft Entra ID Groups) that needs it.",
        elsewhere: "Scopes belong to a token and never change: make another one and revoke this one.",
    },
    Hint {
        cause: "already_exists",
        meaning: "Somebody with this userName is here already and is managed by an identity provider. The client should \
                  have looked the person up by userName first.",
        okta: "Import the user from the application (Import > Import Now) and confirm the match, or run Force Sync, so \
               that Okta links the existing account.",
        entra: "Check that userName is a matching attribute with precedence 1 in the user mapping, then provision the \
                person on demand.",
        elsewhere: "Let the client look up `userName eq \"…\"` before it creates. When another client manages the \
                    person, its name stands on their page.",
    },
    Hint {
        cause: "managed_by_another_client",
        meaning: "Another client manages this person. Two providers that write to one person would undo each other.",
        okta: "Unassign the person in one of the two applications. When you move from one provider to another, give this \
               client a token with the scope users:takeover.",
        entra: "Take the person out of the scope of one of the two. When you move from one provider to another, give \
                this client a token with the scope users:takeover.",
        elsewhere: "Or release the person from the identity provider on their page here.",
    },
    Hint {
        cause: "deactivated_by_admin",
        meaning: "An Account Admin deactivated this person here, and an identity provider cannot lift that.",
        okta: "Nothing to change in Okta: an Account Admin sends a new invitation from the person's page here; then let \
               Okta retry the task (Dashboard > Tasks).",
        entra: "Nothing to change in Entra: an Account Admin sends a new invitation from the person's page here; the \
                next cycle succeeds.",
        elsewhere: "Resend the invitation on the person's page.",
    },
    Hint {
        cause: "account_admin_protected",
        meaning: "The person is an Account Admin, and this token may not take over people with that role.",
        okta: "Give the client a token with the scope roles:write, or leave the person unmanaged.",
        entra: "Give the client a token with the scope roles:write, or leave the person out of scope.",
        elsewhere: "Or change the person's account role here first.",
    },
    Hint {
        cause: "brake_engaged",
        meaning: "So many people would have lost access at once that the brake holds further deactivations of this \
                  client.",
        okta: "Check in Okta whether an assignment or a group rule was removed by mistake. When it was meant, resume here.",
        entra: "Check the scoping filter and the assigned groups in Entra. When it was meant, resume here.",
        elsewhere: "An Account Admin resumes the brake on the Provisioning page, or with `usherd brake resume`.",
    },
    Hint {
        cause: "client_paused",
        meaning: "An Account Admin paused this client: its changes wait, reading goes on.",
        okta: "Nothing to change in Okta. Resume the client here; Okta repeats failed tasks on request (Dashboard > Tasks).",
        entra: "Nothing to change in Entra. Resume the client here; the next cycle repeats what failed.",
        elsewhere: "Resume it on the Provisioning page.",
    },
    Hint {
        cause: "last_account_admin",
        meaning: "The person is the last Active Account Admin, who cannot be shut out.",
        okta: "Give somebody else the role Account Admin here before the person is unassigned.",
        entra: "Give somebody else the role Account Admin here before the person leaves the scope.",
        elsewhere: "The role is changed on a person's page.",
    },
    Hint {
        cause: "taken",
        meaning: "Another resource has this value already: an externalId, an e-mail or a name that has to be unique.",
        okta: "Look for two Okta users with the same e-mail, or an old application that is still assigned. Search this \
               page for the value.",
        entra: "Look for two users with the same mail or objectId mapping. Search this page for the value.",
        elsewhere: "Search the directory for the value; change or release the one that has it.",
    },
    Hint {
        cause: "not_found",
        meaning: "What the client asked for by id is not here: deleted, or never created.",
        okta: "In Okta unassign the person and assign them again, so that Okta looks them up anew.",
        entra: "Entra keeps ids of its own: provision the person on demand, or use Restart provisioning, which makes it \
                look everybody up again.",
        elsewhere: "An id that was deleted never comes back. Let the client look up by userName.",
    },
    Hint {
        cause: "version_mismatch",
        meaning: "The client asked to change a version of the resource that is not the current one.",
        okta: "Okta sends no versions; whoever sends If-Match must read again and repeat.",
        entra: "Entra sends no versions; whoever sends If-Match must read again and repeat.",
        elsewhere: "Read the resource again and repeat the change.",
    },
    Hint {
        cause: "throttled",
        meaning: "The client sends faster than one token may (limits.scim). It is asked to wait a moment.",
        okta: "Nothing to change: Okta waits and repeats. For an import that matters, raise limits.scim.",
        entra: "Nothing to change: Entra waits and repeats. For a first cycle that matters, raise limits.scim.",
        elsewhere: "Obey Retry-After.",
    },
    Hint {
        cause: "unavailable",
        meaning: "usherd could not reach its store in time. Repeating the request is safe.",
        okta: "Nothing to change: retry the task in Okta (Dashboard > Tasks).",
        entra: "Nothing to change: the next cycle repeats it.",
        elsewhere: "Whoever runs usherd looks at /readyz and at the log, by the request id.",
    },
    Hint {
        cause: "unanswered",
        meaning: "The client hung up, or the request took longer than it may.",
        okta: "Okta waits for 60 s. When this comes often, look at the network between Okta and usherd.",
        entra: "When this comes often, look at the network and at the proxy in front of usherd.",
        elsewhere: "Whoever runs usherd looks at the log, by the request id.",
    },
    Hint {
        cause: "invalidFilter",
        meaning: "The client looked for somebody with a filter that cannot be read.",
        okta: "Check the unique identifier field of the SCIM connection: it should be userName.",
        entra: "Check the matching attributes of the mapping: userName, externalId or emails[type eq \"work\"].value. A \
                token with the profile entra reads what Entra sends.",
        elsewhere: "Choose the profile lenient for the token, which reads unquoted and single-quoted values.",
    },
    Hint {
        cause: "tooMany",
        meaning: "The filter would have to look at too many people; no index answers it.",
        okta: "Match by userName.",
        entra: "Match by userName, externalId or the work e-mail.",
        elsewhere: "Filter by userName, externalId, id or an e-mail.",
    },
    Hint {
        cause: "invalidSyntax",
        meaning: "The body is not what SCIM expects, or names an attribute that is not in the schemas.",
        okta: "Remove the unknown attribute from the mappings (Provisioning > To App), or make a token with the profile \
               okta, which ignores it.",
        entra: "Remove the unknown attribute from Attribute Mapping, or make a token with the profile entra, which ignores \
                it.",
        elsewhere: "Make a token with the profile lenient. rfc-strict and interop refuse what they do not know.",
    },
    Hint {
        cause: "invalidPath",
        meaning: "A PATCH names a place that the schemas do not have.",
        okta: "Compare the external name and namespace of the attribute in the profile editor with /scim/v2/Schemas.",
        entra: "Compare the target attribute in Attribute Mapping with /scim/v2/Schemas.",
        elsewhere: "The paths are listed at /scim/v2/Schemas.",
    },
    Hint {
        cause: "noTarget",
        meaning: "A PATCH replaces an element that is not there, such as a work e-mail of somebody who has none.",
        okta: "Make a token with the profile okta or lenient and let Okta send the whole profile (Force Sync).",
        entra: "Make a token with the profile entra: with it, replacing creates the element, as Entra expects.",
        elsewhere: "Send `add` instead of `replace`, or choose the profile entra.",
    },
    Hint {
        cause: "mutability",
        meaning: "The client tries to change what only usherd sets.",
        okta: "Remove the attribute from the mappings (Provisioning > To App).",
        entra: "Remove the attribute from Attribute Mapping.",
        elsewhere: "Attributes that are read-only are marked so in /scim/v2/Schemas.",
    },
    Hint {
        cause: "invalidValue",
        meaning: "A value is missing or not of the kind that the attribute takes. The answer names the attribute.",
        okta: "Correct the person's profile in Okta, or the mapping of the named attribute (Provisioning > To App), then \
               retry the task.",
        entra: "Correct the person's attribute in Entra, or its mapping, then provision the person on demand.",
        elsewhere: "Correct the named value at its source.",
    },
    Hint {
        cause: "400",
        meaning: "The request could not be read. The answer says where.",
        okta: "Compare the body below with the answer; the mapping of the named attribute is in Provisioning > To App.",
        entra: "Compare the body below with the answer; the mapping is in Attribute Mapping.",
        elsewhere: "Compare the body below with the answer.",
    },
    Hint {
        cause: "404",
        meaning: "The address is not one of SCIM's, so the base URL in the client is probably wrong.",
        okta: "Copy the SCIM base URL from the Provisioning page into SCIM connector base URL, without /Users.",
        entra: "Copy the SCIM base URL from the Provisioning page into Tenant URL.",
        elsewhere: "The base URL ends with /scim/v2.",
    },
    Hint {
        cause: "405",
        meaning: "The client used a method that this address does not take.",
        okta: "Check the base URL: it ends with /scim/v2.",
        entra: "Check the Tenant URL: it ends with /scim/v2.",
        elsewhere: "The answer lists the methods that are allowed.",
    },
    Hint {
        cause: "415",
        meaning: "The body was not sent as JSON.",
        okta: "Okta sends JSON; look for a proxy that changes Content-Type.",
        entra: "Entra sends JSON; look for a proxy that changes Content-Type.",
        elsewhere: "Choose application/scim+json as the content type in the client.",
    },
    Hint {
        cause: "other",
        meaning: "The answer below says what was wrong.",
        okta: "Retry the task in Okta (Dashboard > Tasks) once it is mended.",
        entra: "Provision on demand once it is mended.",
        elsewhere: "Give the request id to whoever runs usherd; the log has it.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lifecycle::Refusal;

    #[test]
    fn every_cause_has_one_hint_and_every_hint_says_what_to_do() {
        for (number, hint) in HINTS.iter().enumerate() {
            assert!(!HINTS[..number].iter().any(|other| other.cause == hint.cause), "{}", hint.cause);
            for text in [hint.meaning, hint.okta, hint.entra, hint.elsewhere] {
                assert!(text.ends_with('.') && text.len() > 15, "{}: {text}", hint.cause);
            }
        }
    }

    #[test]
    fn what_the_lifecycle_refuses_a_provider_is_explained() {
        let owner = String::new();
        let spans = std::time::Duration::ZERO;
        for refusal in [
            Refusal::AlreadyExists,
            Refusal::DeactivatedByAdmin,
            Refusal::ManagedByOther { owner },
            Refusal::AdminAdoption,
            Refusal::LastAccountAdmin,
            Refusal::Braked { retry_after: spans },
            Refusal::NotFound,
        ] {
            assert!(HINTS.iter().any(|hint| hint.cause == refusal.code()), "{}", refusal.code());
        }
    }
}
