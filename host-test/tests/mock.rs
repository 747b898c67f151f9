//! The mock platform over the wire: how strict it is, and every way in which it can be told to fail.
#![allow(clippy::disallowed_methods, reason = "tests of a server use a clock and sockets")]

use std::{collections::BTreeMap, io, process::Stdio, time::Duration};

use host_test::mock::{Answer, Counts, Endpoint, Fault, IdentityKind, Mock, MockConfig};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
    time::{Instant, timeout},
};

// The instance metadata service

#[tokio::test]
async fn imds_answers_with_string_typed_numbers_and_a_signed_token() {
    let mock = mock().await;
    let answer = imds(&mock, &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers["server"].starts_with("IMDS/"));
    assert!(answer.headers.contains_key("date"));
    let body = answer.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!(claims.appid, SYSTEM);
    assert_eq!((claims.oid.as_str(), &claims.sub), ("aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb", &claims.oid));
    assert_eq!((claims.idtyp.as_str(), claims.exp - claims.iat), ("app", 86400 + 300));
    assert!(claims.xms_mirid.ends_with("/virtualMachines/vm"));
    assert_eq!(text(&body, "expires_on"), claims.exp.to_string());
    assert_eq!(text(&body, "not_before"), claims.nbf.to_string());
    assert_eq!((text(&body, "resource"), text(&body, "token_type")), (VAULT, "Bearer"));
    assert!((86_390..86_400).contains(&text(&body, "expires_in").parse::<u64>().unwrap()));
}

#[tokio::test]
async fn imds_takes_a_trailing_slash_and_newer_versions() {
    let mock = mock().await;
    for target in [
        format!("/metadata/identity/oauth2/token/?api-version=2018-02-01&resource={VAULT}"),
        format!("/metadata/identity/oauth2/token?api-version=2019-08-01&resource={VAULT}"),
        format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}/"),
    ] {
        assert_eq!(get(&mock, &target, &METADATA).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn imds_demands_the_metadata_header_and_refuses_forwarded_requests() {
    let mock = mock().await;
    let target = imds_target(&[]);
    for headers in [&[][..], &[("Metadata", "false")]] {
        let answer = get(&mock, &target, headers).await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.json(),
            json!({ "error": "bad_request_102", "error_description": "Required metadata header not specified" })
        );
    }
    let forwarded = get(&mock, &target, &[("Metadata", "true"), ("X-Forwarded-For", "10.0.0.1")]).await;
    assert_eq!((forwarded.status, forwarded.json()["error"].clone()), (400, json!("invalid_request")));
    assert_eq!(mock.counters().of(Endpoint::Imds).tokens, 0);
}

#[tokio::test]
async fn imds_refuses_what_azure_refuses_in_azures_words() {
    let mock = mock().await;
    for (target, error, words) in [
        ("?resource=https://vault.azure.net", "invalid_request", "'api-version' is missing"),
        ("?api-version=1999-01-01&resource=https://vault.azure.net", "invalid_request", "not supported"),
        ("?api-version=2018-02-01", "invalid_request", "Required query variable 'resource' is missing"),
        ("?api-version=2018-02-01&resource=https://example.org", "invalid_resource", "AADSTS500011"),
        (
            "?api-version=2018-02-01&resource=https://vault.azure.net&client_id=a&object_id=b",
            "invalid_request",
            "Only one of",
        ),
        (
            "?api-version=2018-02-01&resource=https://vault.azure.net&client_id=",
            "invalid_request",
            "Identity not found",
        ),
    ] {
        let answer = get(&mock, &format!("/metadata/identity/oauth2/token{target}"), &METADATA).await;
        let body = answer.json();
        assert_eq!((answer.status, text(&body, "error")), (400, error), "{target}");
        assert!(text(&body, "error_description").contains(words), "{body}");
    }
    let post = send(&mock, "POST", &imds_target(&[]), &METADATA, "").await.unwrap();
    assert_eq!(post.status, 405);
}

#[tokio::test]
async fn imds_finds_a_user_assigned_identity_by_each_of_its_ids() {
    let mock = mock().await;
    let orders = mock.config().identities[1].clone();
    for (name, id) in [
        ("client_id", orders.client_id.to_uppercase()),
        ("object_id", orders.object_id.clone()),
        ("msi_res_id", orders.resource_id.clone()),
        ("mi_res_id", orders.resource_id.to_lowercase()),
    ] {
        let body = imds(&mock, &[(name, &id)]).await.json();
        let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
        assert_eq!((&claims.appid, &claims.xms_mirid), (&orders.client_id, &orders.resource_id), "{name}");
        assert_eq!(text(&body, "client_id"), orders.client_id);
    }
    let unknown = imds(&mock, &[("client_id", "99999999-0000-0000-0000-000000000000")]).await;
    assert_eq!(
        (unknown.status, unknown.json()),
        (400, json!({ "error": "invalid_request", "error_description": "Identity not found" }))
    );
}

#[tokio::test]
async fn imds_without_a_system_assigned_identity_answers_for_the_only_other_one() {
    for (user_assigned, status, words) in
        [(0, 400, "Identity not found"), (1, 200, ""), (2, 400, "Multiple user assigned identities exist")]
    {
        let mut config = MockConfig::default();
        config.identities.retain(|identity| identity.kind == IdentityKind::UserAssigned);
        config.identities.truncate(user_assigned);
        let answer = imds(&Mock::start(config).await.unwrap(), &[]).await;
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(words), "{}", answer.text());
    }
}

