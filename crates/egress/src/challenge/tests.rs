//! Key Vault's, Managed HSM's and Storage's challenges, and hostile ones.

use base64::Engine as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample;

use super::*;

const VAULT: &str = r#"Bearer authorization="https://login.microsoftonline.com/contoso.com", resource="https://vault.azure.net""#;
const CLAIMS: &str =
    r#"{"access_token":{"nbf":{"essential":true,"value":"1726077595"},"xms_caeerror":{"value":"10012"}}}"#;
const ENCODED: &str = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzI2MDc3NTk1In0sInhtc19jYWVlcnJvciI6eyJ2YWx1ZSI6IjEwMDEyIn19fQ==";

fn bearer(header: &str) -> Challenge {
    Challenge::bearer([header]).unwrap()
}

fn scope_for(service: &str, header: &str) -> Result<String, Error> {
    bearer(header).scope_for(&service.parse().unwrap())
}

fn tenant(authority: &str) -> Result<Option<String>, Error> {
    bearer(&format!("Bearer authorization=\"{authority}\"")).tenant()
}

fn claims(encoded: &str) -> Result<Option<String>, Error> {
    bearer(&format!("Bearer error=\"insufficient_claims\", claims=\"{encoded}\"")).claims()
}

#[test]
fn a_vault_of_any_cloud_is_asked_for_by_its_own_domain() {
    for (service, resource) in [
        ("my.vault.azure.net", "https://vault.azure.net"),
        ("MY.Vault.Azure.Net:443", "https://VAULT.azure.net"),
        ("my.vault.azure.net", "https://vault.azure.net:443"),
        ("my.vault.azure.cn", "https://vault.azure.cn"),
        ("my.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net"),
        ("my.vault.microsoftazure.de", "https://vault.microsoftazure.de"),
        ("my.managedhsm.azure.net", "https://managedhsm.azure.net"),
        ("my.vault.stack.local:8443", "https://vault.stack.local:8443"),
    ] {
        let header = format!("Bearer authorization=\"https://login.example/t\", resource=\"{resource}\"");
        assert_eq!(scope_for(service, &header), Ok(format!("{resource}/.default")), "{service}");
    }
}

#[test]
fn a_challenge_for_another_services_token_is_refused_and_both_hosts_are_named() {
    for (service, domain) in [
        ("my.vault.azure.net", "graph.microsoft.com"),
        ("myvault.azure.net", "vault.azure.net"),
        ("vault.azure.net", "vault.azure.net"),
        ("my.vault.azure.net.example.com", "vault.azure.net"),
        ("my.vault.azure.net:8443", "vault.azure.net"),
        ("my.vault.azure.net", "vault.azure.net:8443"),
        ("user@my.vault.azure.net", "vault.azure.net"),
        ("my.vault.azure.net:99999", "vault.azure.net"),
        ("127.0.0.1:8080", "vault.azure.net"),
    ] {
        let error = scope_for(service, &format!("Bearer resource=https://{domain}")).unwrap_err();
        let line = error.to_string();
        assert_eq!(error.kind(), "protocol");
        assert!(line.contains(service.trim_start_matches("user@")), "{line}");
        assert!(line.contains(&format!("scope https://{domain}/.default,")) && !line.contains('@'), "{line}");
    }
}

#[test]
fn a_scope_that_has_no_https_host_belongs_to_nobody() {
    for resource in [
        "http://vault.azure.net",
        "https://user@vault.azure.net",
        "https://my.vault.azure.net\\@vault.azure.net",
        "https://vault.azure.net:",
        "https://vault.azure.net:x",
        "vault.azure.net",
        "api://vault.azure.net",
        "6dae42f8-4368-4678-94ff-3960e28e3630",
        "https://",
        "https://vault.azure.net/.default https://graph.microsoft.com",
    ] {
        let error = scope_for("my.vault.azure.net", &format!("Bearer resource={resource:?}")).unwrap_err();
        assert_eq!(error.kind(), "protocol", "{resource}");
    }
    assert!(scope_for("my.vault.azure.net", "Bearer realm=\"\", resource=\"\"").is_err());
}

#[test]
fn storage_is_read_as_it_writes() {
    for comma in ["", ","] {
        let challenge = bearer(&format!(
            "Bearer authorization_uri=https://login.microsoftonline.com/8f1d-2/oauth2/authorize{comma} \
             resource_id=https://storage.azure.com"
        ));
        assert_eq!(challenge.unverified_scope().unwrap(), "https://storage.azure.com/.default");
        assert_eq!(challenge.tenant().unwrap().as_deref(), Some("8f1d-2"));
        assert!(challenge.scope_for(&"my.blob.core.windows.net".parse().unwrap()).is_err());
    }
}

