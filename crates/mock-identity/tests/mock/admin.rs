//! The mock's own endpoint and page.

use mock_identity::{
    ArcConfig, Counts, Credential, Endpoint, Mock, MockConfig, ServiceFabricConfig, TokenProxyConfig,
};
use serde_json::json;

use crate::{
    client::{self, SECRET, VAULT, app_service, get, identity_header, imds, mock, send, token},
    secure,
};

#[tokio::test]
async fn faults_can_be_set_at_run_time_and_a_bad_one_is_refused_with_the_reason() {
    let mock = mock().await;
    let two = r#"[{"endpoint":"imds","answer":{"status":{"code":410}}},{"endpoint":"imds","answer":"html"}]"#;
    assert_eq!(send(&mock, "POST", "/admin/faults", &[], two).await.unwrap().status, 200);
    assert_eq!(imds(&mock, &[]).await.status, 410);
    let pending = get(&mock, "/admin/faults", &[]).await.json();
    assert_eq!((pending.as_array().unwrap().len(), &pending[0]["answer"]), (1, &json!("html")));
    for (bad, reason) in [
        (r#"{"endpoint":"admin"}"#, "admin"),
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
async fn no_more_faults_wait_than_a_thousand() {
    let mock = mock().await;
    let faults = |count| format!("[{}]", vec![r#"{"endpoint":"imds"}"#; count].join(","));
    assert_eq!(send(&mock, "POST", "/admin/faults", &[], &faults(999)).await.unwrap().status, 200);
    let refused = send(&mock, "POST", "/admin/faults", &[], &faults(2)).await.unwrap();
    assert_eq!(refused.status, 413);
    assert!(refused.text().contains("fix: use \"times\""), "{}", refused.text());
    assert_eq!(get(&mock, "/admin/faults", &[]).await.json().as_array().unwrap().len(), 999, "all or none");
    assert_eq!(send(&mock, "POST", "/admin/faults", &[], &faults(1)).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_url_of_a_hundred_thousand_bytes_is_refused() {
    let mock = mock().await;
    let target = format!("/msi/token?resource={}", "x".repeat(100_000));
    assert_eq!(get(&mock, &target, &[]).await.status, 414);
    assert_eq!(mock.requests(), []);
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
async fn the_start_page_says_how_to_point_a_program_at_each_endpoint() {
    let keys = tempfile::tempdir().unwrap();
    let mut config = MockConfig {
        arc: Some(ArcConfig::with_keys_in(keys.path())),
        service_fabric: Some(ServiceFabricConfig::default()),
        token_proxy: Some(TokenProxyConfig::default()),
        ..secure::config()
    };
    config.apps[2].name = "printer".to_owned();
    let mock = Mock::start(config).await.unwrap();
    let page = get(&mock, "/", &[]).await;
    let environments = [
        mock.env(Endpoint::Imds),
        mock.env(Endpoint::AppService),
        mock.env(Endpoint::AppService2017),
        mock.env(Endpoint::AzureMl),
        mock.env(Endpoint::CloudShell),
        mock.env(Endpoint::ContainerGroup),
        mock.env(Endpoint::Arc),
        mock.env(Endpoint::ServiceFabric),
        mock.env(Endpoint::GithubActions),
        mock.env(Endpoint::AzurePipelines),
        mock.env(Endpoint::GcpMetadata),
        mock.env(Endpoint::TokenProxy),
        mock.env(Endpoint::Entra),
        mock.app_env(Credential::Certificate("client.pem".as_ref())),
        mock.app_env(Credential::FederatedToken("token".as_ref())),
        mock.app_env(Credential::ManagedIdentity),
        mock.app_env(Credential::GithubActions),
        mock.app_env(Credential::AzurePipelines),
        mock.app_env(Credential::GcpMetadata),
    ];
    for environment in environments {
        assert!(!environment.is_empty());
        for (name, value) in environment {
            assert!(page.text().contains(&format!("export {name}={value}\n")), "{name}: {}", page.text());
        }
    }
    assert!(!page.text().contains("(needs"), "{}", page.text());
    assert_eq!(get(&mock, "/admin/federated-token/printer", &[]).await.status, 200);
    assert!(page.text().contains("/admin/federated-token/printer > token"), "{}", page.text());
    let bare = get(&client::mock().await, "/", &[]).await;
    assert_eq!(bare.text().matches("(needs").count(), 10, "{}", bare.text());
}

#[tokio::test]
async fn every_endpoint_has_its_counters_and_what_is_none_is_unknown() {
    let mock = mock().await;
    assert_eq!(get(&mock, "/metadata/instance", &[]).await.status, 404);
    assert_eq!(mock.counters().of(Endpoint::Unknown).requests, 1);
    let counters = get(&mock, "/admin/counters", &[]).await.json();
    let names: Vec<_> = counters.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "app-service",
            "app-service-2017",
            "arc",
            "azure-ml",
            "azure-pipelines",
            "cloud-shell",
            "container-group",
            "entra",
            "gcp-metadata",
            "github-actions",
            "imds",
            "key-vault",
            "open-id",
            "service-fabric",
            "token-proxy",
            "unknown"
        ]
    );
    for name in names {
        let fault = json!({ "endpoint": name, "answer": "garbage" }).to_string();
        assert_eq!(send(&mock, "POST", "/admin/faults", &[], &fault).await.unwrap().status, 200, "{name}");
    }
}