// App Service

#[tokio::test]
async fn app_service_answers_without_expires_in_and_with_a_string_expires_on() {
    let mock = mock().await;
    let body = app_service(&mock, &[]).await.json();
    let claims = mock.verify(text(&body, "access_token"), VAULT).unwrap();
    assert_eq!(claims.appid, SYSTEM);
    assert_eq!(text(&body, "expires_on"), claims.exp.to_string());
    assert!(body.get("expires_in").is_none());
}

#[tokio::test]
async fn app_service_refuses_a_wrong_header_version_identity_and_audience() {
    let mock = mock().await;
    let target = format!("/msi/token?api-version=2019-08-01&resource={VAULT}");
    let right = identity_header(&mock);
    let missing = get(&mock, &target, &[]).await;
    let wrong = get(&mock, &target, &[("X-IDENTITY-HEADER", "wrong")]).await;
    let version =
        get(&mock, "/msi/token?api-version=2017-09-01&resource=r", &[("X-IDENTITY-HEADER", &right)]).await;
    let identity = app_service(&mock, &[("client_id", "unknown")]).await;
    let audience =
        get(&mock, "/msi/token?api-version=2019-08-01&resource=r", &[("X-IDENTITY-HEADER", &right)]).await;
    for (answer, status, words) in [
        (missing, 401, "X-IDENTITY-HEADER"),
        (wrong, 401, "X-IDENTITY-HEADER"),
        (version, 400, "2019-08-01"),
        (identity, 400, "No User Assigned or Delegated Managed Identity found for specified ClientId"),
        (audience, 400, "AADSTS500011"),
    ] {
        let body = answer.json();
        assert_eq!((answer.status, &body["statusCode"]), (status, &json!(status)));
        assert!(text(&body, "message").contains(words), "{body}");
        assert_eq!(text(&body, "correlationId").len(), 36);
    }
}

#[tokio::test]
async fn app_service_honours_mi_res_id_and_silently_ignores_msi_res_id() {
    let mock = mock().await;
    let orders = mock.config().identities[1].clone();
    for (name, id, appid) in [
        ("client_id", &orders.client_id, orders.client_id.as_str()),
        ("object_id", &orders.object_id, &orders.client_id),
        ("principal_id", &orders.object_id, &orders.client_id),
        ("mi_res_id", &orders.resource_id, &orders.client_id),
        ("msi_res_id", &orders.resource_id, SYSTEM),
    ] {
        let body = app_service(&mock, &[(name, id)]).await.json();
        assert_eq!(mock.verify(text(&body, "access_token"), VAULT).unwrap().appid, appid, "{name}");
    }
}

#[tokio::test]
async fn app_service_has_no_stand_in_for_the_system_assigned_identity() {
    let mut config = MockConfig::default();
    config.identities.retain(|identity| identity.name == "orders");
    let answer = app_service(&Mock::start(config).await.unwrap(), &[]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["message"], "Unable to load the proper Managed Identity.");
}

// The vault and the tenant

