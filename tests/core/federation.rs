//! Apps that trust the issuer of another platform: its endpoint, a variable, a file that is written in place.

mod cost;

use std::future::Future;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use token_broker::{SendErrorKind, Verdict};

use crate::fake::{Reply, START, Tasks, World, fault, json, json_with};
use crate::stage::*;

const APP: &Pairs = &[("AZURE_TENANT_ID", "tenant.example"), ("AZURE_CLIENT_ID", "app")];
const GITHUB: &Pairs = &[
    ("TOKEN_BROKER_ASSERTION", "github"),
    ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://run.example/1//idtoken/x?api-version=2.0"),
    ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "s3ntinel-request-token"),
];
const PIPELINES: &Pairs = &[
    ("TOKEN_BROKER_ASSERTION", "azure-pipelines"),
    ("SYSTEM_OIDCREQUESTURI", "https://dev.azure.example/contoso/oidctoken/"),
    ("SYSTEM_ACCESSTOKEN", "s3ntinel-access-token"),
    ("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", "a b&c"),
];
const GCP: &Pairs = &[("TOKEN_BROKER_ASSERTION", "gcp")];
const OTHER: &Pairs = &[
    ("TOKEN_BROKER_ASSERTION", "url"),
    ("TOKEN_BROKER_ASSERTION_URL", "https://issuer.example/token?key=s3ntinel-key"),
    ("TOKEN_BROKER_ASSERTION_METHOD", "POST"),
    ("TOKEN_BROKER_ASSERTION_HEADERS", "X-Vault-Token: $CI_TOKEN\nX-Format: jwt"),
    ("TOKEN_BROKER_ASSERTION_FIELD", "jwt"),
    ("CI_TOKEN", "s3ntinel-ci-token"),
];
const VARIABLE: &Pairs =
    &[("TOKEN_BROKER_ASSERTION", "variable"), ("TOKEN_BROKER_ASSERTION_VARIABLE", "CI_JWT")];

fn app(issuer: &Pairs) -> Vec<(&'static str, &'static str)> {
    with(APP, issuer)
}

