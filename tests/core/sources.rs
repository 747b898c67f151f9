//! The sources on a fake host: their requests, their responses, and their order in the chain.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use token_broker::{Identity, RawRequest, SendErrorKind, SourceReport, Verdict};

use crate::fake::{Reply, START, World, fault, json, json_with, token};
use crate::stage::*;

const WORKLOAD: &Pairs = &[
    ("AZURE_FEDERATED_TOKEN_FILE", "/tokens/azure"),
    ("AZURE_TENANT_ID", "tenant.example"),
    ("AZURE_CLIENT_ID", "app"),
];
const SECRET: &Pairs = &[
    ("AZURE_CLIENT_SECRET", "s3cret & more"),
    ("AZURE_TENANT_ID", "tenant.example"),
    ("AZURE_CLIENT_ID", "app"),
];
const CERTIFICATE: &Pairs = &[
    ("AZURE_CLIENT_CERTIFICATE_PATH", "/app.pem"),
    ("AZURE_TENANT_ID", "tenant.example"),
    ("AZURE_CLIENT_ID", "app"),
];
const FEDERATED: &Pairs =
    &[("TOKEN_BROKER_FEDERATED_CLIENT_ID", "app"), ("TOKEN_BROKER_FEDERATED_TENANT_ID", "customer.example")];
