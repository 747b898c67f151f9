//! The same on Spin: settings are its variables, tokens are shared through its store, and hosts are on one list.

use crate::VAULT;
use crate::stage::{IMDS, Stage, request};
use host_test::spin::Spin;

const KEY: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=";

fn stage(spin: Spin) -> Stage {
    Stage::with_vault(&[]).on_spin(spin)
}

#[tokio::test]
async fn an_application_on_spin_is_configured_by_its_variables() {
    let stage = stage(
        Spin::default()
            .with_variable("token_broker_inject", "a.example=https://a")
            .with_variable("token_broker_inject_others", "refuse"),
    );
    stage.network.answer("https://a.example", |_| http::Response::default());
    let mut application = stage.spin_application().await;
    assert_eq!(application.get("https://a.example/").await.status, 200);
    assert_eq!(stage.network.seen("https://a.example")[0].authorization(), Some("Bearer sentinel-1"));
    assert_eq!(application.get(VAULT).await.status, 403);
}

#[tokio::test]
async fn a_variable_that_cannot_be_looked_up_stops_every_request() {
    let stage = stage(Spin::default().with_broken_variable("token_broker_inject"));
    let mut application = stage.spin_application().await;
    let problem = application.get(VAULT).await.problem();
    assert_eq!((problem["status"].as_u64(), problem["kind"].as_str()), (Some(503), Some("misconfigured")));
    assert!(problem["detail"].as_str().unwrap().contains("TOKEN_BROKER_INJECT"), "{problem}");
    assert_eq!(stage.network.count(), 0);
}

#[tokio::test]
async fn instances_share_a_token_and_one_list_of_hosts_lets_none_of_them_to_imds() {
    let stage = stage(Spin::default().with_store("default").with_variable("token_broker_store_key", KEY));
    stage.network.allow_only(&[IMDS, VAULT]);
    for nth in 1..=3 {
        let mut application = stage.spin_application().await;
        assert_eq!(application.get(VAULT).await.status, 200);
        let metadata = format!("{IMDS}/metadata/identity/oauth2/token?resource=https://vault.azure.net");
        let stolen =
            application.send(&request("GET", &metadata).with_header("Metadata", "true")).await.unwrap();
        assert_eq!((stolen.status, stolen.problem()["kind"].as_str()), (403, Some("denied")));
        assert_eq!((stage.network.seen(IMDS).len(), stage.network.seen(VAULT).len()), (1, nth));
    }
    stage.log();
}