/// A JWT that expires `life` seconds after the beginning.
fn jwt(life: i64) -> String {
    let claims = format!(r#"{{"exp":{},"aud":"api://AzureADTokenExchange"}}"#, START as i64 + life);
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn in_field(field: &str, token: &str) -> Reply {
    json(200, &format!(r#"{{"count":1,"{field}":"{token}"}}"#))
}

fn github(life: i64) -> Reply {
    in_field("value", &jwt(life))
}

#[test]
fn github_is_asked_with_the_audience_and_the_jobs_token_and_entra_gets_its_answer() {
    let (world, broker) = stage(&app(GITHUB), [github(300), entra("T1")]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    let asked = world.sent(0);
    assert_eq!(asked.method, "GET");
    assert_eq!(
        asked.url,
        "https://run.example/1//idtoken/x?api-version=2.0&audience=api%3A%2F%2FAzureADTokenExchange"
    );
    assert_eq!(asked.headers["authorization"], "Bearer s3ntinel-request-token");
    let exchange = world.sent(1);
    assert_eq!(exchange.url, "https://login.microsoftonline.com/tenant.example/oauth2/v2.0/token");
    assert_eq!(exchange.field("client_assertion"), Some(&*jwt(300)));
    assert_eq!(exchange.field("client_id"), Some("app"));
    assert_eq!(report(&broker, "federated-assertion").verdict, Verdict::Used);
}

#[test]
fn the_audience_is_that_of_the_cloud_or_the_configured_one() {
    let url = ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:8080/t");
    for (variable, value, audience) in [
        ("AZURE_AUTHORITY_HOST", "login.microsoftonline.us", "api%3A%2F%2FAzureADTokenExchangeUSGov"),
        ("TOKEN_BROKER_ASSERTION_AUDIENCE", "https://x.example", "https%3A%2F%2Fx.example"),
    ] {
        let (world, broker) =
            stage(&with(&app(GITHUB), &[url, (variable, value)]), [github(300), entra("T1")]);
        world.get(&broker, VAULT).unwrap();
        assert_eq!(world.sent(0).url, format!("http://127.0.0.1:8080/t?audience={audience}"));
    }
}

#[test]
fn azure_pipelines_is_asked_by_a_post_without_a_body_for_the_service_connection() {
    let (world, broker) = stage(&app(PIPELINES), [in_field("oidcToken", &jwt(600)), entra("T1")]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    let asked = world.sent(0);
    assert_eq!(
        (asked.method.as_str(), asked.url.as_str()),
        ("POST", "https://dev.azure.example/contoso/oidctoken?api-version=7.1&serviceConnectionId=a%20b%26c")
    );
    assert_eq!(asked.headers["authorization"], "Bearer s3ntinel-access-token");
    assert_eq!(asked.headers["x-tfs-fedauthredirect"], "Suppress");
    assert_eq!((&asked.headers["content-length"], &*asked.body), (&"0".parse().unwrap(), ""));
}

#[test]
fn gcps_metadata_server_answers_with_text() {
    for (host, address) in [
        (None, "169.254.169.254"),
        (Some("metadata.google.internal"), "169.254.169.254"),
        (Some("127.0.0.1:8080"), "127.0.0.1:8080"),
    ] {
        let host = host.map(|host| ("GCE_METADATA_HOST", host));
        let pairs: Vec<_> = app(GCP).into_iter().chain(host).collect();
        let text = json_with(200, ("content-type", "text/html"), &format!("{}\n", jwt(3600)));
        let (world, broker) = stage(&pairs, [text, entra("T1")]);
        assert_eq!(name(world.get(&broker, VAULT)), "T1");
        let asked = world.sent(0);
        assert_eq!(
            asked.url,
            format!(
                "http://{address}/computeMetadata/v1/instance/service-accounts/default/identity?audience=api%3A%2F%2FAzureADTokenExchange"
            )
        );
        assert_eq!(asked.headers["metadata-flavor"], "Google");
        assert_eq!(world.sent(1).field("client_assertion"), Some(&*jwt(3600)));
    }
}

#[test]
fn any_other_issuer_is_asked_as_the_settings_describe_it() {
    let (world, broker) = stage(&app(OTHER), [in_field("jwt", &jwt(600)), entra("T1")]);
    let shown = report(&broker, "assertion-issuer").would_send.unwrap();
    assert_eq!(shown, "POST https://issuer.example/token");
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    let asked = world.sent(0);
    assert_eq!((asked.method.as_str(), asked.url.as_str()), ("POST", OTHER[1].1));
    assert_eq!(asked.headers["x-vault-token"], "s3ntinel-ci-token");
    assert_eq!(asked.headers["x-format"], "jwt");
}

#[test]
fn one_assertion_serves_all_scopes_and_tenants_until_shortly_before_its_expiry() {
    let tenants = [("AZURE_ADDITIONALLY_ALLOWED_TENANTS", "*")];
    let (world, broker) = stage(&with(&app(GITHUB), &tenants), []);
    let replies = [github(300), entra("T1"), entra("T2"), entra("T3")];
    world.script(replies);
    world.get(&broker, VAULT).unwrap();
    world.get(&broker, STORAGE).unwrap();
    let elsewhere = token_broker::RawRequest { tenant_id: Some("other.example".to_owned()), ..raw(VAULT) };
    world.ask(&broker, elsewhere).unwrap();
    assert_eq!(world.requests(), 4);

    world.advance_secs(200);
    world.script([entra("T4")]);
    world.get(&broker, "https://management.azure.com/.default").unwrap();
    assert_eq!(world.requests(), 5, "the assertion has more than half a minute left");
    world.advance_secs(75);
    world.script([github(600), entra("T5")]);
    world.get(&broker, "https://graph.microsoft.com/.default").unwrap();
    assert_eq!(world.requests(), 7);
}

#[test]
fn a_herd_for_several_scopes_costs_one_request_to_the_issuer() {
    let (world, broker) = stage(&app(GITHUB), []);
    let scopes = [VAULT, STORAGE, "https://management.azure.com/.default"];
    let calls = (0..10).map(|nth| get(&broker, scopes[nth % 3]));
    let mut tasks = crowd(&world, calls);
    assert_eq!(world.requests(), 1);
    tasks.serve([github(300), entra("T1"), entra("T2"), entra("T3")]);
    assert!(tasks.outputs().iter().all(Result::is_ok));
    let issuer = (0..world.requests()).filter(|nth| world.sent(*nth).url.contains("idtoken")).count();
    assert_eq!((issuer, world.requests()), (1, 4));
}

#[test]
fn an_assertion_that_entra_calls_stale_is_replaced_once() {
    let replies = [github(300), refusal(401, 700_024), github(400), entra("T1")];
    let (world, broker) = stage(&app(GITHUB), replies);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert_eq!((world.requests(), world.seconds()), (4, 0));
    world.script([refusal(401, 700_024), github(500), refusal(401, 700_024)]);
    let error = world.error(&broker, STORAGE);
    assert_eq!((error.kind(), world.requests()), ("rejected", 7));
}

#[test]
fn an_assertion_of_unknown_lifetime_is_used_for_one_exchange() {
    for claims in ["e30", "bm90IGpzb24", "eyJleHAiOiJzb29uIn0"] {
        let answer = || in_field("value", &format!("e30.{claims}.c2ln"));
        let (world, broker) = stage(&app(GITHUB), [answer(), entra("T1"), answer(), entra("T2")]);
        world.get(&broker, VAULT).unwrap();
        world.get(&broker, STORAGE).unwrap();
        assert_eq!(world.requests(), 4, "{claims}");
    }
}

#[test]
fn an_answer_without_a_token_is_not_sent_to_entra_and_not_repeated() {
    let page = || json_with(200, ("content-type", "text/html"), "<html>s3ntinel sign-in</html>");
    let ended = in_field("value", &jwt(0));
    for answer in [
        json(200, r#"{"count":1}"#),
        json(200, r#"{"value":""}"#),
        json(200, r#"{"value":null}"#),
        json(200, r#"{"value":7}"#),
        json(200, r#"["value"]"#),
        in_field("value", "s3ntinel-opaque"),
        in_field("value", "e30.e30"),
        in_field("other", &jwt(300)),
        json(200, ""),
        json(202, r#"{"access_token":"s3ntinel-token","expires_in":60}"#),
        json(201, r#"{"value":"e30.e30.c2ln"}"#),
        json(203, "<html>s3ntinel</html>"),
        fault(SendErrorKind::TooLarge),
        json_with(302, ("location", "https://evil.example/?s3ntinel"), ""),
        ended,
        page(),
    ] {
        let (world, broker) = stage(&app(GITHUB), [answer]);
        let error = world.error(&broker, VAULT);
        assert_eq!((error.kind(), world.requests()), ("protocol", 1), "{error}");
        assert_eq!(error.failures()[0].source, "assertion-issuer");
        let text = format!("{error} {}", world.log());
        assert!(!text.contains("s3ntinel") && text.contains("run.example"), "{text}");
    }
    let (world, broker) = stage(&app(PIPELINES), [page()]);
    let error = world.error(&broker, VAULT);
    assert!(error.remedy().unwrap().contains("SYSTEM_ACCESSTOKEN: $(System.AccessToken)"), "{error}");
}

#[test]
fn a_busy_issuer_and_a_job_that_has_not_started_are_asked_again() {
    let early = r#"{"message":"Can't issue ID_TOKEN for job in 'Pending' state"}"#;
    let delayed = r#"{"source":"actions-run-service","statusCode":403,"errorMessage":"Can't issue ID_TOKEN for job in 'Delayed' state"}"#;
    for (busy, waited) in [
        (json(403, early), 1),
        (json(403, delayed), 1),
        (json(503, "{}"), 1),
        (fault(SendErrorKind::TimedOut), 1),
        (json_with(429, ("retry-after", "7"), "{}"), 7),
    ] {
        let (world, broker) = stage(&app(GITHUB), [busy, github(300), entra("T1")]);
        assert_eq!(name(world.get(&broker, VAULT)), "T1");
        assert_eq!((world.requests(), world.seconds()), (3, waited));
    }
}

#[test]
fn a_refusal_is_told_with_the_words_of_the_issuer_and_what_to_do() {
    let reference = r#"{"count":151,"value":"There is no explicit reference to service connection x from current stage"}"#;
    let expired = r#"{"source":"actions-run-service","statusCode":401,"errorMessage":"token has invalid claims: token is expired"}"#;
    let completed = r#"{"source":"actions-run-service","statusCode":403,"errorMessage":"Can't issue ID_TOKEN for job in 'Completed' state"}"#;
    let audience = r#"{"source":"actions-run-service","statusCode":400,"errorMessage":"Can't issue ID_TOKEN for audience 'x'"}"#;
    let get =
        r#"{"count":1,"value":{"Message":"The requested resource does not support http method 'GET'."}}"#;
    let tf = r#"{"$id":"1","message":"TF400813: The user '' is not authorized","errorCode":0}"#;
    for (issuer, status, body, words, remedy) in [
        (GITHUB, 401, r#"{"message":"bad credentials"}"#, "bad credentials", "id-token: write"),
        (GITHUB, 401, expired, "token is expired", "id-token: write"),
        (GITHUB, 403, completed, "'Completed' state", "ends with the job"),
        (GITHUB, 400, audience, "for audience 'x'", "unset TOKEN_BROKER_ASSERTION_AUDIENCE"),
        (GITHUB, 405, get, "does not support http method 'GET'", "POST"),
        (
            PIPELINES,
            400,
            reference,
            "There is no explicit reference",
            "name the service connection in the stage",
        ),
        (PIPELINES, 401, tf, "TF400813", "SYSTEM_ACCESSTOKEN"),
        (PIPELINES, 405, "", "405", "GET"),
        (GCP, 404, "", "404", "set-service-account"),
        (GCP, 403, "no flavor", "no flavor", "Metadata-Flavor: Google"),
        (OTHER, 401, r#"{"message":"no s3ntinel-ci-token"}"#, "no ****", "documentation of the issuer"),
    ] {
        let (world, broker) = stage(&app(issuer), [json(status, body)]);
        let error = world.error(&broker, VAULT);
        let text = format!("{error} {}", world.log());
        assert_eq!((error.kind(), world.requests()), ("rejected", 1), "{error}");
        assert!(text.contains(words) && error.remedy().unwrap().contains(remedy), "{error}");
        assert!(!text.contains("s3ntinel"), "{text}");
    }
}

#[test]
fn the_ids_that_the_support_of_azure_devops_asks_for_are_in_the_error() {
    let mut refused = json(401, r#"{"message":"TF400813"}"#);
    if let Ok(response) = &mut refused {
        response.headers_mut().insert("x-vss-e2eid", "e2e-id".parse().unwrap());
        response.headers_mut().insert("x-msedge-ref", "edge-id".parse().unwrap());
    }
    let (world, broker) = stage(&app(PIPELINES), [refused]);
    let error = world.error(&broker, VAULT);
    assert_eq!(error.failures()[0].correlation_id.as_deref(), Some("e2e-id"));
    assert!(error.to_string().contains("(x-msedge-ref edge-id)"), "{error}");
}

#[test]
fn outside_of_google_cloud_its_metadata_server_is_unavailable_at_once() {
    let (world, broker) = stage(&app(GCP), [fault(SendErrorKind::NotConnected)]);
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), world.requests()), ("unavailable", 1));
    assert!(error.remedy().unwrap().contains("Google Cloud"), "{error}");
    assert_eq!(world.sent(0).limits.connect, Duration::from_secs(1));
}

#[test]
fn settings_that_cannot_be_used_are_refused_before_anything_is_sent() {
    let without = |pairs: &Pairs, missing: &str| -> Vec<_> {
        app(pairs).into_iter().filter(|(name, _)| *name != missing).collect()
    };
    let changed = |pairs: &Pairs, name: &'static str, value: &'static str| -> Vec<_> {
        without(pairs, name).into_iter().chain([(name, value)]).collect()
    };
    const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
    const HEADERS: &str = "TOKEN_BROKER_ASSERTION_HEADERS";
    for (pairs, parts) in [
        (without(GITHUB, URL), [URL, "id-token: write"]),
        (
            without(GITHUB, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
            ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "id-token: write"],
        ),
        (without(GITHUB, "AZURE_TENANT_ID"), ["AZURE_TENANT_ID", "TOKEN_BROKER_ASSERTION"]),
        (changed(GITHUB, URL, "http://ci.example/t"), [URL, "https"]),
        (changed(GITHUB, URL, "https://u:p@ci.example/"), [URL, "https"]),
        (changed(GITHUB, URL, "https://ci.example/#x"), [URL, "https"]),
        (changed(GITHUB, URL, "/relative"), [URL, "https"]),
        (
            changed(GITHUB, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "two words"),
            ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "visible"],
        ),
        (changed(GITHUB, "TOKEN_BROKER_ASSERTION", "gitlab"), ["TOKEN_BROKER_ASSERTION", "`gcp`"]),
        (
            changed(GITHUB, "TOKEN_BROKER_ASSERTION_URL", "https://x.example"),
            ["TOKEN_BROKER_ASSERTION_URL", "github"],
        ),
        (
            changed(APP, "TOKEN_BROKER_ASSERTION_URL", "https://x.example"),
            ["TOKEN_BROKER_ASSERTION_URL", "`url`"],
        ),
        (
            without(PIPELINES, "SYSTEM_ACCESSTOKEN"),
            ["SYSTEM_ACCESSTOKEN", "env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)"],
        ),
        (without(PIPELINES, "SYSTEM_OIDCREQUESTURI"), ["SYSTEM_OIDCREQUESTURI", "Azure Pipelines"]),
        (
            without(PIPELINES, "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"),
            ["AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", "project settings"],
        ),
        (changed(GCP, "GCE_METADATA_HOST", "10.0.0.1"), ["GCE_METADATA_HOST", "link-local"]),
        (changed(GCP, "GCE_METADATA_HOST", "metadata.example"), ["GCE_METADATA_HOST", "link-local"]),
        (changed(GCP, "GCE_METADATA_HOST", "127.0.0.1/x"), ["GCE_METADATA_HOST", "link-local"]),
        (without(OTHER, "TOKEN_BROKER_ASSERTION_URL"), ["TOKEN_BROKER_ASSERTION_URL", "issuer"]),
        (without(OTHER, "CI_TOKEN"), ["CI_TOKEN", HEADERS]),
        (changed(OTHER, "TOKEN_BROKER_ASSERTION_METHOD", "PUT"), ["TOKEN_BROKER_ASSERTION_METHOD", "`POST`"]),
        (changed(OTHER, HEADERS, "no colon"), [HEADERS, "colon"]),
        (changed(OTHER, HEADERS, "a b: c"), [HEADERS, "invalid name"]),
        (changed(OTHER, HEADERS, "A: $CI_TOKEN\nB: $CI_TOKEN"), [HEADERS, "more than one"]),
        (app(VARIABLE), ["CI_JWT", "not set"]),
        (
            without(VARIABLE, "TOKEN_BROKER_ASSERTION_VARIABLE"),
            ["TOKEN_BROKER_ASSERTION_VARIABLE is not", "set both"],
        ),
        (
            changed(VARIABLE, "TOKEN_BROKER_ASSERTION_VARIABLE", "e30.e30.c2ln"),
            ["TOKEN_BROKER_ASSERTION_VARIABLE", "name"],
        ),
        (changed(VARIABLE, "CI_JWT", "s3ntinel"), ["CI_JWT", "JWT"]),
        (changed(VARIABLE, "CI_JWT", "e30.e30.c2ln\ne30.e30.c2ln"), ["CI_JWT", "token"]),
    ] {
        let (world, broker) = stage(&pairs, []);
        let error = world.error(&broker, VAULT);
        assert_eq!((error.kind(), world.requests()), ("misconfigured", 0), "{pairs:?}: {error}");
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
        assert!(!text.contains("s3ntinel") && !text.contains("u:p@"), "{text}");
    }
    let (world, broker) = stage(GITHUB, [fault(SendErrorKind::NotConnected)]);
    assert_eq!(kind(world.get(&broker, VAULT)), "misconfigured");
}

#[test]
fn the_variables_of_a_platform_alone_change_nothing() {
    let alone: Vec<_> = [GITHUB, PIPELINES, GCP].iter().flat_map(|pairs| pairs[1..].to_vec()).collect();
    let (world, broker) = stage(&alone, [crate::fake::token("T1", DAY)]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert!(world.sent(0).url.starts_with("http://169.254.169.254/metadata/identity/"));
}

#[test]
fn the_token_of_a_variable_is_used_until_it_has_expired_and_then_nothing_is_sent() {
    let token = format!("{}\n", jwt(600));
    let pairs: Vec<_> = app(VARIABLE).into_iter().chain([("CI_JWT", &*token)]).collect();
    let (world, broker) = stage(&pairs, [entra("T1")]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert_eq!(world.sent(0).field("client_assertion"), Some(&*jwt(600)));

    world.advance_secs(1200);
    let error = world.error(&broker, STORAGE);
    assert_eq!((error.kind(), world.requests()), ("unavailable", 1));
    let text = error.to_string();
    let time = (START + 600).to_string();
    assert!(text.contains("CI_JWT expired 600 s ago") && text.contains(&time), "{text}");

    // Entra's word about a token that cannot be renewed is final.
    let (world, broker) = stage(&pairs, [refusal(401, 700_024)]);
    assert_eq!((kind(world.get(&broker, VAULT)), world.requests()), ("rejected", 1));
}

#[test]
fn an_explicit_issuer_comes_before_a_token_file_and_explain_shows_both() {
    let both = with(&app(GITHUB), &WORKLOAD[..1]);
    let (world, broker) = stage(&both, [github(300), entra("T1")]);
    assert_eq!(name(world.get(&broker, VAULT)), "T1");
    assert_eq!(report(&broker, "federated-assertion").verdict, Verdict::Used);
    assert_eq!(report(&broker, "workload-identity").verdict, Verdict::Ready);
    let issuer = report(&broker, "assertion-issuer");
    assert_eq!(issuer.verdict, Verdict::Ready);
    assert!(issuer.would_send.unwrap().ends_with("&audience=api%3A%2F%2FAzureADTokenExchange"));
}

#[test]
fn a_request_without_a_client_id_is_told_where_to_set_it() {
    let (world, broker) = stage(&with(GITHUB, &APP[..1]), [github(300), entra("T1")]);
    let error = world.error(&broker, VAULT);
    assert_eq!((error.kind(), world.requests()), ("misconfigured", 0));
    assert!(error.to_string().contains("AZURE_CLIENT_ID is not"), "{error}");
    assert_eq!(name(world.ask(&broker, vault_for(client("other")))), "T1");
}

#[test]
fn half_a_token_in_a_file_is_never_sent_and_the_whole_one_is() {
    let whole = jwt(600);
    let (half, _) = whole.rsplit_once('.').unwrap();
    for content in [half, "", "e30"] {
        let (world, broker) = stage(WORKLOAD, [entra("T1")]);
        world.file("/tokens/azure", content);
        let (mut tasks, _) = begin(&world, [get(&broker, VAULT)]);
        world.advance(Duration::from_millis(100));
        tasks.poll();
        assert_eq!(world.requests(), 0);
        world.file("/tokens/azure", &whole);
        tasks.settle();
        assert!(tasks.outputs().remove(0).is_ok(), "{content}");
        assert_eq!(world.sent(0).field("client_assertion"), Some(&*whole));
        assert!(world.milliseconds() < 500);
    }
}

#[test]
fn an_assertion_is_shared_by_instances() {
    let world = World::new();
    world.vary_random();
    let store = crate::store::SharedStore::new(&world);
    let pairs = with(&app(GITHUB), &[KEY]);
    let brokers = [(); 3].map(|()| world.sharing(&store, &pairs));
    world.script([github(300), entra("T1"), entra("T2"), entra("T3")]);
    for (broker, scope) in brokers.iter().zip([VAULT, STORAGE, "https://management.azure.com/.default"]) {
        world.get(broker, scope).unwrap();
    }
    assert_eq!(world.requests(), 4, "one to the issuer, three to Entra");
}