const ARC: &Pairs = &[
    ("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token"),
    ("IMDS_ENDPOINT", "http://localhost:40342"),
];
const FABRIC: &Pairs = &[
    ("IDENTITY_ENDPOINT", "https://10.0.0.4:2377/metadata/identity/oauth2/token"),
    ("IDENTITY_HEADER", "fabric-secret"),
    ("IDENTITY_SERVER_THUMBPRINT", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
];
const PIN: (&str, &str) = ("TOKEN_BROKER_PINNED_THUMBPRINT", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
const MSI: &Pairs = &[("MSI_ENDPOINT", "http://localhost:50342/oauth2/token"), ("MSI_SECRET", "msi-secret")];
const KEY_FILE: &str = "/var/opt/azcmagent/tokens/1.key";

fn with(pairs: &Pairs, more: &Pairs) -> Vec<(&'static str, &'static str)> {
    [pairs, more].concat()
}

/// A token response of Entra.
fn entra(name: &str) -> Reply {
    json(
        200,
        &format!(
            r#"{{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"{name}"}}"#
        ),
    )
}

fn refusal(status: u16, code: u32) -> Reply {
    let body = serde_json::json!({
        "error": "invalid_client",
        "error_description": format!("AADSTS{code}: it cannot be. Trace ID: t Correlation ID: c Timestamp: x"),
        "error_codes": [code],
        "timestamp": "2026-01-02 03:04:05Z",
        "correlation_id": "11111111-2222-3333-4444-555555555555",
    });
    json(status, &body.to_string())
}

fn report(broker: &TestBroker, source: &str) -> SourceReport {
    broker.explain().into_iter().find(|report| report.source == source).unwrap()
}

// Entra.

#[test]
fn a_page_in_the_place_of_imds_is_another_cloud_unless_it_asks_to_be_left_alone() {
    for (status, outcome) in
        [(401, "unavailable"), (404, "unavailable"), (429, "throttled"), (502, "transient")]
    {
        let page = || json_with(status, ("content-type", "text/html"), "<html></html>");
        let (world, broker) = stage(&[], (0..4).map(|_| page()));
        assert_eq!(kind(world.get(&broker, VAULT)), outcome, "{status}");
    }
}

#[test]
fn workload_identity_exchanges_the_token_in_its_file() {
    let (world, broker) = stage(WORKLOAD, [entra("T1")]);
    world.file("/tokens/azure", "\n  k8s.token-1\n");
    let grant = world.get(&broker, VAULT).unwrap();
    assert_eq!((text(&grant), grant.token.source()), ("T1", "workload-identity"));
    let sent = world.sent(0);
    assert_eq!(
        (sent.method.as_str(), sent.url.as_str()),
        ("POST", "https://login.microsoftonline.com/tenant.example/oauth2/v2.0/token")
    );
    assert_eq!(sent.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(sent.field("client_assertion"), Some("k8s.token-1"));
    assert_eq!(
        sent.field("client_assertion_type"),
        Some("urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer")
    );
    assert_eq!(sent.field("grant_type"), Some("client_credentials"));
    assert_eq!(sent.field("scope"), Some("https%3A%2F%2Fvault.azure.net%2F.default"));
    assert_eq!((sent.field("client_id"), sent.field("client_secret")), (Some("app"), None));
}

#[test]
fn the_token_file_is_read_at_each_fetch_and_not_for_a_held_token() {
    let (world, broker) = stage(WORKLOAD, [entra("T1"), entra("T2")]);
    world.file("/tokens/azure", "one");
    world.get(&broker, VAULT).unwrap();
    world.get(&broker, VAULT).unwrap();
    assert_eq!(world.reads(), ["/tokens/azure Follow"]);
    world.file("/tokens/azure", "two");
    world.get(&broker, STORAGE).unwrap();
    assert_eq!(world.sent(1).field("client_assertion"), Some("two"));
}

#[test]
fn an_assertion_that_entra_finds_stale_is_renewed_once() {
    let (world, broker) = stage(WORKLOAD, [refusal(401, 700_024), entra("T1")]);
    world.file("/tokens/azure", "old");
    world.get(&broker, VAULT).unwrap();
    assert_eq!((world.moments(), world.reads().len()), (vec![0, 0], 2));

    world.script([refusal(401, 700_024), refusal(401, 700_024)]);
    let error = world.error(&broker, STORAGE);
    assert_eq!((error.kind(), world.requests()), ("rejected", 4));
    assert_eq!(error.failures()[0].code.as_deref(), Some("AADSTS700024"));
}

#[test]
fn a_token_file_without_a_token_stops_the_chain_and_nothing_is_sent() {
    for content in [None, Some(""), Some(" \n"), Some("a b"), Some("\u{e4}")] {
        let (world, broker) = stage(WORKLOAD, []);
        content.inspect(|content| world.file("/tokens/azure", content));
        let error = world.error(&broker, VAULT);
        assert_eq!((error.kind(), world.requests()), ("unavailable", 0), "{content:?}");
        let failure = error.failures().last().unwrap();
        assert!(failure.message.contains("/tokens/azure") && failure.remedy.is_some(), "{error}");
    }
    let (world, broker) = stage(WORKLOAD, []);
    world.file("/tokens/azure", &"x".repeat(70_000));
    assert!(world.error(&broker, VAULT).to_string().contains("too large"));
}

#[test]
fn workload_identity_takes_the_client_id_of_the_request() {
    let (world, broker) = stage(WORKLOAD, [entra("T1")]);
    world.file("/tokens/azure", "k");
    world.ask(&broker, vault_for(client("other"))).unwrap();
    assert_eq!(world.sent(0).field("client_id"), Some("other"));
}

#[test]
fn a_client_id_that_a_shell_would_run_stands_in_no_command() {
    for id in ["$(reboot)", "a';reboot;'b", "a`reboot`b", "--debug"] {
        let (world, broker) = stage(WORKLOAD, [refusal(400, 700_016)]);
        world.file("/tokens/azure", "k");
        let error = world.ask(&broker, vault_for(client(id))).unwrap_err();
        let remedy = error.remedy().unwrap();
        assert!(!remedy.contains(id) && remedy.contains("<id>"), "{error}");
    }
}

#[test]
fn the_clusters_token_proxy_is_refused_by_name() {
    for variable in ["AZURE_KUBERNETES_TOKEN_PROXY", "AZURE_KUBERNETES_CA_FILE", "AZURE_KUBERNETES_SNI_NAME"]
    {
        let (world, broker) = stage(&[WORKLOAD, &[(variable, "x")]].concat(), []);
        let error = world.error(&broker, VAULT);
        assert!(error.kind() == "misconfigured" && error.to_string().contains(variable), "{error}");
    }
}

#[test]
fn a_client_secret_is_sent_to_entra_alone_and_never_shown() {
    let (world, broker) =
        stage(&with(SECRET, &[("TOKEN_BROKER_LOG", "debug")]), [entra("T1"), refusal(401, 7_000_215)]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    let sent = world.sent(0);
    assert_eq!(sent.field("client_secret"), Some("s3cret%20%26%20more"));
    assert_eq!(sent.field("client_assertion"), None);
    let error = world.error(&broker, STORAGE);
    assert_eq!(error.kind(), "rejected");
    let failure = &error.failures()[0];
    assert_eq!(failure.code.as_deref(), Some("AADSTS7000215"));
    assert_eq!(failure.correlation_id.as_deref(), Some("11111111-2222-3333-4444-555555555555"));
    let message = &failure.message;
    assert!(message.contains("(at 2026-01-02 03:04:05Z)") && !message.contains("Trace ID"), "{error}");
    assert!(failure.remedy.as_ref().unwrap().contains("az ad app credential reset --id app"), "{error}");
    for text in [world.log(), error.to_string(), format!("{broker:?}"), format!("{:?}", broker.explain())] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    let shown = report(&broker, "client-secret").would_send.unwrap();
    let start = "POST https://login.microsoftonline.com/tenant.example/oauth2/v2.0/token client_id=app&";
    assert!(shown.starts_with(start), "{shown}");
}

#[test]
fn where_there_is_no_entra_it_is_not_asked_again_and_the_variable_is_named() {
    let (world, broker) = stage(SECRET, [json(404, "")]);
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), world.requests()), ("rejected", 1));
    assert!(error.remedy().unwrap().contains("AZURE_AUTHORITY_HOST"), "{error}");
}

#[test]
fn a_certificate_signs_an_assertion_that_is_used_until_shortly_before_its_end() {
    let (world, broker) = stage(CERTIFICATE, (0..4).map(|nth| entra(&format!("T{nth}"))));
    world.file("/app.pem", include_str!("keys/app.pem"));
    world.get(&broker, VAULT).unwrap();
    world.advance_secs(539);
    world.get(&broker, STORAGE).unwrap();
    assert_eq!(world.sent(0).field("client_assertion"), world.sent(1).field("client_assertion"));
    assert_eq!(world.reads().len(), 1);
    world.advance_secs(2);
    world.get(&broker, "https://management.azure.com/.default").unwrap();
    assert_ne!(world.sent(1).field("client_assertion"), world.sent(2).field("client_assertion"));
    assert_eq!(world.reads().len(), 2);

    let (header, claims) = jwt(world.sent(0).field("client_assertion").unwrap());
    assert_eq!((&header["alg"], &header["typ"]), (&"PS256".into(), &"JWT".into()));
    assert_eq!((header["x5t#S256"].as_str().unwrap().len(), &header["x5c"]), (43, &Value::Null));
    assert_eq!(claims["aud"], "https://login.microsoftonline.com/tenant.example/oauth2/v2.0/token");
    assert_eq!((&claims["iss"], &claims["sub"]), (&"app".into(), &"app".into()));
    assert_eq!((claims["nbf"].as_u64(), claims["exp"].as_u64()), (Some(START), Some(START + 600)));
    assert!(claims["jti"].as_str().unwrap().len() == 36);
}

#[test]
fn a_certificate_chain_is_shown_on_demand_and_ad_fs_gets_the_older_signature() {
    let (world, broker) = stage(
        &with(
            &[CERTIFICATE[0], CERTIFICATE[2]],
            &[
                ("AZURE_TENANT_ID", "adfs"),
                ("AZURE_AUTHORITY_HOST", "https://sts.contoso.com"),
                ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "true"),
            ],
        ),
        [entra("T1")],
    );
    world.file("/app.pem", include_str!("keys/app.pem"));
    world.get(&broker, VAULT).unwrap();
    assert_eq!(world.sent(0).url, "https://sts.contoso.com/adfs/oauth2/token");
    let (header, _) = jwt(world.sent(0).field("client_assertion").unwrap());
    assert_eq!((&header["alg"], header["x5c"].as_array().unwrap().len()), (&"RS256".into(), 1));
}

