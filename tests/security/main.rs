//! What must not be possible, each line of the security list with its proof.
//!
//! [`LINES`] maps the list to tests, wherever they stand; a test below checks that they are there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only other suites need")]
mod daemon;
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;

mod addresses;
#[path = "../support/house.rs"]
#[expect(dead_code, reason = "what only other suites need")]
mod house;
#[path = "../support/issuer.rs"]
mod issuer;
#[path = "../support/faces.rs"]
#[expect(dead_code, reason = "what only other suites need")]
mod requests;

mod api;
mod issuers;
mod openid;
mod pictures;
mod refusals;
mod rights;
mod seats;
mod sign_in;

use std::path::{Path, PathBuf};

/// What has to hold, and the tests that prove it.
const LINES: &[(&str, &[&str])] = &[
    (
        "an invitation link has 256 bit, and none that is forged works",
        &["every_single_flipped_bit_of_a_link_is_refused", "a_link_that_is_none_tells_nothing"],
    ),
    (
        "nothing usable at rest: no link, code, token or session in store, outbox or logs",
        &["neither_logs_nor_the_store_hold_secrets", "no_code_and_no_session_is_in_the_store_or_the_log"],
    ),
    ("a link is used once under 50 parallel POSTs", &["fifty_clicks_at_once_are_one_acceptance"]),
    (
        "GET, HEAD and a scanner's bare POST change nothing; the token moves into a cookie; the address is typed",
        &["a_mail_scanner_does_no_harm", "a_wrong_address_is_told_and_kept_in_the_form"],
    ),
    ("cookies are __Host- on https", &["on_https_a_cookie_is_bound_to_the_host_and_on_http_it_has_a_plain_name"]),
    ("other Host headers get 421", &["only_its_own_names_are_served", "a_foreign_host_gets_421_with_all_headers"]),
    (
        "every page carries the security headers, HSTS with TLS",
        &[
            "every_page_carries_the_security_headers",
            "pages_are_private_and_load_nothing_from_elsewhere",
            "an_asset_keeps_its_caching_and_https_is_promised_where_it_is_spoken",
            "https_is_promised_when_the_public_url_is_https",
        ],
    ),
    ("links lead to http.public_url only", &["links_lead_to_the_public_url_whatever_name_a_request_gives"]),
    (
        "pictures: data URLs up to 32 kB and https hosts of console.photo_hosts, else initials; no referrer",
        &["pictures_come_inline_or_from_the_named_hosts", "without_named_hosts_nothing_is_loaded_from_elsewhere"],
    ),
    (
        "what matters most needs a proof of the last five minutes, which leads back to the console only",
        &[
            "an_account_admin_is_made_only_by_whoever_has_proven_lately_who_they_are",
            "a_token_is_made_only_by_whoever_has_proven_lately_who_they_are",
            "a_proof_leads_back_to_this_accounts_console_only",
        ],
    ),
    (
        "the audit holds refused attempts, bounded, and no secret",
        &[
            "a_refused_attempt_is_one_event_however_often_it_is_repeated",
            "a_client_that_is_refused_everybody_fills_no_memory_and_is_still_counted",
            "what_repeats_itself_is_one_event_in_ten_minutes_with_a_count",
            "the_audit_names_no_secret_and_no_value",
        ],
    ),
    (
        "forms need their token, our Origin and our Sec-Fetch-Site",
        &["a_form_of_the_console_that_is_not_ours_changes_nothing", "a_mail_scanner_does_no_harm"],
    ),
    (
        "sessions rotate at sign-in and end with a change of role",
        &["signing_in_again_ends_the_session_before", "a_change_of_role_ends_the_sessions"],
    ),
    (
        "sessions end after 30 minutes of rest and after 12 hours",
        &[
            "a_session_that_rests_for_thirty_minutes_is_over",
            "a_session_ends_after_twelve_hours_however_busy_it_is",
            "a_session_of_the_console_ends_in_time",
        ],
    ),
    (
        "rights come from the stored state on every request",
        &["deactivation_ends_the_session_with_the_next_request", "nobody_gets_in_without_a_living_token"],
    ),
    (
        "one-time codes: 10 minutes, 5 tries, same answer for strangers, throttled by address and client",
        &[
            "a_code_works_for_ten_minutes",
            "a_code_is_worthless_after_five_wrong_tries",
            "strangers_get_the_same_answer_as_those_who_are_known",
            "asking_for_codes_is_throttled_by_address_and_by_client",
        ],
    ),
    (
        "tokens: several per account, rotated, expiring, revoked at once, hashed",
        &["tokens_are_made_listed_rotated_and_revoked", "a_token_gives_no_more_than_it_has"],
    ),
    (
        "access tokens of an issuer: algorithm, signature, issuer, audience, time; revoked at once by their record",
        &[
            "what_is_wrong_with_an_access_token_opens_nothing",
            "an_access_token_of_an_issuer_may_do_what_its_record_says",
            "an_issuer_that_rotates_its_keys_is_asked_again_and_at_most_every_ten_seconds",
            "an_issuer_that_is_away_makes_clients_wait_and_not_give_up",
            "whoever_guesses_access_tokens_is_slowed_down",
            "other_algorithms_do_not_exist",
        ],
    ),
    (
        "OpenID Connect: state, nonce and PKCE, a verified address, a fresh session, no proof by an old sign-in",
        &[
            "what_an_issuer_did_not_say_to_this_browser_lets_nobody_in",
            "a_token_that_is_not_right_lets_nobody_in",
            "an_admin_signs_in_by_the_issuer_and_the_session_before_ends",
            "an_old_sign_in_at_the_issuer_proves_nothing_and_a_new_one_does",
            "no_word_of_the_issuer_is_kept",
        ],
    ),
    (
        "a token reaches no further than its scopes",
        &["no_scope_opens_what_another_is_for", "only_a_token_with_the_scope_grants_roles"],
    ),
    ("accounts do not see each other", &["an_account_is_nothing_to_another"]),
    (
        "names: C0, C1, bidi, NUL, CR and LF never render or mail",
        &[
            "what_could_forge_a_header_or_reverse_a_line_is_gone",
            "hostile_names_add_no_header_no_recipient_and_no_line",
            "hostile_names_are_harmless_in_the_api_and_in_pages",
        ],
    ),
    (
        "limits answer 429 with Retry-After",
        &["one_that_asks_too_often_is_told_to_wait", "one_who_guesses_tokens_is_slowed_down"],
    ),
    (
        "headers, bodies and slow clients are bounded",
        &[
            "a_header_beyond_sixteen_kibibytes_gets_431",
            "a_body_that_is_too_large_gets_413_whether_declared_or_found_out",
            "a_body_that_does_not_come_gets_408_and_the_connection_ends",
            "a_half_sent_header_is_cut_off_while_others_are_served",
            "a_client_that_does_not_read_is_cut_off",
        ],
    ),
    (
        "seats are never overshot, and nobody Active loses one",
        &[
            "of_sixty_four_invitations_at_once_ten_get_the_ten_seats",
            "fewer_seats_than_are_used_are_taken_from_the_pending_and_not_from_the_active",
        ],
    ),
];

#[test]
fn every_line_of_the_list_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    collect(&root.join("tests"), &mut files);
    let sources: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let exists = |test: &str| sources.iter().any(|text| text.contains(&format!("fn {test}(")));
    for (line, tests) in LINES {
        for test in *tests {
            assert!(exists(test), "{line}: there is no test named {test}");
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "node_modules" {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}
