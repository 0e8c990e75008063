//! The examples of the RFCs, and what must not be believed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rstest::rstest;
use serde_json::json;

use super::keys::{Algorithm, InvalidKeySet, KeySet};
use super::*;

/// RFC 7515, appendix A.2.
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
/// RFC 7515, appendix A.3.
const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// RFC 7515, appendix A.1: signed with a shared secret.
const HS256: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// RFC 7515, appendix A.5: not signed at all.
const NONE: &str = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

fn rsa(member: &str, value: &str) -> KeySet {
    let mut key = json!({ "kty": "RSA", "n": RSA_N, "e": "AQAB" });
    key[member] = value.into();
    KeySet::read(json!({ "keys": [key] }).to_string().as_bytes()).unwrap()
}

fn p256() -> KeySet {
    let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let key = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    KeySet::read(json!({ "keys": [key] }).to_string().as_bytes()).unwrap()
}

/// The examples have no audience, so that nothing but the signature of them can be right.
const ANYBODY: Expected<'_> = Expected { issuer: "joe", audience: "usherd" };

fn verdict(text: &str, keys: &KeySet) -> InvalidJwt {
    let now = Timestamp::from_millis(1_300_819_000_000);
    Jwt::read(text).unwrap().verify(keys, ANYBODY, now).unwrap_err()
}

#[test]
fn the_signatures_of_the_rfc_hold() {
    assert_eq!(verdict(RS256, &rsa("use", "sig")), InvalidJwt::Audience);
    assert_eq!(verdict(ES256, &p256()), InvalidJwt::Audience);
    // RFC 8037, appendix A.4 and A.5.
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] });
    let keys = KeySet::read(keys.to_string().as_bytes()).unwrap();
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = keys.of(Algorithm::EdDsa, None)[0];
    assert!(key.verifies(Algorithm::EdDsa, b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", &signature));
    assert!(!key.verifies(Algorithm::EdDsa, b"something else", &signature));
}

#[test]
fn a_changed_token_and_another_key_are_noticed() {
    let changed = RS256.replace("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Vi");
    assert_eq!(Jwt::read(&changed).map(|_| ()), Err(InvalidJwt::Malformed), "no JSON any more");
    let other = format!("{}.{}", ES256.rsplit_once('.').unwrap().0, RS256.rsplit_once('.').unwrap().1);
    assert_eq!(verdict(&other, &p256()), InvalidJwt::UnknownKey, "it names no key, so that another may be meant");
    assert_eq!(verdict(RS256, &p256()), InvalidJwt::UnknownKey);
    let flipped = RS256.replace("77Rw", "77RA");
    assert_eq!(verdict(&flipped, &rsa("use", "sig")), InvalidJwt::UnknownKey);
}

#[rstest]
#[case::not_signed(NONE)]
#[case::a_shared_secret(HS256)]
fn other_algorithms_do_not_exist(#[case] text: &str) {
    assert_eq!(Jwt::read(text).map(|_| ()), Err(InvalidJwt::Algorithm));
}

#[test]
fn a_key_is_used_for_what_it_is_for() {
    assert_eq!(verdict(RS256, &rsa("use", "enc")), InvalidJwt::UnknownKey);
    assert_eq!(verdict(RS256, &rsa("alg", "PS256")), InvalidJwt::UnknownKey);
    assert_eq!(verdict(RS256, &rsa("alg", "RS512")), InvalidJwt::UnknownKey);
    assert_eq!(verdict(RS256, &rsa("alg", "RS256")), InvalidJwt::Audience);
    assert_eq!(verdict(RS256, &rsa("kid", "any")), InvalidJwt::Audience, "a token that names no key may be of any");
    assert_eq!(KeySet::read(b"[]"), Err(InvalidKeySet));
    assert_eq!(KeySet::read(br#"{"keys":[{"kty":"oct","k":"AAAA"},7,{"kty":"RSA"}]}"#), Ok(KeySet::default()));
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[test]
fn what_a_token_demands_of_its_reader_is_refused() {
    let header = json!({ "alg": "RS256", "crit": ["b64"], "b64": false });
    let text = format!("{}.{}.AAAA", encoded(&header), encoded(&json!({})));
    assert_eq!(Jwt::read(&text).map(|_| ()), Err(InvalidJwt::Critical));
}

#[rstest]
#[case::nothing("")]
#[case::a_token_of_ours("usp_0123456789012345678901234567890123456789012")]
#[case::two_parts("e30.e30")]
#[case::five_parts("e30.e30.e30.e30.e30")]
#[case::no_header("AAAA.e30.AAAA")]
#[case::no_claims("eyJhbGciOiJSUzI1NiJ9.AAAA.AAAA")]
#[case::an_array("eyJhbGciOiJSUzI1NiJ9.W10.AAAA")]
#[case::no_algorithm("e30.e30.AAAA")]
#[case::padding("eyJhbGciOiJSUzI1NiJ9.e30=.AAAA")]
fn what_is_no_token_is_told_apart(#[case] text: &str) {
    assert_eq!(Jwt::read(text).map(|_| ()), Err(InvalidJwt::Malformed));
}

const NOW: i64 = 1_795_426_200;

fn checked(claims: Value) -> Result<(), InvalidJwt> {
    let Value::Object(claims) = claims else { panic!("an object") };
    Claims(claims).check(ANYBODY, Timestamp::from_millis(NOW * 1_000))
}

#[test]
fn a_token_is_of_its_issuer_for_its_audience_and_in_time() {
    let right = json!({ "iss": "joe", "aud": "usherd", "exp": NOW + 1, "nbf": NOW, "iat": NOW - 5 });
    let with = |name: &str, value: Value| {
        let mut claims = right.clone();
        claims[name] = value;
        checked(claims)
    };
    assert_eq!(checked(right.clone()), Ok(()));
    assert_eq!(with("iss", "Joe".into()), Err(InvalidJwt::Issuer));
    assert_eq!(with("iss", Value::Null), Err(InvalidJwt::Issuer));
    assert_eq!(with("aud", "other".into()), Err(InvalidJwt::Audience));
    assert_eq!(with("aud", json!(["other"])), Err(InvalidJwt::Audience));
    assert_eq!(with("aud", Value::Null), Err(InvalidJwt::Audience));
    assert_eq!(with("aud", json!(["other", "usherd"])), Ok(()));
    // Sixty seconds either way.
    assert_eq!(with("exp", (NOW - 59).into()), Ok(()));
    assert_eq!(with("exp", (NOW - 60).into()), Err(InvalidJwt::Expired));
    assert_eq!(with("exp", Value::Null), Err(InvalidJwt::Expired));
    assert_eq!(with("exp", "tomorrow".into()), Err(InvalidJwt::Expired));
    assert_eq!(with("exp", json!(1e300)), Err(InvalidJwt::Expired));
    assert_eq!(with("nbf", (NOW + 60).into()), Ok(()));
    assert_eq!(with("nbf", (NOW + 61).into()), Err(InvalidJwt::NotYet));
    assert_eq!(with("nbf", "soon".into()), Err(InvalidJwt::NotYet));
    assert_eq!(with("iat", (NOW + 61).into()), Err(InvalidJwt::NotYet));
}