#[tokio::test]
async fn the_vault_challenges_and_takes_only_a_good_token_of_its_own_audience() {
    let mock = mock().await;
    let challenge = get(&mock, SECRET, &[]).await;
    assert_eq!(challenge.status, 401);
    assert_eq!(
        challenge.headers["www-authenticate"],
        "Bearer authorization=\"https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee\", \
         resource=\"https://vault.azure.net\""
    );
    let good = token(&mock, VAULT).await;
    let foreign = token(&mock, "https://storage.azure.com").await;
    let forged = format!("{}AAAA", good.strip_suffix(&good[good.len() - 4..]).unwrap());
    for (token, words) in [
        (
            foreign,
            "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://storage.azure.com.",
        ),
        (forged, "Error validating token"),
        ("no token".to_owned(), "Error validating token"),
    ] {
        let answer = get(&mock, SECRET, &[("Authorization", &format!("Bearer {token}"))]).await;
        assert_eq!(answer.status, 401);
        assert!(answer.text().contains(words), "{}", answer.text());
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    let body = get(&mock, SECRET, &[("Authorization", &format!("Bearer {good}"))]).await.json();
    assert_eq!(body["value"], "the secret of the mock vault");
    assert!(text(&body, "id").starts_with(&format!("{}/secrets/MySecret/", mock.url())));
}

#[tokio::test]
async fn the_vault_finds_versions_and_says_what_is_missing() {
    let mock = mock().await;
    let bearer = format!("Bearer {}", token(&mock, VAULT).await);
    for (target, status, words) in [
        ("/secrets/mysecret/00000000000000000000000000000001?api-version=7.6", 200, "the secret of"),
        ("/secrets/MySecret/00000000000000000000000000000002?api-version=7.6", 404, "SecretNotFound"),
        ("/secrets/Other?api-version=7.6", 404, "SecretNotFound"),
        ("/secrets/MySecret", 400, "api-version"),
        ("/secrets?api-version=7.6", 404, "only reads secrets by name"),
    ] {
        let answer = get(&mock, target, &[("Authorization", &bearer)]).await;
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    let put = send(&mock, "PUT", SECRET, &[("Authorization", &bearer)], "{}").await.unwrap();
    assert_eq!(put.status, 405);
}

#[tokio::test]
async fn the_vault_refuses_a_token_that_has_expired() {
    let mut config = MockConfig::default();
    config.imds.token_lifetime_seconds = 1.try_into().unwrap();
    let mock = Mock::start(config).await.unwrap();
    let bearer = format!("Bearer {}", token(&mock, VAULT).await);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = get(&mock, SECRET, &[("Authorization", &bearer)]).await;
        if answer.status == 401 {
            assert!(answer.text().contains("[TokenExpired]"), "{}", answer.text());
            break;
        }
        assert!(Instant::now() < deadline, "the token never expired");
        tick.tick().await;
    }
}

#[tokio::test]
async fn the_open_id_configuration_leads_to_the_key_that_signed_the_tokens() {
    let mock = mock().await;
    let tenant = &mock.config().tenant_id;
    let issuer = format!("https://sts.windows.net/{tenant}/");
    for (version, expected) in
        [("", issuer.clone()), ("/v2.0", format!("https://login.microsoftonline.com/{tenant}/v2.0"))]
    {
        let path = format!("/{tenant}{version}/.well-known/openid-configuration");
        let document = get(&mock, &path, &[]).await.json();
        assert_eq!(text(&document, "issuer"), expected);
        let keys = text(&document, "jwks_uri").strip_prefix(mock.url()).unwrap().to_owned();
        let keys = get(&mock, &keys, &[]).await.json();
        assert_eq!((&keys["keys"][0]["kty"], &keys["keys"][0]["use"]), (&json!("RSA"), &json!("sig")));
    }
    let token = token(&mock, VAULT).await;
    assert_eq!(mock.verify(&token, VAULT).unwrap().iss, issuer);
    let other = get(&mock, "/other/v2.0/.well-known/openid-configuration", &[]).await;
    assert_eq!((other.status, other.json()["error"].clone()), (400, json!("invalid_tenant")));
}

// Faults

#[tokio::test]
async fn a_status_fault_speaks_the_endpoints_own_words_and_then_passes() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::retry_after(429, "7")).after(1).times(2));
    mock.fault(Fault::new(Endpoint::AppService, Answer::status(500)));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = imds(&mock, &[]).await;
        if answer.status == 429 {
            assert_eq!(answer.headers["retry-after"], "7");
            assert!(answer.text().contains("Temporarily throttled, too many requests"));
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [200, 429, 429, 200]);
    let broken = app_service(&mock, &[]).await;
    assert_eq!(broken.json()["message"], "An unexpected error occured while fetching the AAD Token.");
    let counts = mock.counters().of(Endpoint::Imds);
    assert_eq!(counts, Counts { requests: 4, tokens: 2, refused: 2, faults: 2 });
}

