//! Configurations that Envoy must refuse.

use host_test::envoy::{Bootstrap, Envoy, token_filter};
use serde_json::{Value, json};

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_by_the_name_of_the_field() {
    let imds = json!({ "imds": { "cluster": "imds" } });
    let rules = json!([{ "scope": "https://vault.azure.net" }]);
    let huge = json!([{ "scope": "https://vault.azure.net", "authority": "a".repeat(1 << 20) }]);
    for (configuration, words) in [
        (json!({ "source": imds, "rules": [{ "scope": 5 }] }), "rules[0].scope is not a text"),
        (json!({ "source": imds, "rules": rules, "ruels": [] }), "ruels is not a field"),
        (json!({ "source": { "imds": {} }, "rules": rules }), "source.imds.cluster is missing"),
        (json!({ "source": { "azure_arc": {} }, "rules": rules }), "cannot work in a proxy"),
        (
            json!({ "source": { "client_secret": { "cluster": "entra" } }, "rules": rules }),
            "AZURE_CLIENT_SECRET",
        ),
        (json!({ "source": imds, "rules": huge }), "shorten it to 262144"),
        (json!({}), "the configuration is empty"),
    ] {
        let refusal = refusal(&configuration).await;
        let said = refusal.contains("refused the configuration") && refusal.contains(words);
        assert!(said, "{words}: {refusal}");
    }
}

async fn refusal(configuration: &Value) -> String {
    let filter = token_filter("vm", configuration, &[]);
    let nowhere = "127.0.0.1:1".parse().unwrap();
    match Envoy::start(&Bootstrap::with_filters(&[filter], nowhere), 1).await {
        Ok(_) => panic!("Envoy accepts {configuration}"),
        Err(error) => format!("{error:#}"),
    }
}
