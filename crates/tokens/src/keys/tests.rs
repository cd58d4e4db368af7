use super::*;
use serde_json::json;

fn read(keys: Value) -> Result<Keys, String> {
    Keys::from_jwks(json!({"keys": keys}).to_string().as_bytes()).map_err(|error| error.to_string())
}

fn secret(bytes: usize) -> String {
    base64url::encode(&vec![7; bytes])
}

#[test]
fn what_is_wrong_with_a_set_is_told() {
    for (text, part) in [
        ("", "Key Set"),
        ("[]", "array of keys"),
        ("{\"keys\": {}}", "array of keys"),
        ("{\"keys\": [1]}", "no object"),
        ("{\"keys\": []}", "no key that can verify"),
        ("{\"keys\": [{\"k\": \"AAAA\"}]}", "key number 1 has no kty"),
    ] {
        let told = Keys::from_jwks(text.as_bytes()).unwrap_err().to_string();
        assert!(told.contains(part), "{text}: {told}");
    }
    let many: Vec<_> = (0..=KEYS_MAX).map(|_| json!({"kty": "oct", "k": secret(32)})).collect();
    assert!(read(many.into()).unwrap_err().contains("more than 16"));
}

#[test]
fn a_key_that_cannot_be_trusted_is_told_and_one_for_something_else_is_passed_over() {
    let n = base64url::encode(&[0xff; 256]);
    let short = base64url::encode(&[0xff; 128]);
    let x = base64url::encode(&[1; 32]);
    for (key, part) in [
        (json!({"kty": "oct", "k": secret(31), "kid": "a"}), "key \"a\" is too short"),
        (json!({"kty": "oct", "k": secret(47), "alg": "HS384"}), "too short"),
        (json!({"kty": "oct", "k": "a b"}), "base64url"),
        (json!({"kty": "oct", "k": secret(32), "alg": "RS256"}), "does not go with its kty"),
        (json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "HS256"}), "does not go with its kty"),
        (json!({"kty": "RSA", "n": short, "e": "AQAB"}), "2048"),
        (json!({"kty": "RSA", "n": n}), "exponent"),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": x}), "no public key"),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": secret(31)}), "coordinate y"),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": secret(31)}), "32 bytes"),
    ] {
        let told = read(json!([key])).unwrap_err();
        assert!(told.contains(part), "{key}: {told}");
    }
    let good = json!({"kty": "oct", "k": secret(32)});
    for other in [
        json!({"kty": "oct", "k": "!", "use": "enc"}),
        json!({"kty": "oct", "k": secret(32), "key_ops": ["encrypt"]}),
        json!({"kty": "oct", "k": secret(32), "alg": "A256GCM"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": x, "y": x}),
        json!({"kty": "OKP", "crv": "X25519", "x": x}),
        json!({"kty": "AKP"}),
    ] {
        assert_eq!(read(json!([other, good])).unwrap().0.len(), 1, "{other}");
        assert!(read(json!([other])).unwrap_err().contains("no key"), "{other}");
    }
}

#[test]
fn a_secret_serves_the_hashes_that_are_not_longer_and_is_never_shown() {
    let algorithms =
        |bytes: usize| read(json!([{"kty": "oct", "k": secret(bytes)}])).unwrap().0.remove(0).algorithms;
    assert_eq!(algorithms(32), [Algorithm::Hs256]);
    assert_eq!(algorithms(63), [Algorithm::Hs256, Algorithm::Hs384]);
    assert_eq!(algorithms(64).len(), 3);
    let shown = format!("{:?}", read(json!([{"kty": "oct", "k": secret(32), "kid": "a"}])).unwrap());
    assert!(shown.contains("\"a\"") && !shown.contains('7'), "{shown}");
}
