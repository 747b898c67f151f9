//! Client assertions that an app signs with the key of its certificate.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use mock_identity::{Credential, Mock, MockConfig};
use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair},
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

use crate::{
    client::{Received, assert_log_is_without, verified},
    entra::{GRANT, SCOPE, assert_refused},
    secure::{mock, post, token_path},
};

pub(crate) const ASSERTION_TYPE: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
const BILLING: &str = "44445555-eeee-6666-ffff-7777aaaa8888";

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A JWT with this header and these claims, signed with the key of the default configuration's certificate
fn signed(header: &Value, claims: &Value, encoding: &'static dyn RsaEncoding) -> String {
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let key = PrivatePkcs8KeyDer::from_pem_slice(MockConfig::CLIENT_CERTIFICATE_PEM.as_bytes()).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(MockConfig::CLIENT_CERTIFICATE_PEM.as_bytes()).unwrap()
}

fn sha256() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate()))
}

fn sha1() -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate()).as_ref().to_vec()
}

fn ps256() -> Value {
    json!({ "typ": "JWT", "alg": "PS256", "x5t#S256": sha256() })
}

fn rs256() -> Value {
    json!({ "typ": "JWT", "alg": "RS256", "x5t": BASE64_URL_SAFE_NO_PAD.encode(sha1()) })
}

fn claims(mock: &Mock, path: &str) -> Value {
    let url = format!("{}{path}", mock.tls_url().unwrap());
    json!({ "aud": url, "iss": BILLING, "sub": BILLING, "jti": "1", "nbf": now(), "exp": now() + 600 })
}

async fn present(mock: &Mock, path: &str, assertion: &str) -> Received {
    let fields = [GRANT, ("client_id", BILLING), ASSERTION_TYPE, ("client_assertion", assertion), SCOPE];
    post(mock, path, &fields).await
}

async fn ask(mock: &Mock, header: &Value, claims: &Value, encoding: &'static dyn RsaEncoding) -> Received {
    present(mock, &token_path(mock), &signed(header, claims, encoding)).await
}

#[tokio::test]
async fn an_assertion_signed_with_the_certificate_is_as_good_as_a_secret() {
    let mock = mock().await;
    let path = token_path(&mock);
    let assertion = signed(&ps256(), &claims(&mock, &path), &RSA_PSS_SHA256);
    let claims = verified(&mock, &present(&mock, &path, &assertion).await);
    assert_eq!((claims.appid.as_str(), claims.appidacr.as_str()), (BILLING, "2"));
    assert_eq!(mock.requests()[0].issued_to.as_deref(), Some("billing"));
    assert_eq!(mock.requests()[0].form[3], ("client_assertion".to_owned(), "(not shown)".to_owned()));
    assert_log_is_without(&mock, &[&assertion]);
}

#[tokio::test]
async fn the_thumbprint_may_be_of_either_kind_and_in_every_form_of_base64() {
    let mock = mock().await;
    let claims = claims(&mock, &token_path(&mock));
    let padded = BASE64_STANDARD.encode(digest(&SHA256, &certificate()));
    for (header, encoding) in [
        (rs256(), &RSA_PKCS1_SHA256 as &'static dyn RsaEncoding),
        (json!({ "alg": "RS256", "x5t": BASE64_STANDARD.encode(sha1()) }), &RSA_PKCS1_SHA256),
        (json!({ "alg": "PS256", "x5t": BASE64_URL_SAFE_NO_PAD.encode(sha1()) }), &RSA_PSS_SHA256),
        (json!({ "alg": "PS256", "x5t#S256": padded }), &RSA_PSS_SHA256),
        (json!({ "alg": "PS256", "x5t#S256": format!("{}=", sha256()) }), &RSA_PSS_SHA256),
    ] {
        assert_eq!(ask(&mock, &header, &claims, encoding).await.status, 200, "{header}");
    }
}

#[tokio::test]
async fn an_unknown_thumbprint_and_a_signature_of_another_kind_are_refused() {
    let mock = mock().await;
    let claims = claims(&mock, &token_path(&mock));
    for header in [
        json!({ "alg": "PS256", "x5t#S256": BASE64_URL_SAFE_NO_PAD.encode([1; 32]) }),
        json!({ "alg": "PS256", "x5t#S256": "no base64!" }),
        json!({ "alg": "PS256", "x5t#S256": "" }),
        json!({ "alg": "PS256" }),
        json!({ "alg": "RS256", "x5t#S256": sha256() }),
        json!({ "alg": "none", "x5t#S256": sha256() }),
        json!({ "alg": "HS256", "x5t#S256": sha256() }),
    ] {
        let answer = ask(&mock, &header, &claims, &RSA_PSS_SHA256).await;
        assert_refused(&answer, 401, "invalid_client", 700_027);
    }
    let altered = signed(&ps256(), &claims, &RSA_PSS_SHA256);
    let (message, _) = altered.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode([0; 256]));
    assert_refused(&present(&mock, &token_path(&mock), &forged).await, 401, "invalid_client", 700_027);
    let unsigned = format!("{message}.");
    assert_refused(&present(&mock, &token_path(&mock), &unsigned).await, 401, "invalid_client", 700_027);
}