#[test]
fn a_scope_goes_before_a_resource_and_a_slash_belongs_to_the_audience() {
    let both = "Bearer resource=https://a.net, SCOPE=https://b.net/.default";
    assert_eq!(bearer(both).unverified_scope().unwrap(), "https://b.net/.default");
    assert_eq!(
        bearer("Bearer resource=https://a.net/").unverified_scope().unwrap(),
        "https://a.net//.default"
    );
}

#[test]
fn the_tenant_is_what_the_authoritys_path_begins_with() {
    for (authority, expected) in [
        ("https://login.microsoftonline.com/contoso.com", Some("contoso.com")),
        ("https://login.microsoftonline.us:443/8f1d-2/oauth2/authorize?a=b", Some("8f1d-2")),
        ("https://authority.example/ADFS", None),
        ("https://authority.example/adfs/", None),
        ("https://authority.example/", None),
        ("https://authority.example", None),
        ("", None),
    ] {
        assert_eq!(tenant(authority).unwrap().as_deref(), expected, "{authority}");
    }
    let uri = "Bearer authorization_uri=https://a.net/one, authorization=https://b.net/two";
    assert_eq!(bearer(uri).tenant().unwrap().as_deref(), Some("one"));
}

#[test]
fn an_authority_that_readers_of_urls_differ_on_is_refused() {
    for authority in [
        r"https://login.example\\@evil.example/t",
        r"https://login.example\@evil.example/t",
        r"https://login.example/\\evil",
        "https://login.example@evil.example/t",
        "https://:80/t",
        "https://login.example:x/t",
        "http://login.example/t",
        "login.example/t",
        "/t",
        "https://login.example/../t",
        "https://login.example/a%2Fb",
        "https://login.example/a b",
    ] {
        let error = tenant(authority).unwrap_err();
        assert!(error.kind() == "protocol" && error.remedy().is_some(), "{authority}: {error}");
    }
}

#[test]
fn claims_are_read_in_every_base64() {
    let unusual = r#"{"a":"\u{e9}~~~???>>>"}"#.replace("\\u{e9}", "é");
    let padded = base64::engine::general_purpose::STANDARD.encode(&unusual);
    assert!(padded.contains(['+', '/']) && padded.ends_with('='), "{padded}");
    for standard in [padded.as_str(), padded.trim_end_matches('=')] {
        for encoded in [standard.to_owned(), standard.replace('+', "-").replace('/', "_")] {
            assert_eq!(claims(&encoded).unwrap().as_deref(), Some(unusual.as_str()), "{encoded}");
        }
    }
    assert_eq!(claims(ENCODED).unwrap().as_deref(), Some(CLAIMS));
}

#[test]
fn claims_that_cannot_be_decoded_are_an_error() {
    // Not base64, misplaced padding, not JSON, not an object, not UTF-8.
    for encoded in ["not base64", "eyJ9=e30", "aGVsbG8=", "WzFd", "eyJhIjoi/yJ9"] {
        let error = claims(encoded).unwrap_err();
        assert!(error.kind() == "protocol" && !error.is_transient(), "{encoded}: {error}");
    }
    assert!(claims(&"A".repeat(30_000)).is_err());
}

#[test]
fn claims_count_only_where_they_are_what_is_missing() {
    for error in ["invalid_token", "INSUFFICIENT_CLAIMS"] {
        let header = format!("Bearer error=\"{error}\", claims=\"{ENCODED}\"");
        assert_eq!(bearer(&header).claims().unwrap().as_deref(), Some(CLAIMS), "{error}");
    }
    assert_eq!(bearer(&format!("Bearer error=\"invalid_request\", claims=\"{ENCODED}\"")).claims(), Ok(None));
    assert_eq!(bearer(&format!("Bearer claims=\"{ENCODED}\"")).claims(), Ok(None));
    assert_eq!(bearer("Bearer error=insufficient_claims").claims(), Ok(None));
    // Its authority is of no use, and of no concern.
    let standard = format!(
        r#"Bearer realm="", authorization_uri="http://localhost", error="insufficient_claims", claims="{ENCODED}""#
    );
    assert_eq!(bearer(&standard).claims().unwrap().as_deref(), Some(CLAIMS));
}