#[tokio::test]
async fn a_scripted_body_goes_out_byte_for_byte() {
    let mock = mock().await;
    mock.fault(Fault::new(
        Endpoint::Imds,
        Answer::body(403, "text/plain", "connecting: unreachable network"),
    ));
    let answer = imds(&mock, &[]).await;
    assert_eq!((answer.status, answer.text()), (403, "connecting: unreachable network"));
    assert_eq!(answer.headers["content-type"], "text/plain");
}

#[tokio::test]
async fn a_reset_fault_resets_the_connection() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::Reset));
    let error = send(&mock, "GET", &imds_target(&[]), &METADATA, "").await.err().expect("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(imds(&mock, &[]).await.status, 200);
    let seen = mock.requests();
    assert_eq!((seen[0].fault.as_deref(), seen[0].status), (Some("reset"), None));
}

#[tokio::test]
async fn a_truncated_fault_sends_half_of_the_promised_body() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::Truncated));
    let answer = imds(&mock, &[]).await;
    let promised: usize = answer.headers["content-length"].parse().unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, promised / 2));
}

#[tokio::test]
async fn an_oversize_fault_sends_fifty_mebibytes_of_json() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::Oversize));
    let answer = imds(&mock, &[]).await;
    assert_eq!(answer.headers["transfer-encoding"], "chunked");
    assert!(answer.body.len() > 50 * 1024 * 1024);
}

#[tokio::test]
async fn a_slow_drip_fault_sends_one_byte_at_a_time() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::SlowDrip));
    let begun = Instant::now();
    let mut stream = open(&mock, "GET", &imds_target(&[]), &METADATA, "").await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n{\"a") {
        received.push(stream.read_u8().await.unwrap());
    }
    assert!(begun.elapsed() >= Duration::from_millis(300), "three bytes after {:?}", begun.elapsed());
}

#[tokio::test]
async fn html_garbage_and_redirect_faults_look_like_what_proxies_send() {
    let mock = mock().await;
    for answer in [Answer::Html, Answer::Garbage, Answer::Redirect("http://example.org/".to_owned())] {
        mock.fault(Fault::new(Endpoint::Imds, answer));
    }
    let html = imds(&mock, &[]).await;
    assert_eq!((html.status, html.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let garbage = imds(&mock, &[]).await;
    assert!(garbage.headers["content-type"].starts_with("application/json"));
    assert!(serde_json::from_slice::<Value>(&garbage.body).is_err());
    let redirect = imds(&mock, &[]).await;
    assert_eq!((redirect.status, redirect.headers["location"].as_str()), (302, "http://example.org/"));
}

#[tokio::test]
async fn a_wrong_identity_fault_gives_a_good_token_of_somebody_else() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::WrongIdentity));
    mock.fault(Fault::new(Endpoint::AppService, Answer::WrongIdentity));
    let asked = mock.config().identities[1].client_id.clone();
    for answer in
        [imds(&mock, &[("client_id", &asked)]).await, app_service(&mock, &[("client_id", &asked)]).await]
    {
        let claims = mock.verify(text(&answer.json(), "access_token"), VAULT).unwrap();
        assert_eq!(claims.appid, SYSTEM);
    }
}

#[tokio::test]
async fn a_delayed_request_is_in_the_log_before_it_is_answered() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(200)));
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(imds(&mock, &[]), async {
        mock.arrived(Endpoint::Imds, 1).await;
        assert_eq!((mock.requests()[0].status, mock.counters().of(Endpoint::Imds).tokens), (None, 0));
    });
    assert_eq!(answer.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(mock.requests()[0].status, Some(200));
}

