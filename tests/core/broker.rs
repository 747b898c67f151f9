//! A broker on a fake host: the requests that it sends, its configuration, its policy, its secrets.

use token_broker::{Error, Identity, RawRequest, SendError, SendErrorKind, Verdict};

use crate::fake::{json, json_with, token};
use crate::stage::*;

// Identities and sources.

#[test]
fn each_source_names_identities_in_its_own_way() {
    let identities = || {
        [
            Identity::SystemAssigned,
            client("C-1"),
            Identity::object_id("o-1").unwrap(),
            Identity::resource_id("/subscriptions/s").unwrap(),
        ]
    };
    for (environment, start, names) in [
        (
            &[][..],
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net",
            ["", "&client_id=C-1", "&object_id=o-1", "&msi_res_id=%2Fsubscriptions%2Fs"],
        ),
        (
            APP_SERVICE,
            "http://127.0.0.1:41741/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net",
            ["", "&client_id=C-1", "&object_id=o-1", "&mi_res_id=%2Fsubscriptions%2Fs"],
        ),
    ] {
        let (world, broker) = stage(environment, []);
        for (nth, (identity, end)) in identities().into_iter().zip(names).enumerate() {
            world.script([token("T", DAY)]);
            world.ask(&broker, vault_for(identity)).unwrap();
            assert_eq!(world.sent(nth).url, format!("{start}{end}"));
            assert_eq!(world.sent(nth).headers["metadata"], "true");
        }
    }
}

#[test]
fn the_identity_header_goes_to_app_service_alone_and_marked_as_secret() {
    let (world, broker) = stage(APP_SERVICE, [token("T1", DAY)]);
    world.get(&broker, VAULT).unwrap();
    let header = &world.sent(0).headers["x-identity-header"];
    assert!(header == "s3ntinel-header" && header.is_sensitive());

    let (world, broker) = stage(&[APP_SERVICE[1]], []);
    assert_eq!(kind(world.get(&broker, VAULT)), "misconfigured");
    assert_eq!(world.requests(), 0);
}

#[test]
fn every_request_has_a_unique_id_that_the_error_repeats() {
    let (world, broker) = stage(&[], []);
    world.set_random(7);
    world.script([json(400, "{}")]);
    let error = world.error(&broker, VAULT);
    let id = world.sent(0).headers["x-ms-client-request-id"].to_str().unwrap().to_owned();
    assert_eq!(id, "00000000-0000-4007-8000-000000000007");
    assert_eq!(error.failures().last().unwrap().correlation_id, Some(id));
}

#[test]
fn the_default_identity_is_the_one_that_the_environment_names() {
    let (world, broker) = stage(&[("AZURE_CLIENT_ID", "env-id")], [token("T1", DAY), token("T2", DAY)]);
    world.get(&broker, VAULT).unwrap();
    world.ask(&broker, vault_for(Identity::SystemAssigned)).unwrap();
    assert!(world.sent(0).url.ends_with("&client_id=env-id"), "{}", world.sent(0).url);
    assert!(!world.sent(1).url.contains("client_id"), "{}", world.sent(1).url);
    world.ask(&broker, vault_for(client("ENV-ID"))).unwrap();
    assert_eq!(world.requests(), 2, "the same identity shares its token however it is named");
}

#[test]
fn a_missing_identity_is_unavailable_only_if_none_was_named() {
    let (world, broker) = stage(&[], [json(400, NO_IDENTITY), json(400, NO_IDENTITY)]);
    let error = world.error(&broker, VAULT);
    assert_eq!(error.kind(), "unavailable");
    assert!(error.remedy().unwrap().contains("az vm identity assign"), "{error}");
    let error = world.ask(&broker, vault_for(client("nobody"))).unwrap_err();
    assert_eq!(error.kind(), "rejected");
    let line = error.to_string();
    for part in [
        "Identity not found",
        "nobody",
        "https://vault.azure.net",
        "169.254.169.254",
        "az vm identity assign",
    ] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}

#[test]
fn the_token_of_another_identity_is_refused_and_not_held() {
    let (world, broker) = stage(&[], []);
    // {"appid":"somebody-else"}
    world.script([token("e30.eyJhcHBpZCI6InNvbWVib2R5LWVsc2UifQ.c2ln", DAY), token("T2", DAY)]);
    let named = || vault_for(client("me"));
    let error = world.ask(&broker, named()).unwrap_err();
    assert_eq!(error.kind(), "protocol");
    assert!(error.to_string().contains("appid") && !error.to_string().contains("eyJ"), "{error}");
    world.advance_secs(1);
    assert_eq!(name(world.ask(&broker, named())), "T2");
}

// Configuration and policy.

#[test]
fn a_request_against_the_policy_is_denied_and_nothing_is_sent() {
    let (world, broker) =
        stage(&[("TOKEN_BROKER_ALLOWED_SCOPES", VAULT), ("TOKEN_BROKER_ALLOWED_IDENTITIES", "aaa")], []);
    assert_eq!(kind(world.get(&broker, VAULT)), "denied");
    assert_eq!(kind(world.ask(&broker, RawRequest { identity: client("aaa"), ..raw(STORAGE) })), "denied");
    assert_eq!(world.requests(), 0);
    world.script([token("T1", DAY)]);
    assert_eq!(kind(world.ask(&broker, vault_for(client("AAA")))), "a token");
    assert!(broker.peek(VAULT).is_none(), "a peek is for the default identity, which is not allowed");
}

