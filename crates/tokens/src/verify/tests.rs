//! The tokens and keys beside were made with Python's cryptography, another implementation.

use super::*;
use crate::testing::{SECRET, keys, signed, token};
use serde_json::json;

const NOW: i64 = 1_800_000_000_000;

fn set() -> Keys {
    Keys::from_jwks(include_bytes!("tests/jwks.json")).unwrap()
}

/// The algorithm and the token of each line.
fn tokens() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("tests/tokens.txt").lines().map(|line| line.split_once(' ').unwrap())
}

fn verify(token: &str) -> Result<Claims, Refused> {
    Claims::verify(token, &set(), &Rules::default(), NOW)
}

#[test]
fn every_algorithm_verifies_what_another_implementation_has_signed() {
    assert_eq!(tokens().count(), 13);
    for (name, token) in tokens() {
        let claims = verify(token).unwrap_or_else(|refused| panic!("{name}: {refused}"));
        assert_eq!(
            (claims.subject.as_deref(), claims.issuer.as_deref()),
            (Some("u42"), Some("https://id.example"))
        );
        assert_eq!(claims.until_ms, 4_102_444_800_000);
    }
}

#[test]
fn one_other_bit_anywhere_and_nothing_is_believed() {
    for (name, token) in tokens() {
        let parts: Vec<&str> = token.split('.').collect();
        let mut signature = base64url::decode(parts[2]).unwrap();
        signature[20] ^= 1;
        let forged = format!("{}.{}.{}", parts[0], parts[1], base64url::encode(&signature));
        assert_eq!(verify(&forged), Err(Refused::Signature), "{name}");
        let body = base64url::encode(br#"{"sub":"root","exp":4102444800}"#);
        assert_eq!(verify(&format!("{}.{body}.{}", parts[0], parts[2])), Err(Refused::Signature), "{name}");
        assert_eq!(verify(&format!("{}.{}.", parts[0], parts[1])), Err(Refused::Signature), "{name}");
        let cut = base64url::encode(&signature[..signature.len() - 1]);
        assert_eq!(verify(&format!("{}.{}.{cut}", parts[0], parts[1])), Err(Refused::Signature), "{name}");
    }
}

#[test]
fn a_token_does_not_choose_what_a_key_is() {
    let set = set();
    let claims = json!({"sub": "root", "exp": 4_102_444_800_i64});
    let check = |header: Value, secret: &[u8]| {
        Claims::verify(&signed(&header, &claims, secret), &set, &Rules::default(), NOW).unwrap_err()
    };
    // What everybody knows of the public keys, taken for a secret.
    for id in ["rsa", "P-256", "ed"] {
        for public in [&include_bytes!("tests/jwks.json")[..], b"", SECRET] {
            assert_eq!(check(json!({"alg": "HS256", "kid": id}), public), Refused::NoKey, "{id}");
        }
    }
    for name in ["none", "None", "NONE", "nOnE", "", "hs256", "HS1", "A128KW", "dir", "ES512", "ES256K"] {
        assert_eq!(check(json!({"alg": name}), SECRET), Refused::Algorithm, "{name}");
    }
    assert_eq!(check(json!({}), SECRET), Refused::Algorithm);
    assert_eq!(check(json!({"alg": ["HS256"]}), SECRET), Refused::Algorithm);
    let own = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": base64url::encode(SECRET)}, "jku": "https://evil.example"});
    assert_eq!(check(own, SECRET), Refused::Signature, "a key that comes along is no key");
    assert_eq!(check(json!({"alg": "HS256", "kid": "unknown"}), SECRET), Refused::NoKey);
    assert!(matches!(check(json!({"alg": "HS256", "kid": 1}), SECRET), Refused::Malformed(_)));
    assert_eq!(check(json!({"alg": "HS256", "crit": ["b64"], "b64": false}), SECRET), Refused::Critical);
    let unsigned = format!("{}.{}.", base64url::encode(br#"{"alg":"none"}"#), base64url::encode(b"{}"));
    assert_eq!(verify(&unsigned), Err(Refused::Algorithm));
}

#[test]
fn what_is_no_token_is_refused() {
    let three = "e30.e30.";
    for wrong in [
        "",
        ".",
        "..",
        "a.b",
        three,
        "e30.e30.e30.e30",
        "e30.e30.e30.e30.e30",
        "\u{e4}.\u{e4}.\u{e4}",
        "W10.e30.AA",
        "a b.c.d",
    ] {
        assert!(matches!(verify(wrong), Err(Refused::Malformed(_) | Refused::Algorithm)), "{wrong:?}");
    }
    let padded = tokens().next().unwrap().1.to_owned() + "=";
    assert!(matches!(verify(&padded), Err(Refused::Malformed(_))));
    let long = format!("{}.{}.", "A".repeat(5000), "A".repeat(5000));
    assert_eq!(verify(&long), Err(Refused::Malformed("it is longer than 8 KiB")));
    for body in [json!([]), json!("x"), json!(null)] {
        let token = signed(&json!({"alg": "HS256"}), &body, SECRET);
        assert!(matches!(
            Claims::verify(&token, &keys(), &Rules::default(), NOW),
            Err(Refused::Malformed(_))
        ));
    }
}

#[test]
fn a_token_has_its_time() {
    let rules = Rules { leeway_seconds: 10, ..Rules::default() };
    let at = |claims: Value, now: i64| {
        Claims::verify(&token(&claims), &keys(), &rules, now).map(|claims| claims.until_ms)
    };
    assert_eq!(at(json!({"exp": 1000}), 1_009_999), Ok(1_010_000));
    assert_eq!(at(json!({"exp": 1000}), 1_010_000), Err(Refused::Expired));
    assert_eq!(at(json!({"exp": 1000.5}), 1_010_499), Ok(1_010_500));
    assert_eq!(at(json!({"exp": 2000, "nbf": 1000}), 989_999), Err(Refused::Early));
    assert_eq!(at(json!({"exp": 2000, "nbf": 1000}), 990_000), Ok(2_010_000));
    assert_eq!(at(json!({}), 0), Err(Refused::Endless));
    assert_eq!(at(json!({"exp": 1e300}), 0), Ok(i64::MAX));
    assert_eq!(at(json!({"exp": -1e300}), 0), Err(Refused::Expired));
    for wrong in [json!({"exp": "4102444800"}), json!({"exp": null}), json!({"exp": 2000, "nbf": []})] {
        assert!(matches!(at(wrong.clone(), 0), Err(Refused::Malformed(_))), "{wrong}");
    }
}

#[test]
fn a_token_is_issued_by_whom_and_for_whom_it_must_be() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let check = |mut claims: Value, issuers: &[&str], audiences: &[&str]| {
        claims["exp"] = 4_102_444_800_i64.into();
        let rules = Rules { issuers: texts(issuers), audiences: texts(audiences), leeway_seconds: 0 };
        Claims::verify(&token(&claims), &keys(), &rules, NOW).map(drop)
    };
    assert_eq!(check(json!({"iss": "a"}), &["a", "b"], &[]), Ok(()));
    assert_eq!(check(json!({"iss": "c"}), &["a", "b"], &[]), Err(Refused::Issuer));
    assert_eq!(check(json!({}), &["a"], &[]), Err(Refused::Issuer));
    assert_eq!(check(json!({"aud": "x"}), &[], &["x"]), Ok(()));
    assert_eq!(check(json!({"aud": ["y", "x"]}), &[], &["x"]), Ok(()));
    for (aud, own) in [
        (json!("y"), &["x"][..]),
        (json!(["y"]), &["x"]),
        (json!([]), &["x"]),
        (json!(1), &["x"]),
        (json!("x"), &[]),
    ] {
        assert_eq!(check(json!({"aud": aud}), &[], own), Err(Refused::Audience), "{aud}");
    }
    assert_eq!(check(json!({}), &[], &["x"]), Err(Refused::Audience));
    for wrong in
        [json!({"sub": 1}), json!({"sub": ""}), json!({"sub": "a".repeat(513)}), json!({"iss": ["a"]})]
    {
        assert!(matches!(check(wrong.clone(), &[], &[]), Err(Refused::Malformed(_))), "{wrong}");
    }
}