#[test]
fn a_challenge_is_found_among_those_that_cannot_be_read() {
    for header in [
        format!("{VAULT}, PoP nonce=\"open"),
        format!("PoP nonce=\"a, b=c\", {VAULT}"),
        format!("PoP nonce=\"open, {VAULT}"),
        format!("PoP \0\"\u{e9}\" = =, {VAULT}"),
        format!("Negotiate YII/+a==, NTLM, {VAULT}, Basic realm=\"Bearer x=y\""),
        format!("Bearer scope=1, scope=2, {VAULT}"),
        VAULT.to_uppercase().replace("HTTPS://", "https://"),
    ] {
        let scope = bearer(&header).scope_for(&"my.vault.azure.net".parse().unwrap()).unwrap();
        assert!(scope.eq_ignore_ascii_case("https://vault.azure.net/.default"), "{header}");
    }
    let headers = ["Basic realm=x".to_owned(), "x".repeat(MAX_HEADER + 1), VAULT.to_owned()];
    assert!(Challenge::bearer(&headers).is_ok());
}

#[test]
fn of_two_challenges_the_one_that_asks_for_claims_is_meant() {
    let wants = format!("Bearer error=insufficient_claims, claims={ENCODED}");
    let apart = Challenge::bearer([VAULT, &wants]).unwrap();
    for challenge in [apart, bearer(&format!("{VAULT}, {wants}")), bearer(&format!("{wants}, {VAULT}"))] {
        assert!(challenge.claims().unwrap().is_some());
    }
    assert_eq!(bearer(&format!("{VAULT}, Bearer scope=x")), bearer(VAULT));
}

#[test]
fn what_cannot_be_read_is_no_challenge() {
    for header in [
        "",
        "Basic realm=x",
        "Bearer scope=a, scope=a",
        "Bearer scope=\"a, resource=b",
        "Bearer scope=\"a\"b",
        "Bearer scope=\"a\0b\"",
        "Bearer token68",
        "Bearerscope=a",
        "Digest x=y, =",
    ] {
        let error = Challenge::bearer([header]).unwrap_err();
        assert!(error.to_string().contains("no Bearer challenge"), "{header}: {error}");
    }
    assert!(Challenge::bearer([b"Bearer scope=\xff"]).is_err());
    assert!(Challenge::bearer([] as [&str; 0]).is_err());
    assert!(Challenge::bearer(vec!["Basic x=y"; MAX_HEADERS].into_iter().chain([VAULT])).is_err());
}

/// Pieces that headers are made of, and ones that they are not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let names =
        sample::select(&["authorization", "resource", "resource_id", "scope", "error", "claims", "realm"]);
    let values = sample::select(&[
        "https://vault.azure.net",
        "https://graph.microsoft.com",
        "https://login.example/contoso.com",
        r"https://login.example\\@evil.example/t",
        "insufficient_claims",
        ENCODED,
        "",
    ]);
    let parameter = (names, values, any::<bool>()).prop_map(|(name, value, is_quoted)| match is_quoted {
        true => format!("{name}=\"{value}\","),
        false => format!("{name}={value} "),
    });
    let word = sample::select(&[
        "Bearer ",
        "PoP ",
        VAULT,
        "error=insufficient_claims, claims=e30, ",
        "=",
        "\"",
        "\\",
        ",",
        " ",
        "\t",
        "\0",
    ]);
    prop_oneof![
        8 => parameter.prop_map(String::into_bytes),
        4 => word.prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ]
}

/// A Bearer challenge of a few pieces, and more of them behind it.
fn header() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..12).prop_map(|pieces| [b"Bearer ".to_vec(), pieces.concat()].concat())
}

proptest! {
    #![proptest_config(crate::tests::cases(2048))]

    #[test]
    fn any_header_is_read_to_an_end_and_gives_only_what_may_be_sent(
        headers in vec(header(), 0..4),
    ) {
        let service = Authority::from_static("my.vault.azure.net");
        let Ok(challenge) = Challenge::bearer(&headers) else { return Ok(()) };
        let answers = [challenge.scope_for(&service).map(Some), challenge.tenant(), challenge.claims()];
        for answer in &answers {
            if let Err(error) = answer {
                prop_assert!(error.to_string().len() < 4000 && error.kind() == "protocol", "{error}");
            }
        }
        let [scope, tenant, claims] = answers.map(|answer| answer.ok().flatten());
        prop_assert!(scope.is_none_or(|scope| scope.starts_with("https://vault.azure.net")));
        prop_assert!(tenant.is_none_or(|tenant| is_tenant(&tenant)));
        prop_assert!(claims.is_none_or(|json| serde_json::from_str::<serde_json::Value>(&json).is_ok()));
    }

    #[test]
    fn items_never_outgrow_their_header(header in vec(piece(), 0..60)) {
        let header = header.concat();
        let mut length = 0;
        for item in Items::of(&header) {
            length += match item {
                Item::Scheme(name) | Item::Parameter(name, None) => name.len(),
                Item::Parameter(name, Some(value)) => name.len() + value.len() + 1,
                Item::Data | Item::Junk => 1,
            };
        }
        prop_assert!(length <= header.len());
    }
}
