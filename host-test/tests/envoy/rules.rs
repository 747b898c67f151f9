//! Which request gets which token.

use std::time::Duration;

use host_test::envoy::{cluster, token_filter};
use mock_identity::{Answer, Endpoint, Fault, Mock, MockConfig};
use serde_json::json;

use crate::stage::{Stage, VAULT, configuration, problem, until};

#[tokio::test]
async fn two_rules_with_two_identities_are_never_mixed() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let [_, orders, reports] = &mock.config().identities[..] else { panic!("three identities") };
    let ids = [orders.client_id.clone(), reports.client_id.clone()];
    let rule = |nth: usize| json!({ "authority": format!("{nth}.example"), "scope": VAULT, "identity": { "client_id": ids[nth] } });
    let stage = Stage::with(mock, json!({ "rules": [rule(0), rule(1)] })).await;
    for _ in 0..3 {
        let hosts = ["0.example", "1.example:8080", "0.EXAMPLE", "1.example."].repeat(5);
        let responses = futures_util::future::join_all(hosts.iter().map(|host| stage.get_for(host))).await;
        assert!(responses.iter().all(|response| response.status == 200));
        for seen in stage.upstream.take_seen() {
            let nth = usize::from(seen.all("host")[0].starts_with('1'));
            assert_eq!(stage.claims(&seen, VAULT).appid, ids[nth]);
        }
    }
    assert_eq!(stage.fetches(), 2);
}

#[tokio::test]
async fn a_request_that_no_rule_is_for_passes_as_it_is_or_is_refused() {
    for (unmatched, status) in [("pass", 200), ("refuse", 403)] {
        let rules = json!({ "rules": [{ "authority": "*.vault.azure.net", "scope": VAULT }], "unmatched": unmatched });
        let stage = Stage::new(rules).await;
        let response = stage.get_for("other.example").await;
        assert_eq!(response.status, status);
        if status == 200 {
            assert!(stage.only_seen().all("authorization").is_empty());
        } else {
            assert_eq!(problem(&response)["kind"], "denied");
        }
        assert_eq!(stage.fetches(), 0);
        assert_eq!(stage.get_for("my.vault.azure.net").await.status, 200);
        stage.claims(&stage.only_seen(), VAULT);
    }
}

#[tokio::test]
async fn a_rule_may_be_for_a_route_or_for_a_cluster() {
    for rule in [json!({ "route": "all" }), json!({ "route": "al*" }), json!({ "cluster": "app" })] {
        let mut rules = json!([{ "route": "other", "scope": "https://none.example" }, rule]);
        rules[1]["scope"] = json!(VAULT);
        let stage = Stage::new(json!({ "rules": rules })).await;
        assert_eq!(stage.get().await.status, 200, "{rules}");
        stage.claims(&stage.only_seen(), VAULT);
    }
}

#[tokio::test]
async fn a_header_of_another_name_and_form_carries_the_token() {
    let header = json!({ "name": "x-ms-token", "prefix": "type%3Daad%26ver%3D1.0%26sig%3D" });
    let stage = Stage::new(json!({ "rules": [{ "scope": VAULT, "header": header }] })).await;
    assert_eq!(stage.get().await.status, 200);
    let seen = stage.only_seen();
    let values = seen.all("x-ms-token");
    let token = values[0].strip_prefix("type%3Daad%26ver%3D1.0%26sig%3D").unwrap();
    assert!(stage.mock.verify(token, VAULT).is_ok() && seen.all("authorization").is_empty());
}

#[tokio::test]
async fn in_a_cluster_the_filter_binds_the_token_to_it_and_runs_again_at_each_try() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let retries = json!({ "retry_policy": { "retry_on": "5xx", "num_retries": 2 } });
    let stage = Stage::in_cluster(mock, json!({}), retries).await;
    assert_eq!(stage.get_at_once(20).await.iter().filter(|response| response.status == 200).count(), 20);
    assert_eq!((stage.fetches(), stage.upstream.take_seen().len()), (1, 20));
    stage.upstream.answer([503, 503]);
    assert_eq!(stage.get().await.status, 200);
    let tries = stage.upstream.take_seen();
    assert_eq!(tries.len(), 3);
    tries.iter().for_each(|seen| _ = stage.claims(seen, VAULT));
}

#[tokio::test]
async fn in_a_cluster_rules_go_by_the_route_and_the_authority_that_is_sent() {
    for mut rule in [json!({ "route": "all" }), json!({ "cluster": "app" }), json!({ "authority": "sent" })] {
        rule["scope"] = json!(VAULT);
        let mock = Mock::start(MockConfig::default()).await.unwrap();
        let rules = json!({ "rules": [{ "authority": "said", "scope": "https://none.example" }, rule] });
        let stage = Stage::in_cluster(mock, rules, json!({ "host_rewrite_literal": "sent" })).await;
        assert_eq!(stage.get_for("said").await.status, 200, "{rule}");
        stage.claims(&stage.only_seen(), VAULT);
    }
}

#[tokio::test]
async fn in_a_cluster_a_request_without_a_token_gets_the_same_answer() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    mock.fault(Fault::new(Endpoint::Imds, Answer::status(403)).forever());
    let stage = Stage::in_cluster(mock, json!({}), json!({})).await;
    for _ in 0..2 {
        assert_eq!(problem(&stage.get().await)["kind"], "rejected");
    }
    assert_eq!(stage.fetches(), 1);
    assert!(stage.upstream.take_seen().is_empty());
}

#[tokio::test]
async fn in_a_cluster_the_wait_for_a_token_counts_against_the_timeout_of_the_route() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    mock.fault(Fault::new(Endpoint::Imds, Answer::AsUsual).delayed(Duration::from_secs(2)));
    let stage = Stage::in_cluster(mock, json!({}), json!({ "timeout": "0.5s" })).await;
    assert_eq!(stage.get().await.status, 504);
    until(async || stage.get().await.status == 200).await;
    assert_eq!((stage.fetches(), stage.upstream.take_seen().len()), (1, 1));
}

#[tokio::test]
async fn plugins_share_what_they_fetch_exactly_if_they_have_their_vms_id_and_their_source_in_common() {
    for (ids, sources, fetches) in [
        (["vm", "vm"], ["imds", "imds"], 1),
        (["one", "other"], ["imds", "imds"], 2),
        (["vm", "vm"], ["imds", "imds-too"], 2),
    ] {
        let mock = Mock::start(MockConfig::default()).await.unwrap();
        let filter = |nth: usize| {
            let source = json!({ "imds": { "cluster": sources[nth], "endpoint": mock.url() } });
            token_filter(ids[nth], &configuration(&mock, json!({ "source": source })), &[])
        };
        let (first, second) = (filter(0), filter(1));
        let address = crate::stage::address_of(mock.url());
        let filters = [first];
        let stage = Stage::of_filters(mock, &filters, |bootstrap| {
            let second = host_test::envoy::http_listener("second", &[second], "app");
            bootstrap.and_listener(second).and_cluster(cluster("imds-too", address))
        });
        let stage = stage.await;
        let second = stage.envoy.listener("second").await.unwrap();
        assert_eq!(stage.get().await.status, 200);
        assert_eq!(host_test::envoy::get(second, "/").await.unwrap().status, 200);
        assert_eq!(stage.fetches(), fetches, "{ids:?} {sources:?}");
        stage.upstream.take_seen().iter().for_each(|seen| _ = stage.claims(seen, VAULT));
    }
}