// The mock's own endpoint

#[tokio::test]
async fn faults_can_be_set_at_run_time_and_a_bad_one_is_refused_with_the_reason() {
    let mock = mock().await;
    let two = r#"[{"endpoint":"imds","answer":{"status":{"code":410}}},{"endpoint":"imds","answer":"html"}]"#;
    assert_eq!(send(&mock, "POST", "/admin/faults", &[], two).await.unwrap().status, 200);
    assert_eq!(imds(&mock, &[]).await.status, 410);
    let pending = get(&mock, "/admin/faults", &[]).await.json();
    assert_eq!((pending.as_array().unwrap().len(), &pending[0]["answer"]), (1, &json!("html")));
    for (bad, reason) in [
        (r#"{"endpoint":"moon"}"#, "moon"),
        (r#"{"endpoint":"imds","answer":"explode"}"#, "explode"),
        (r#"{"endpoint":"imds","times":0}"#, "times is a whole number"),
        ("not json", "line 1"),
    ] {
        let answer = send(&mock, "POST", "/admin/faults", &[], bad).await.unwrap();
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains(reason), "{}", answer.text());
    }
    assert_eq!(send(&mock, "POST", "/admin/reset", &[], "").await.unwrap().status, 200);
    assert_eq!(get(&mock, "/admin/faults", &[]).await.json(), json!([]));
    assert_eq!(get(&mock, "/admin/requests", &[]).await.json(), json!([]));
    assert_eq!(mock.counters().of(Endpoint::Imds), Counts::default());
}

#[tokio::test]
async fn the_log_tells_what_was_asked_and_keeps_no_secret() {
    let mock = mock().await;
    let issued = token(&mock, VAULT).await;
    let header = identity_header(&mock);
    app_service(&mock, &[("client_id", "orders"), ("password", "SENTINEL-1")]).await;
    get(&mock, SECRET, &[("Authorization", &format!("Bearer {issued}")), ("User-Agent", "tests")]).await;
    let log = get(&mock, "/admin/requests", &[]).await;
    let entries = log.json();
    assert_eq!(entries[0]["query"], json!([["api-version", "2018-02-01"], ["resource", VAULT]]));
    assert_eq!((&entries[0]["endpoint"], &entries[0]["issued_to"]), (&json!("imds"), &json!("system")));
    assert_eq!(entries[1]["query"][3], json!(["password", "(not shown)"]));
    assert_eq!(entries[1]["headers"]["x-identity-header"], "(not shown)");
    assert_eq!(entries[2]["headers"]["authorization"], "(not shown)");
    assert_eq!((&entries[2]["path"], &entries[2]["status"]), (&json!("/secrets/MySecret"), &json!(200)));
    let debug = format!("{:?}", mock.requests());
    for secret in [issued.as_str(), &header, "SENTINEL-1", "the secret of the mock vault"] {
        assert!(!log.text().contains(secret) && !debug.contains(secret), "{secret} is in the log");
    }
    let counters = get(&mock, "/admin/counters", &[]).await.json();
    assert_eq!(counters["imds"], json!({ "requests": 1, "tokens": 1, "refused": 0, "faults": 0 }));
    assert_eq!(counters["app-service"], json!({ "requests": 1, "tokens": 0, "refused": 1, "faults": 0 }));
    assert_eq!(counters["key-vault"]["requests"], 1);
}

#[tokio::test]
async fn the_start_page_says_how_to_point_a_program_at_the_mock() {
    let mock = mock().await;
    let page = get(&mock, "/", &[]).await;
    for (name, value) in mock.imds_env().into_iter().chain(mock.app_service_env()) {
        assert!(page.text().contains(&format!("export {name}={value}\n")), "{}", page.text());
    }
    assert_eq!(get(&mock, "/metadata/instance", &[]).await.status, 404);
    assert_eq!(mock.counters().of(Endpoint::Unknown).requests, 1);
}

// Starting and stopping

#[tokio::test]
async fn a_request_body_beyond_the_bound_is_refused() {
    let mock = mock().await;
    let answer = send(&mock, "POST", "/admin/faults", &[], &" ".repeat(70_000)).await.unwrap();
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_dropped_mock_no_longer_listens() {
    let mock = mock().await;
    let address = mock.url().strip_prefix("http://").unwrap().to_owned();
    drop(mock);
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let refused = async {
        while TcpStream::connect(&address).await.is_ok() {
            tick.tick().await;
        }
    };
    timeout(Duration::from_secs(5), refused).await.expect("the port is closed");
}

#[tokio::test]
async fn a_shutdown_lets_a_request_under_way_finish() {
    let mock = mock().await;
    mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_millis(100)));
    let mut stream = open(&mock, "GET", &imds_target(&[]), &METADATA, "").await.unwrap();
    mock.arrived(Endpoint::Imds, 1).await;
    mock.shutdown().await;
    assert_eq!(receive(&mut stream).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let mock = mock().await;
    let mut config = MockConfig::default();
    config.listen = mock.url().strip_prefix("http://").unwrap().parse().unwrap();
    let error = Mock::start(config).await.err().expect("the address is taken");
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}", mock.url().strip_prefix("http://").unwrap())
    );
}