#[test]
fn an_invalid_configuration_is_reported_by_every_call_and_by_explain() {
    for environment in [
        &[("TOKEN_BROKER_TIMEOUT_MS", "soon")][..],
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1/msi")],
        &[("IDENTITY_HEADER", "h")],
        &[("IDENTITY_ENDPOINT", "http://evil.example/msi"), ("IDENTITY_HEADER", "h")],
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1@evil.example/msi"), ("IDENTITY_HEADER", "h")],
        &[("IDENTITY_ENDPOINT", "http://127.0.0.1/msi"), ("IDENTITY_HEADER", "a\nb")],
        &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://10.0.0.5")],
        &[APP_SERVICE[0], APP_SERVICE[1], ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://10.0.0.5")],
    ] {
        let (world, broker) = stage(environment, []);
        for _ in 0..2 {
            let error = world.error(&broker, VAULT);
            assert_eq!(error.kind(), "misconfigured", "{environment:?}");
            assert!(environment.iter().any(|(name, _)| error.to_string().contains(name)), "{error}");
        }
        assert!(
            broker.explain().iter().any(|report| report.verdict == Verdict::Misconfigured),
            "{environment:?}"
        );
        assert_eq!((world.requests(), broker.stats().fetches), (0, 0));
    }
}

#[test]
fn a_user_cannot_be_stood_for_by_a_managed_identity() {
    let (world, broker) = stage(&[], []);
    let on_behalf = RawRequest { user_assertion: Some("jwt".into()), ..raw(VAULT) };
    assert_eq!(kind(world.ask(&broker, on_behalf)), "invalid-request");
    assert_eq!(world.requests(), 0);
}

#[test]
fn explain_shows_the_request_and_then_its_result() {
    let (world, broker) = stage(&[("AZURE_CLIENT_ID", "env-id")], []);
    let reports = broker.explain();
    let names: Vec<_> = reports.iter().map(|report| report.source).collect();
    assert_eq!(
        names,
        [
            "federated-identity",
            "federated-assertion",
            "client-secret",
            "client-certificate",
            "workload-identity",
            "assertion-issuer",
            "service-fabric",
            "container-instances",
            "app-service",
            "azure-ml",
            "cloud-shell",
            "azure-arc",
            "imds"
        ]
    );
    assert!(reports[..11].iter().all(|report| report.verdict == Verdict::NotConfigured));
    assert_eq!(reports[2].reason, "AZURE_CLIENT_SECRET and AZURE_TENANT_ID are not set");
    let imds = report(&broker, "imds");
    assert_eq!(imds.verdict, Verdict::Ready);
    assert_eq!(
        imds.would_send.as_deref(),
        Some(
            "GET http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=AUDIENCE&client_id=env-id"
        )
    );
    assert!(imds.variables.contains(&("AZURE_CLIENT_ID", true)));
    world.script([token("T1", DAY), json(400, "{}")]);
    world.get(&broker, VAULT).unwrap();
    assert_eq!(report(&broker, "imds").verdict, Verdict::Used);
    assert_eq!(kind(world.get(&broker, STORAGE)), "rejected");
    assert_eq!(report(&broker, "imds").verdict, Verdict::Failed);
    assert_eq!(report(&broker, "imds").last_failure.unwrap().status, Some(400));
}

// Secrets.

#[test]
fn no_secret_is_seen_in_any_log_error_report_or_debug() {
    const SENTINELS: [&str; 4] = ["s3ntinel-header", "s3ntinel-token", "eyJhbGciOi", "s3ntinel-hea"];
    let echo = "you sent s3ntinel-header and may have eyJhbGciOiJub25lIn0.eyJhIjoxfQ.";
    for reply in [
        token("s3ntinel-token", DAY),
        token("s3ntinel-token", 0),
        json(200, r#"{"access_token":"s3ntinel-token","expires_on":"never"}"#),
        json(200, r#"{"access_token":"s3ntinel-token""#),
        json(400, &format!(r#"{{"error":"s3ntinel-header","error_description":"{echo}"}}"#)),
        json(401, &format!(r#"{{"statusCode":401,"message":"{echo}","correlationId":"s3ntinel-header"}}"#)),
        json(400, r#"{"error":"e","error_description":"s3ntinel-token","access_token":"s3ntinel-token"}"#),
        json_with(
            500,
            ("x-ms-request-id", "s3ntinel-header"),
            &format!(r#"{{"error":{{"message":"{echo}"}}}}"#),
        ),
        json(400, &format!("raw {echo}")),
        json(400, &format!(r#"{{"error":"e","error_description":"{}s3ntinel-header"}}"#, "x".repeat(490))),
        json_with(400, ("content-type", "s3ntinel-header/eyJhbGciOi"), "raw"),
        // {"aud":"s3ntinel-header"}
        token("e30.eyJhdWQiOiJzM250aW5lbC1oZWFkZXIifQ.s3ntinel-token", DAY),
        Err(SendError { kind: SendErrorKind::Forbidden, detail: echo.to_owned() }),
        Err(SendError { kind: SendErrorKind::Truncated, detail: echo.to_owned() }),
    ] {
        let (world, broker) =
            stage(&[APP_SERVICE[0], APP_SERVICE[1], ("TOKEN_BROKER_LOG", "debug")], [reply]);
        world.script((0..3).map(|_| json(400, "{}")));
        let outcome = world.get(&broker, VAULT);
        let shown = outcome.as_ref().map_or_else(Error::to_string, |_| String::new());
        let everything =
            format!("{outcome:?} {shown} {:?} {:?} {}", broker.explain(), broker.stats(), world.log());
        assert!(!world.log().is_empty());
        for sentinel in SENTINELS {
            assert!(!everything.contains(sentinel), "{sentinel} is in: {everything}");
        }
    }
}
