//! Apps of Entra: by workload identity, a secret, a certificate, or a managed identity of another tenant.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use token_broker::{Identity, RawRequest, SendErrorKind, Verdict};

use crate::fake::{START, fault, json, token};
use crate::stage::*;

fn jwt(text: &str) -> (Value, Value) {
    let part = |nth| {
        let part: &str = text.split('.').nth(nth).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    (part(0), part(1))
}

#[test]
fn workload_identity_exchanges_the_token_in_its_file() {
    let (world, broker) = stage(WORKLOAD, [entra("T1")]);
    world.file("/tokens/azure", &format!("\n  {JWT}\n"));
    let grant = world.get(&broker, VAULT).unwrap();
    assert_eq!((text(&grant), grant.token.source()), ("T1", "workload-identity"));
    let sent = world.sent(0);
    assert_eq!(
        (sent.method.as_str(), sent.url.as_str()),
        ("POST", "https://login.microsoftonline.com/tenant.example/oauth2/v2.0/token")
    );
    assert_eq!(sent.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(sent.field("client_assertion"), Some(JWT));
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
    world.file("/tokens/azure", JWT);
    world.get(&broker, VAULT).unwrap();
    world.get(&broker, VAULT).unwrap();
    assert_eq!(world.reads(), ["/tokens/azure Follow"]);
    world.file("/tokens/azure", "e30.e30.dHdv");
    world.get(&broker, STORAGE).unwrap();
    assert_eq!(world.sent(1).field("client_assertion"), Some("e30.e30.dHdv"));
}

#[test]
fn an_assertion_that_entra_finds_stale_is_renewed_once() {
    let (world, broker) = stage(WORKLOAD, [refusal(401, 700_024), entra("T1")]);
    world.file("/tokens/azure", JWT);
    world.get(&broker, VAULT).unwrap();
    assert_eq!((world.moments(), world.reads().len()), (vec![0, 0], 2));

    world.script([refusal(401, 700_024), refusal(401, 700_024)]);
    let error = world.error(&broker, STORAGE);
    assert_eq!((error.kind(), world.requests()), ("rejected", 4));
    assert_eq!(error.failures()[0].code.as_deref(), Some("AADSTS700024"));
}

#[test]
fn a_token_file_without_a_token_stops_the_chain_and_nothing_is_sent() {
    for content in [None, Some(""), Some(" \n"), Some("a b"), Some("\u{e4}"), Some("e30.e30"), Some("opaque")]
    {
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
    world.file("/tokens/azure", JWT);
    world.ask(&broker, vault_for(client("other"))).unwrap();
    assert_eq!(world.sent(0).field("client_id"), Some("other"));
}

#[test]
fn a_client_id_that_a_shell_would_run_stands_in_no_command() {
    for id in ["$(reboot)", "a';reboot;'b", "a`reboot`b", "--debug"] {
        let (world, broker) = stage(WORKLOAD, [refusal(400, 700_016)]);
        world.file("/tokens/azure", JWT);
        let error = world.ask(&broker, vault_for(client(id))).unwrap_err();
        let remedy = error.remedy().unwrap();
        assert!(!remedy.contains(id) && remedy.contains("<id>"), "{error}");
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
    world.file("/tokens/azure", JWT);
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
    let (world, broker) = stage(SECRET, []);
    let of = |tenant: &str| RawRequest { tenant_id: Some(tenant.to_owned()), ..raw(VAULT) };
    let error = world.ask(&broker, of("other.example")).unwrap_err();
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
    // One app in the tenant `customer`, any other in `tenant`.
    let (world, broker) = stage(&with(FEDERATED, WORKLOAD), []);
    world.file("/tokens/azure", JWT);
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
fn a_users_name_and_password_are_refused_and_no_other_identity_answers() {
    let user = [
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_TENANT_ID", "tenant.example"),
        ("AZURE_USERNAME", "a@contoso.com"),
        ("AZURE_PASSWORD", "sentinel"),
    ];
    for settings in [user.to_vec(), with(WORKLOAD, &user).to_vec()] {
        let (world, broker) = stage(&settings, []);
        let line = world.error(&broker, VAULT).to_string();
        assert!(line.starts_with("misconfigured: AZURE_USERNAME and AZURE_PASSWORD are set"), "{line}");
        assert!(!line.contains("sentinel") && !line.contains("contoso"), "{line}");
        assert_eq!(report(&broker, "client-secret").verdict, Verdict::Misconfigured);
        assert_eq!(world.requests(), 0);
    }
}

#[test]
fn a_users_name_and_password_beside_a_credential_or_without_an_app_change_nothing() {
    let user = [("AZURE_USERNAME", "a@contoso.com"), ("AZURE_PASSWORD", "sentinel")];
    let (world, broker) = stage(&with(SECRET, &user), [entra("T1")]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    for alone in [&user[..], &user[..1], &[user[1], ("AZURE_CLIENT_ID", "c")]] {
        let (world, broker) = stage(alone, [token("T1", DAY)]);
        assert_eq!(name(world.get(&broker, VAULT)), "T1", "{alone:?}");
        assert!(
            report(&broker, "client-secret")
                .variables
                .iter()
                .any(|(name, is_set)| *is_set && name.starts_with("AZURE_"))
        );
    }
    let selected =
        [&user[..], &[("AZURE_CLIENT_ID", "c"), ("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")]]
            .concat();
    let (world, broker) = stage(&selected, [token("T1", DAY)]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
}