#[tokio::test]
async fn the_program_prints_its_url_serves_and_ends_when_terminated() {
    let mut program = Command::new(PROGRAM).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap();
    let address = url.strip_prefix("http://127.0.0.1:").map(|port| format!("127.0.0.1:{port}")).unwrap();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream
        .write_all(b"GET /admin/counters HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(receive(&mut stream).await.unwrap().json()["imds"]["requests"], 0);
    let pid = program.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let status = timeout(Duration::from_secs(10), program.wait()).await.unwrap().unwrap();
    assert!(status.success());
    assert_eq!(lines.next_line().await.unwrap(), None, "one line is all it prints");
}

#[tokio::test]
async fn the_program_names_what_is_wrong_with_its_configuration() {
    let missing = Command::new(PROGRAM).args(["--config", "no-such-file.toml"]).output().await.unwrap();
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-file.toml"));
    let printed = Command::new(PROGRAM).arg("--print-config").output().await.unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), MockConfig::DEFAULT_TOML);
}

// A client so plain that nothing hides what is on the wire

struct Received {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Received {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

async fn mock() -> Mock {
    Mock::start(MockConfig::default()).await.unwrap()
}

async fn imds(mock: &Mock, parameters: &[(&str, &str)]) -> Received {
    get(mock, &imds_target(parameters), &METADATA).await
}

fn imds_target(parameters: &[(&str, &str)]) -> String {
    let more: String = parameters.iter().map(|(name, value)| format!("&{name}={value}")).collect();
    format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}{more}")
}

async fn app_service(mock: &Mock, parameters: &[(&str, &str)]) -> Received {
    let more: String = parameters.iter().map(|(name, value)| format!("&{name}={value}")).collect();
    let target = format!("/msi/token?api-version=2019-08-01&resource={VAULT}{more}");
    get(mock, &target, &[("X-IDENTITY-HEADER", &identity_header(mock))]).await
}

fn identity_header(mock: &Mock) -> String {
    mock.config().app_service.identity_header.clone()
}

async fn token(mock: &Mock, audience: &str) -> String {
    let target = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={audience}");
    text(&get(mock, &target, &METADATA).await.json(), "access_token").to_owned()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no string in {value}"))
}

async fn get(mock: &Mock, target: &str, headers: &[(&str, &str)]) -> Received {
    send(mock, "GET", target, headers, "").await.unwrap()
}

async fn send(
    mock: &Mock,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Received> {
    receive(&mut open(mock, method, target, headers, body).await?).await
}

async fn open(
    mock: &Mock,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<TcpStream> {
    let address = mock.url().strip_prefix("http://").unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n{body}"
    );
    // A server that refuses early may close before it has read all.
    let _ = stream.write_all(request.as_bytes()).await;
    Ok(stream)
}

async fn receive(stream: &mut TcpStream) -> io::Result<Received> {
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await?;
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(raw[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Ok(Received { status, headers, body: raw[end + 4..].to_vec() })
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_mock-identity");
const METADATA: [(&str, &str); 1] = [("Metadata", "true")];
const VAULT: &str = "https://vault.azure.net";
const SECRET: &str = "/secrets/MySecret?api-version=7.6";
const SYSTEM: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";