#[tokio::test]
async fn an_assertion_is_for_one_client_one_endpoint_and_a_short_time() {
    let mock = mock().await;
    let good = claims(&mock, &token_path(&mock));
    for (name, value, code) in [
        ("sub", json!("somebody else"), 700_021),
        ("aud", json!("https://login.microsoftonline.com/"), 700_023),
        ("aud", json!(mock.tls_url()), 700_023),
        ("exp", json!(now()), 700_024),
        ("exp", json!(0), 700_024),
        ("nbf", json!(now() + 400), 700_024),
    ] {
        let mut claims = good.clone();
        claims[name] = value;
        let answer = ask(&mock, &ps256(), &claims, &RSA_PSS_SHA256).await;
        assert_refused(&answer, 401, "invalid_client", code);
    }
    for (name, value) in [
        ("aud", json!(["https://elsewhere.example", good["aud"]])),
        ("exp", json!(now() as f64 + 60.5)),
        ("nbf", json!(now() + 2)),
        ("nbf", json!(0)),
    ] {
        let mut claims = good.clone();
        claims[name] = value;
        assert_eq!(ask(&mock, &ps256(), &claims, &RSA_PSS_SHA256).await.status, 200, "{claims}");
    }
}

#[tokio::test]
async fn what_is_no_jwt_is_malformed() {
    let mock = mock().await;
    let path = token_path(&mock);
    let header = BASE64_URL_SAFE_NO_PAD.encode(ps256().to_string());
    let deep = BASE64_URL_SAFE_NO_PAD.encode("[".repeat(20_000));
    for assertion in [
        "SENTINEL-8",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        &format!("{header}.e30.e30"),
        &format!("{header}.{deep}.e30"),
        &format!("{header}.{}.e30", BASE64_URL_SAFE_NO_PAD.encode(r#"{"iss":1}"#)),
    ] {
        let answer = present(&mock, &path, assertion).await;
        assert_refused(&answer, 400, "invalid_request", 50_027);
    }
    let fields = [GRANT, ("client_id", BILLING), ("client_assertion", "a.b.c"), SCOPE];
    assert_refused(&post(&mock, &path, &fields).await, 400, "invalid_request", 900_144);
    let other = [fields.as_slice(), &[("client_assertion_type", "saml2")]].concat();
    assert_refused(&post(&mock, &path, &other).await, 400, "invalid_request", 90_023);
    assert_log_is_without(&mock, &["SENTINEL-8"]);
}

#[tokio::test]
async fn ad_fs_takes_rs256_with_a_sha_1_thumbprint_alone() {
    let mock = mock().await;
    let path = "/adfs/oauth2/token";
    let claims = claims(&mock, path);
    let answer = present(&mock, path, &signed(&rs256(), &claims, &RSA_PKCS1_SHA256)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sha1 = BASE64_URL_SAFE_NO_PAD.encode(sha1());
    for (header, encoding) in [
        (ps256(), &RSA_PSS_SHA256 as &'static dyn RsaEncoding),
        (json!({ "alg": "PS256", "x5t": sha1 }), &RSA_PSS_SHA256),
        (json!({ "alg": "RS256", "x5t#S256": sha256() }), &RSA_PKCS1_SHA256),
    ] {
        let answer = present(&mock, path, &signed(&header, &claims, encoding)).await;
        assert_refused(&answer, 401, "invalid_client", 700_027);
    }
}

#[tokio::test]
async fn the_certificate_is_found_by_its_environment() {
    let mock = mock().await;
    let environment = mock.app_env(Credential::Certificate("client.pem".as_ref()));
    assert_eq!(environment[2], ("AZURE_CLIENT_ID", BILLING.to_owned()));
    assert_eq!(environment[3], ("AZURE_CLIENT_CERTIFICATE_PATH", "client.pem".to_owned()));
    let file = crate::client::get(&mock, "/admin/client-certificate", &[]).await;
    assert_eq!(file.text(), MockConfig::CLIENT_CERTIFICATE_PEM);
}