#[test]
fn an_invalid_certificate_is_reported_with_the_accepted_form() {
    let pem = include_str!("keys/app.pem");
    let (certificate, key) = pem.split_at(pem.find("-----BEGIN PRIVATE").unwrap());
    let encrypted = format!("{certificate}{}", key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
    let older = format!(
        "{certificate}-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
         -----END RSA PRIVATE KEY-----\n"
    );
    let broken = format!("{certificate}{}", key.replace("MII", "!!!"));
    let other = format!("{certificate}{}", include_str!("keys/ec.pem"));
    for (content, says) in [
        ("", "no private key"),
        ("not a pem", "no private key"),
        (certificate, "no private key"),
        (key, "no certificate for its private key"),
        (&encrypted, "encrypted"),
        (&older, "encrypted"),
        (&broken, "not base64"),
        (&other, "not an RSA key"),
        ("-----BEGIN PRIVATE KEY-----", "no private key"),
    ] {
        let (world, broker) = stage(CERTIFICATE, []);
        world.file("/app.pem", content);
        let error = world.error(&broker, VAULT);
        assert_eq!((error.kind(), world.requests()), ("misconfigured", 0), "{says}: {error}");
        let error = error.to_string();
        assert!(error.contains(says) && error.contains("/app.pem"), "{says}: {error}");
    }
    let (world, broker) = stage(CERTIFICATE, []);
    let error = world.error(&broker, VAULT).to_string();
    assert!(error.contains("no such file"), "{error}");
    world.broken_file("/app.pem", "stream did not contain valid UTF-8");
    let error = world.error(&world.broker(CERTIFICATE), VAULT).to_string();
    assert!(error.contains("valid UTF-8") && error.contains("openssl pkcs12"), "{error}");
    let chain = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN";
    for (variable, value, says) in [
        (chain, "yes", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN is not a boolean; fix: set it to `true`"),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "p", "AZURE_CLIENT_CERTIFICATE_PASSWORD"),
    ] {
        let error = world.error(&world.broker(&with(CERTIFICATE, &[(variable, value)])), VAULT).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_managed_identity_authenticates_an_app_of_another_tenant() {
    let (world, broker) = stage(
        &with(FEDERATED, &[("AZURE_CLIENT_ID", "uami")]),
        [token("MI-TOKEN", DAY), entra("T1"), entra("T2")],
    );
    let grant = world.get(&broker, VAULT).unwrap();
    assert_eq!((text(&grant), grant.token.source()), ("T1", "federated-identity"));
    let (first, second) = (world.sent(0), world.sent(1));
    let end = "resource=api%3A%2F%2FAzureADTokenExchange&client_id=uami";
    assert!(first.url.ends_with(end), "{}", first.url);
    assert_eq!(second.url, "https://login.microsoftonline.com/customer.example/oauth2/v2.0/token");
    assert_eq!(
        (second.field("client_assertion"), second.field("client_id")),
        (Some("MI-TOKEN"), Some("app"))
    );
    world.get(&broker, STORAGE).unwrap();
    assert_eq!(world.requests(), 3, "the managed identity's token is held");
}

#[test]
fn a_stale_managed_identity_token_is_replaced_for_the_exchange() {
    let (world, broker) =
        stage(FEDERATED, [token("MI-1", DAY), refusal(401, 700_024), token("MI-2", DAY), entra("T1")]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert_eq!(world.sent(3).field("client_assertion"), Some("MI-2"));
}

#[test]
fn the_managed_identitys_token_is_refreshed_long_before_its_end_and_kept_where_that_fails() {
    let (world, broker) = stage(FEDERATED, [token("MI-1", DAY), entra("T1")]);
    world.get(&broker, VAULT).unwrap();
    world.advance_secs(DAY / 2 + 60);
    world.script((0..4).map(|_| json(500, "{}")).chain([entra("T2")]));
    world.get(&broker, VAULT).unwrap();
    assert_eq!((world.requests(), world.sent(6).field("client_assertion")), (7, Some("MI-1")));
    world.script([entra("T3")]);
    world.get(&broker, STORAGE).unwrap();
    assert_eq!(world.requests(), 8, "not tried again at once");
    world.advance_secs(3600);
    world.script([token("MI-2", 2 * DAY), entra("T4")]);
    world.get(&broker, VAULT).unwrap();
    assert_eq!(world.sent(9).field("client_assertion"), Some("MI-2"));
}

#[test]
fn an_app_without_its_managed_identity_fails_and_no_other_source_answers() {
    let (world, broker) = stage(FEDERATED, [fault(SendErrorKind::NotConnected)]);
    assert_eq!(world.error(&broker, VAULT).kind(), "unavailable");
    world.advance_secs(11);
    world.script((0..4).map(|_| json(500, "{}")));
    assert_eq!(world.error(&broker, VAULT).kind(), "transient");
}

#[test]
fn an_app_authenticates_by_a_managed_identity_even_where_workload_identity_would_serve_its_client_id() {
    let (world, broker) = stage(&with(FEDERATED, WORKLOAD), [token("MI", DAY), entra("T1")]);
    world.file("/tokens/azure", "k8s");
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert!(world.sent(0).url.starts_with("http://169.254.169.254/"), "{}", world.sent(0).url);
    assert_eq!(world.sent(1).field("client_assertion"), Some("MI"));
}

#[test]
fn the_token_for_the_exchange_is_that_of_the_cloud() {
    let (world, broker) = stage(
        &with(FEDERATED, &[("AZURE_AUTHORITY_HOST", "https://login.chinacloudapi.cn/")]),
        [token("MI", DAY), entra("T1")],
    );
    world.get(&broker, VAULT).unwrap();
    assert!(world.sent(0).url.contains("api%3A%2F%2FAzureADTokenExchangeChina"), "{}", world.sent(0).url);
}

#[test]
fn a_consumers_token_for_the_exchange_audience_is_the_apps_and_not_the_managed_identitys() {
    let (world, broker) = stage(FEDERATED, [token("MI", DAY), entra("T1"), entra("APP")]);
    world.get(&broker, VAULT).unwrap();
    assert_eq!(name(world.get(&broker, "api://AzureADTokenExchange/.default")), "APP");
}

#[test]
fn on_behalf_of_a_user_the_scope_is_sent_as_given_and_users_share_nothing() {
    let (world, broker) = stage(SECRET, []);
    let of = |user: &str, scope: &str| RawRequest { user_assertion: Some(user.into()), ..raw(scope) };
    world.script((0..4).map(|nth| entra(&format!("T{nth}"))));
    let graph = "https://graph.microsoft.com/User.Read";
    assert_eq!(name(world.ask(&broker, of("alice", graph))), "T0");
    assert_eq!(name(world.ask(&broker, of("alice", graph))), "T0");
    assert_eq!(name(world.ask(&broker, of("bob", graph))), "T1");
    assert_eq!(name(world.get(&broker, graph)), "T2");
    let sent = world.sent(0);
    assert_eq!(sent.field("grant_type"), Some("urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"));
    assert_eq!(
        (sent.field("requested_token_use"), sent.field("assertion")),
        (Some("on_behalf_of"), Some("alice"))
    );
    assert_eq!(sent.field("scope"), Some("https%3A%2F%2Fgraph.microsoft.com%2FUser.Read"));
    assert_eq!((sent.field("client_id"), sent.field("client_secret").is_some()), (Some("app"), true));
    assert_eq!(
        world.sent(2).field("scope"),
        Some("https%3A%2F%2Fgraph.microsoft.com%2FUser.Read%2F.default")
    );
    broker.forget(graph);
    assert_eq!(name(world.ask(&broker, of("alice", graph))), "T3");
}

#[test]
fn claims_and_the_capability_to_answer_them_go_into_one_field() {
    let (world, broker) = stage(SECRET, [entra("T1"), entra("T2"), entra("T3")]);
    world.ask(&broker, RawRequest { enable_cae: true, ..raw(VAULT) }).unwrap();
    let capability = "%7B%22access_token%22%3A%7B%22xms_cc%22%3A%7B%22values%22%3A%5B%22CP1%22%5D%7D%7D%7D";
    assert_eq!(world.sent(0).field("claims"), Some(capability));
    world.get(&broker, VAULT).unwrap();
    assert_eq!(world.sent(1).field("claims"), None, "the two do not share a token");
    let claims = r#"{"access_token":{"nbf":{"essential":true}}}"#.to_owned();
    world.ask(&broker, RawRequest { claims: Some(claims), ..raw(VAULT) }).unwrap();
    assert_eq!(
        world.sent(2).field("claims"),
        Some("%7B%22access_token%22%3A%7B%22nbf%22%3A%7B%22essential%22%3Atrue%7D%7D%7D")
    );
    assert_eq!(name(world.get(&broker, VAULT)), "T3");
}

#[test]
fn another_tenant_is_asked_only_where_it_is_allowed() {
    let world = World::new();
    let of = |tenant: &str| RawRequest { tenant_id: Some(tenant.to_owned()), ..raw(VAULT) };
    let error = world.ask(&world.broker(SECRET), of("other.example")).unwrap_err();
    assert_eq!((error.kind(), world.requests()), ("denied", 0));

    let broker = world.broker(&with(SECRET, &[("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*")]));
    world.script([entra("T1"), entra("T2")]);
    world.ask(&broker, of("other.example")).unwrap();
    assert_eq!(world.sent(0).url, "https://login.microsoftonline.com/other.example/oauth2/v2.0/token");
    assert_eq!(name(world.ask(&broker, of("TENANT.example"))), "T2");
    assert_eq!(name(world.get(&broker, VAULT)), "T2", "the own tenant needs no naming");
}

#[test]
fn the_tenant_of_a_request_is_compared_with_that_of_the_app_which_is_asked() {
    let of =
        |identity, tenant: &str| RawRequest { tenant_id: Some(tenant.to_owned()), ..vault_for(identity) };
    let app = || client("app-of-the-file");
    let world = World::new();
    world.file("/tokens/azure", "k");
    // One app in the tenant `customer`, any other in `tenant`.
    let broker = world.broker(&with(FEDERATED, WORKLOAD));
    let error = world.ask(&broker, of(app(), "customer.example")).unwrap_err();
    assert_eq!((error.kind(), world.requests()), ("denied", 0));
    world.script([entra("T1")]);
    world.ask(&broker, of(app(), "tenant.example")).unwrap();
    assert_eq!(world.sent(0).url, "https://login.microsoftonline.com/tenant.example/oauth2/v2.0/token");
    // A managed identity has one tenant, regardless of the other settings.
    world.script([token("MI", DAY)]);
    assert_eq!(name(world.ask(&broker, of(Identity::SystemAssigned, "customer.example"))), "MI");
}

#[test]
fn an_app_declines_another_identity() {
    let (world, broker) = stage(SECRET, [token("MI", DAY)]);
    let request = vault_for(Identity::SystemAssigned);
    assert_eq!(name(world.ask(&broker, request)), "MI");
    assert!(world.sent(0).url.starts_with("http://169.254.169.254/"));
}

#[test]
fn a_throttled_or_failing_app_is_never_replaced_by_the_machines_identity() {
    for (reply, kind) in [
        (json_with(429, ("retry-after", "3600"), "{}"), "throttled"),
        (refusal(400, 700_016), "rejected"),
        (json(200, "{}"), "protocol"),
    ] {
        let (world, broker) = stage(SECRET, [reply, token("MI", DAY)]);
        assert_eq!(world.error(&broker, VAULT).kind(), kind);
        assert_eq!(world.requests(), 1, "{kind}");
    }
}

// Managed identities.

#[test]
fn machine_learning_is_asked_in_the_older_protocol() {
    let (world, broker) = stage(
        &with(MSI, &[("DEFAULT_IDENTITY_CLIENT_ID", "compute")]),
        [json(200, r#"{"access_token":"T1","expires_on":1760086400}"#), token("T2", DAY)],
    );
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    let sent = world.sent(0);
    assert_eq!(
        sent.url,
        "http://localhost:50342/oauth2/token?api-version=2017-09-01&resource=https%3A%2F%2Fvault.azure.net&clientid=compute"
    );
    assert!(sent.headers["secret"] == "msi-secret" && sent.headers["secret"].is_sensitive());
    let named = vault_for(client("x"));
    world.ask(&broker, named).unwrap();
    assert!(world.sent(1).url.ends_with("&clientid=x"), "{}", world.sent(1).url);
    for identity in [Identity::object_id("o"), Identity::resource_id("/s/r")] {
        let request = vault_for(identity.unwrap());
        assert_eq!(world.ask(&broker, request).unwrap_err().kind(), "invalid-request");
    }
    assert_eq!(world.requests(), 2);
}

#[test]
fn cloud_shell_gets_a_form_and_has_one_identity() {
    let (world, broker) = stage(&MSI[..1], [token("T1", DAY)]);
    world.get(&broker, VAULT).unwrap();
    let sent = world.sent(0);
    assert_eq!((sent.method.as_str(), sent.url.as_str()), ("POST", "http://localhost:50342/oauth2/token"));
    assert_eq!(
        (sent.body.as_str(), &sent.headers["metadata"]),
        ("resource=https%3A%2F%2Fvault.azure.net", &"true".parse().unwrap())
    );
    let named = vault_for(client("x"));
    assert_eq!(world.ask(&broker, named).unwrap_err().kind(), "invalid-request");
}

#[test]
fn service_fabric_is_asked_only_where_the_host_pins_its_certificate() {
    let (world, broker) = stage(FABRIC, []);
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), world.requests()), ("unavailable", 0));
    assert!(error.to_string().contains("TOKEN_BROKER_PINNED_THUMBPRINT"), "{error}");
    assert_eq!(report(&broker, "service-fabric").verdict, Verdict::Misconfigured);

    let broker = world.broker(&with(FABRIC, &[PIN]));
    world.script([token("T1", DAY)]);
    world.get(&broker, VAULT).unwrap();
    let sent = world.sent(0);
    assert_eq!(
        sent.url,
        "https://10.0.0.4:2377/metadata/identity/oauth2/token?api-version=2019-07-01-preview&resource=https%3A%2F%2Fvault.azure.net"
    );
    assert_eq!(sent.headers["secret"], "fabric-secret");
    let named = vault_for(client("x"));
    assert_eq!(world.ask(&broker, named).unwrap_err().kind(), "invalid-request");
}

#[test]
fn service_fabric_is_told_which_token_was_refused() {
    let (world, broker) = stage(
        &with(FABRIC, &[PIN]),
        [token("test_token", DAY), token("T2", DAY), token("T3", DAY), token("T4", DAY)],
    );
    world.get(&broker, VAULT).unwrap();
    let claims = Some(r#"{"access_token":{"nbf":{"essential":true,"value":"1563308371"}}}"#.to_owned());
    world.ask(&broker, RawRequest { claims: claims.clone(), ..raw(VAULT) }).unwrap();
    let refused = "&token_sha256_to_refresh=cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656";
    assert!(world.sent(1).url.ends_with(refused), "{}", world.sent(1).url);
    assert_eq!(name(world.get(&broker, VAULT)), "T2");
    world.ask(&broker, RawRequest { enable_cae: true, ..raw(VAULT) }).unwrap();
    assert!(world.sent(2).url.ends_with("&xms_cc=CP1"), "{}", world.sent(2).url);
    world.ask(&broker, RawRequest { enable_cae: true, claims, ..raw(VAULT) }).unwrap();
    let url = world.sent(3).url;
    assert!(url.contains("token_sha256_to_refresh=") && url.ends_with("&xms_cc=CP1"));
}

#[test]
fn a_service_fabric_application_without_an_identity_is_not_asked_about_twice() {
    let (world, broker) = stage(
        &with(FABRIC, &[PIN]),
        [json(404, r#"{"error":{"correlationId":"c","code":"ManagedIdentityNotFound","message":"none"}}"#)],
    );
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), world.requests()), ("rejected", 1));
    assert_eq!(error.failures()[0].code.as_deref(), Some("ManagedIdentityNotFound"));
}

fn challenge(realm: &str) -> Reply {
    json_with(401, ("www-authenticate", &format!("Basic realm={realm}")), "{}")
}

#[test]
fn arc_is_shown_the_key_that_it_named() {
    let (world, broker) = stage(ARC, [challenge(KEY_FILE), token("T1", DAY)]);
    world.file(KEY_FILE, "the-key");
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    let url = "http://127.0.0.1:40342/metadata/identity/oauth2/token?api-version=2020-06-01&resource=https%3A%2F%2Fvault.azure.net";
    assert_eq!((world.sent(0).url.as_str(), world.sent(1).url.as_str()), (url, url));
    assert!(!world.sent(0).headers.contains_key("authorization"));
    assert!(world.sent(1).headers["authorization"] == "Basic the-key");
    assert_eq!(world.sent(1).headers["metadata"], "true");
    assert_eq!(world.reads(), [format!("{KEY_FILE} Refuse")]);
}

#[test]
fn a_file_that_is_not_the_agents_is_neither_read_nor_sent() {
    for realm in ["/etc/passwd", "/var/opt/azcmagent/tokens/../../../../etc/a.key", "path/to/secret.key", ""]
    {
        let (world, broker) = stage(ARC, [challenge(realm)]);
        assert_eq!(world.error(&broker, VAULT).kind(), "protocol", "{realm}");
        assert_eq!((world.requests(), world.reads().len()), (1, 0), "{realm}");
    }
    let (world, broker) = stage(ARC, [json(401, "{}")]);
    assert_eq!(world.error(&broker, VAULT).kind(), "protocol");
}

#[test]
fn a_key_of_4096_bytes_is_sent_and_no_longer_or_broken_one() {
    for (key, sent) in
        [("k".repeat(4096), 2), ("k".repeat(4097), 1), (String::new(), 1), ("a\nb".to_owned(), 1)]
    {
        let (world, broker) = stage(ARC, [challenge(KEY_FILE), token("T1", DAY)]);
        world.file(KEY_FILE, &key);
        assert_eq!(world.get(&broker, VAULT).is_ok(), sent == 2, "{}", key.len());
        assert_eq!(world.requests(), sent);
    }
    let (world, broker) = stage(ARC, [challenge(KEY_FILE)]);
    let error = world.error(&broker, VAULT);
    assert!(error.kind() == "protocol" && error.to_string().contains("himds"), "{error}");
}

#[test]
fn arc_must_confirm_a_user_assigned_identity() {
    for (echo, taken) in [
        (r#""client_id":"ABC""#, true),
        (r#""client_id":"other""#, false),
        (r#""object_id":"abc""#, false),
        (r#""client_id":1"#, false),
        (r#""x":1"#, false),
    ] {
        let (world, broker) = stage(ARC, []);
        world.file(KEY_FILE, "the-key");
        let body = format!(r#"{{"access_token":"T1","expires_in":"3600",{echo}}}"#);
        world.script([challenge(KEY_FILE), json(200, &body)]);
        let request = vault_for(client("abc"));
        let outcome = world.ask(&broker, request).map(|_| ());
        assert_eq!(
            outcome.map_err(|error| error.kind()),
            if taken { Ok(()) } else { Err("protocol") },
            "{echo}"
        );
        assert!(world.sent(0).url.ends_with("&client_id=abc"));
    }
}

#[test]
fn arc_shows_by_its_agents_file_that_it_is_here() {
    let (world, broker) = stage(&[], [challenge(KEY_FILE), token("T1", DAY)]);
    world.file("/opt/azcmagent/bin/himds", "ELF and so on");
    world.file(KEY_FILE, "the-key");
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert!(world.sent(0).url.starts_with("http://127.0.0.1:40342/metadata/identity/oauth2/token?"));
}

#[test]
fn a_source_that_was_passed_over_has_not_failed() {
    let (world, broker) = stage(SECRET, []);
    let arc = || report(&broker, "azure-arc");
    assert!(arc().reason.contains("/opt/azcmagent/bin/himds"), "{:?}", arc());
    world.script([entra("APP"), token("MI", DAY)]);
    world.get(&broker, VAULT).unwrap();
    let request = vault_for(Identity::SystemAssigned);
    world.ask(&broker, request).unwrap();
    for report in [report(&broker, "client-secret"), arc()] {
        assert_eq!((report.verdict, report.last_failure), (Verdict::Ready, None), "{}", report.source);
    }
    assert_eq!(report(&broker, "imds").verdict, Verdict::Used);
}

#[test]
fn a_link_out_of_the_guests_directory_is_reported_without_advice_on_the_file_format() {
    for (environment, path) in [(CERTIFICATE, "/app.pem"), (WORKLOAD, "/tokens/azure")] {
        let (world, broker) = stage(environment, []);
        world.link_out(path);
        let error = world.error(&broker, VAULT).to_string();
        assert!(
            error.contains(path) && error.contains("symbolic link leads out of the directory"),
            "{error}"
        );
        assert!(!error.contains("PEM") && world.requests() == 0, "{error}");
    }
}

#[test]
fn an_unreadable_agents_file_is_distinguished_from_a_missing_one() {
    for (broken, says) in [(false, "there is no file"), (true, "cannot be read: permission denied")] {
        let (world, broker) = stage(&[], []);
        if broken {
            world.broken_file("/opt/azcmagent/bin/himds", "permission denied");
        }
        world.script([fault(SendErrorKind::NotConnected)]);
        let error = world.error(&broker, VAULT);
        let agent = error.failures().iter().find(|failure| failure.source == "azure-arc").unwrap();
        assert!(agent.message.contains(says), "{error}");
    }
}

#[test]
fn an_agent_that_asks_again_and_again_is_not_answered_again() {
    let (world, broker) = stage(ARC, [challenge(KEY_FILE), challenge(KEY_FILE)]);
    world.file(KEY_FILE, "the-key");
    assert_eq!(world.error(&broker, VAULT).kind(), "rejected");
    assert_eq!(world.requests(), 2);
}

// The chain.

#[test]
fn the_absence_of_imds_is_cached_for_all_scopes() {
    let (world, broker) = stage(&[], [fault(SendErrorKind::NotConnected), token("T1", DAY)]);
    for scope in [VAULT, STORAGE] {
        assert_eq!(world.error(&broker, scope).kind(), "unavailable");
    }
    assert_eq!(world.requests(), 1);
    world.advance(Duration::from_millis(10_001));
    world.get(&broker, STORAGE).unwrap();
}

#[test]
fn forgetting_ends_the_cached_absence_of_imds() {
    let (world, broker) = stage(&[], [fault(SendErrorKind::NotConnected), token("T1", DAY)]);
    assert!(world.get(&broker, VAULT).is_err());
    broker.forget(VAULT);
    assert!(world.get(&broker, VAULT).is_ok());
}

#[test]
fn only_selected_sources_are_tried_and_checked() {
    let everything = [WORKLOAD, &SECRET[..1], &MSI[..1]].concat();
    for (selected, source) in [
        ("EnvironmentCredential", "client-secret"),
        ("workloadidentitycredential", "workload-identity"),
        (" ManagedIdentityCredential ", "imds"),
    ] {
        let world = World::new();
        world.file("/tokens/azure", "k");
        let pairs = [&everything[..4], &[("AZURE_TOKEN_CREDENTIALS", selected)]].concat();
        let broker = world.broker(&pairs);
        world.script([token("T1", DAY)]);
        assert_eq!(world.get(&broker, VAULT).unwrap().token.source(), source);
    }
    // The faults of an excluded source do not matter.
    let (world, broker) = stage(
        &[
            ("MSI_SECRET", "alone"),
            SECRET[0],
            SECRET[1],
            SECRET[2],
            ("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential"),
        ],
        [entra("T1")],
    );
    assert!(world.get(&broker, VAULT).is_ok());
    assert_eq!(report(&broker, "azure-ml").reason, "AZURE_TOKEN_CREDENTIALS excludes it");
}

#[test]
fn a_selection_without_a_source_names_the_missing_variables() {
    let (world, broker) = stage(&[("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")], []);
    let error = world.error(&broker, VAULT);
    let sources: Vec<_> = error.failures().iter().map(|failure| failure.source.as_ref()).collect();
    assert_eq!((error.kind(), sources), ("unavailable", vec!["client-secret", "client-certificate"]));
}

fn jwt(text: &str) -> (Value, Value) {
    let part = |nth| {
        let part: &str = text.split('.').nth(nth).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    (part(0), part(1))
}

#[test]
fn an_incomplete_answer_is_retried_with_every_source_and_then_a_transient_error() {
    let cloud_shell: &Pairs = &[("MSI_ENDPOINT", "http://localhost:50342/oauth2/token")];
    let fabric = with(FABRIC, &[PIN]);
    let app_service = [("IDENTITY_ENDPOINT", "http://127.0.0.1:4/msi/token"), ("IDENTITY_HEADER", "h")];
    for source in [SECRET, WORKLOAD, ARC, MSI, cloud_shell, &fabric, &app_service, &[]] {
        for incomplete in [
            || json(200, ""),
            || json(200, r#"{"access_token":"T1","expires_"#),
            || fault(SendErrorKind::Truncated),
        ] {
            let (world, broker) = stage(source, []);
            world.file(KEY_FILE, "the-key");
            world.file("/tokens/azure", "assertion");
            let is_arc = source == ARC;
            let tries = |reply: fn() -> Reply, count: usize| {
                (0..count).flat_map(move |_| is_arc.then(|| challenge(KEY_FILE)).into_iter().chain([reply()]))
            };
            world.script(tries(incomplete, 4));
            let error = world.error(&broker, VAULT);
            assert_eq!(
                (error.kind(), world.requests()),
                ("transient", if is_arc { 8 } else { 4 }),
                "{error}"
            );
            assert!(
                error.remedy().is_some_and(|remedy| remedy.contains("closed the connection early")),
                "{error}"
            );
            world.advance_secs(10);
            world.script(tries(incomplete, 1).chain(tries(|| token("T1", DAY), 1)));
            assert_eq!(name(world.get(&broker, VAULT)), "T1");
        }
    }
}
