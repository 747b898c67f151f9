//! An application that wants a token for itself.

use std::sync::Arc;

use host_test::wasi::text;
use mock_identity::{Endpoint, Mock, MockConfig};
use tokio::sync::{Notify, Semaphore};

use crate::stage::{Application, ENTRA, IMDS, Stage, request, token};
use crate::{SECRET, VAULT};

const METADATA: &str =
    "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";

/// Spellings of the addresses of metadata services.
const METADATA_HOSTS: &str = "169.254.169.254 169.254.169.254:80 169.254.169.254. 2852039166 0xA9FEA9FE \
    0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376 169.254.43518 169.16689662 [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] \
    [::169.254.169.254] [64:ff9b::a9fe:a9fe] [fe80::a9fe:a9fe] 169.254.130.2:8081 168.63.129.16 0xA83F8110 \
    user@169.254.169.254 my.vault.azure.net@169.254.169.254";

/// Whether a request was refused by the guard. It says so, and neither path nor headers.
async fn is_refused(application: &mut Application, sent: &crate::stage::Request) -> bool {
    let Ok(answer) = application.send(sent).await else { return false };
    if answer.header("x-token-broker").is_none() {
        return false;
    }
    let problem = answer.problem();
    assert_eq!((answer.status, problem["kind"].as_str()), (403, Some("denied")));
    assert!(!answer.body.contains("metadata/") && !answer.body.contains("oauth2"), "{problem}");
    true
}

#[tokio::test]
async fn the_metadata_service_is_not_reached_in_any_spelling() {
    let stage = Stage::with_imds(&[]);
    let (mut guarded, mut unguarded) = (stage.application().await, stage.unguarded().await);
    for (tried, host) in METADATA_HOSTS.split_whitespace().enumerate() {
        let url = format!("http://{host}{METADATA}");
        let sent = request("GET", &url).with_header("Metadata", "true");
        let origin = format!("http://{host}");
        stage.network.answer(&origin, |_| http::Response::default());
        assert_eq!(unguarded.send(&sent).await.unwrap().status, 200, "{host}: it would be reached");
        assert!(is_refused(&mut guarded, &sent).await, "{host}");
        assert!(is_refused(&mut guarded, &request("GET", &url)).await, "{host}: without the header");
        assert_eq!(stage.network.count(), tried + 1, "{host}: and nothing was sent");
    }
    assert_eq!(stage.lines("refused a request").len(), 38);
}

#[tokio::test]
async fn a_real_endpoint_on_this_machine_is_not_reached_by_another_spelling() {
    let mock = Mock::start(MockConfig::default()).await.unwrap();
    let stage = Stage::new(mock.env(Endpoint::AppService));
    let (mut guarded, mut unguarded) = (stage.application().await, stage.unguarded().await);
    // Composed into one component the application sees what the broker sees: the secret too.
    let environment = guarded.environment().await;
    let seen = |name: &str| {
        environment.iter().find(|(held, _)| held == name).map(|(_, value)| value.clone()).unwrap()
    };
    let (endpoint, secret) = (seen("IDENTITY_ENDPOINT"), seen("IDENTITY_HEADER"));
    let query = "?api-version=2019-08-01&resource=https://vault.azure.net";
    for host in ["127.0.0.1", "2130706433", "0x7f000001", "127.1", "0", "localhost"] {
        let url = format!("{}{query}", endpoint.replace("127.0.0.1", host));
        let sent = request("GET", &url).with_header("X-IDENTITY-HEADER", &secret);
        let stolen = unguarded.send(&sent).await.unwrap();
        assert!(stolen.body.contains("access_token"), "{host}: by itself it gets a token: {stolen:?}");
        let before = mock.counters().of(Endpoint::AppService).requests;
        assert!(is_refused(&mut guarded, &sent).await, "{host}");
        assert_eq!(mock.counters().of(Endpoint::AppService).requests, before, "{host}");
    }
}

#[tokio::test]
async fn a_name_that_leads_to_an_endpoint_is_not_asked_in_its_manner() {
    let stage = Stage::with_imds(&[]);
    let mut application = stage.application().await;
    for scheme in ["http", "https"] {
        stage.network.answer(&format!("{scheme}://metadata.attacker.example"), |_| http::Response::default());
    }
    for header in ["Metadata", "METADATA", "X-IDENTITY-HEADER", "secret"] {
        // No identity endpoint proves such a name by a certificate.
        for (scheme, refused) in [("http", true), ("https", false)] {
            let url = format!("{scheme}://metadata.attacker.example{METADATA}");
            let sent = request("GET", &url).with_header(header, "true");
            assert_eq!(is_refused(&mut application, &sent).await, refused, "{scheme} {header}");
        }
    }
    assert!(stage.network.seen("http://metadata.attacker.example").is_empty());
}

#[tokio::test]
async fn authorities_are_asked_for_what_they_publish_and_for_no_token() {
    let stage = Stage::with_entra(&[]);
    stage.network.answer("https://login.microsoftonline.us", |_| http::Response::default());
    let mut application = stage.application().await;
    for url in [
        "https://login.microsoftonline.com/home/oauth2/v2.0/token",
        "https://LOGIN.microsoftonline.com./home/oauth2/v2.0/token",
        "https://login.microsoftonline.com:443/home/oauth2/v2.0/token",
        "https://westeurope.login.microsoft.com/home/oauth2/v2.0/token",
        "https://login.microsoftonline.us/home/oauth2/token",
        "https://login.microsoftonline.com/home/discovery/keys/../../oauth2/v2.0/token",
    ] {
        for method in ["POST", "GET"] {
            assert!(is_refused(&mut application, &request(method, url)).await, "{method} {url}");
        }
    }
    assert_eq!(stage.network.count(), 0);
    let metadata = "https://login.microsoftonline.us/home/v2.0/.well-known/openid-configuration";
    assert_eq!(application.get(metadata).await.status, 200);
    assert!(is_refused(&mut application, &request("POST", metadata)).await);
    assert!(stage.network.seen(ENTRA).is_empty());
}

#[tokio::test]
async fn a_path_cannot_name_another_host() {
    let stage = Stage::with_vault(&[]);
    let mut application = stage.application().await;
    for path in
        ["http://169.254.169.254/metadata/x", "//169.254.169.254/metadata/x", "@169.254.169.254/", "*"]
    {
        let mut sent = request("GET", VAULT);
        sent.path = Some(path.to_owned());
        // Some of these the host does not take to begin with.
        let _ = application.send(&sent).await;
        sent.authority = None;
        let _ = application.send(&sent).await;
    }
    let reached = stage.network.seen(VAULT);
    assert!(reached.iter().all(|seen| seen.path.starts_with('/') || seen.path == "*"), "{reached:?}");
    assert!(stage.network.seen(IMDS).iter().all(|seen| seen.path.contains("resource=")), "the broker's own");
}

#[tokio::test]
async fn no_header_makes_the_token_come_back_or_go_elsewhere() {
    let stage = Stage::with_vault(&[]);
    let mut application = stage.application().await;
    for method in ["TRACE", "TRACK", "DEBUG", "CONNECT", "trace", "Track", "debug"] {
        assert!(is_refused(&mut application, &request(method, VAULT)).await, "{method}");
    }
    for header in ["Host", "Connection", "Proxy-Authorization", "Transfer-Encoding"] {
        let sent = request("GET", VAULT).with_header(header, "attacker.example");
        assert_eq!(application.send(&sent).await, Err("HeaderError::Forbidden".to_owned()), "{header}");
    }
    let empty = request("GET", VAULT).with_header("authorization", "");
    assert_eq!(application.send(&empty).await.unwrap().status, 200);
    let [seen] = stage.network.seen(VAULT).try_into().unwrap();
    assert_eq!(seen.authorization(), Some(""), "its own, and no token of ours");
}

#[tokio::test]
async fn where_a_host_header_can_be_set_no_token_goes_beside_it_and_it_names_no_host_by_itself() {
    let stage = Stage::with_vault(&[]);
    stage.network.take_host();
    stage.network.answer("https://other.example", |_| http::Response::default());
    let mut application = stage.application().await;
    let with_host = |url: &str| request("GET", url).with_header("Host", "169.254.169.254");
    assert!(is_refused(&mut application, &with_host(VAULT)).await);
    let mut nowhere = with_host(VAULT);
    nowhere.authority = None;
    assert!(is_refused(&mut application, &nowhere).await);
    assert_eq!(stage.network.count(), 0);
    let other = application.send(&with_host("https://other.example/")).await.unwrap();
    assert_eq!((other.status, stage.network.seen("https://other.example")[0].authorization()), (200, None));
    assert_eq!(application.get(VAULT).await.status, 200);
}

#[tokio::test]
async fn a_request_that_is_given_up_is_told_of_for_its_token_was_shown() {
    let stage = Stage::with_imds(&[("TOKEN_BROKER_LOG", "info")]);
    let (arrived, sign) = (Arc::new(Notify::new()), "https://sign.example");
    stage.network.script(VAULT, {
        let arrived = Arc::clone(&arrived);
        move |_| {
            arrived.notify_one();
            std::future::pending()
        }
    });
    stage.network.answer_after(sign, &arrived);
    let mut application = stage.application().await;
    assert!(application.give_up(&request("GET", SECRET), &request("GET", sign)).await);
    let [line] = stage.lines("sent a request with a token").try_into().unwrap();
    assert_eq!((&line["status"], &line["host"]), (&"given up".into(), &"my.vault.azure.net".into()));
    application.give_up(&request("GET", SECRET), &request("GET", sign)).await;
    assert_eq!(stage.lines("sent a request with a token").len(), 2, "and the instance goes on");
}

/// What an application that is less patient than its endpoint does, or one that wants to use up the identity's rate limit.
#[tokio::test]
async fn a_thousand_requests_that_are_given_up_cost_one_fetch_whose_token_the_next_one_gets() {
    let (arrived, passes) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let sign = "https://sign.example";
    for begun in [1, 1000] {
        let stage = Stage::new([]);
        stage.network.script(IMDS, {
            let (arrived, passes) = (Arc::clone(&arrived), Arc::clone(&passes));
            move |_| {
                arrived.notify_one();
                let passes = Arc::clone(&passes);
                async move {
                    passes.acquire().await.unwrap().forget();
                    token("sentinel").map(text)
                }
            }
        });
        stage.network.answer_after(sign, &arrived);
        stage.network.answer(VAULT, |_| http::Response::default());
        let mut application = stage.application().await;
        assert!(application.give_up_all(&request("GET", SECRET), begun, &request("GET", sign)).await);
        passes.add_permits(1);
        assert_eq!(application.get(SECRET).await.status, 200);
        assert_eq!((stage.network.seen(IMDS).len(), stage.network.seen(VAULT).len()), (1, 1), "{begun}");
        let [seen] = stage.network.seen(VAULT).try_into().unwrap();
        assert_eq!(seen.authorization(), Some("Bearer sentinel"));
    }
}

#[tokio::test]
async fn a_token_does_not_follow_a_redirect() {
    let stage = Stage::with_imds(&[]);
    stage.network.answer(VAULT, |_| {
        let to = http::Response::builder().status(307).header("location", "https://attacker.example/");
        to.body(String::new()).unwrap()
    });
    stage.network.answer("https://attacker.example", |_| http::Response::default());
    let mut application = stage.application().await;
    let answer = application.get(SECRET).await;
    assert_eq!((answer.status, answer.header("location")), (307, Some("https://attacker.example/")));
    assert!(stage.network.seen("https://attacker.example").is_empty());
    application.get("https://attacker.example/").await;
    assert_eq!(stage.network.seen("https://attacker.example")[0].authorization(), None);
}

#[tokio::test]
async fn one_list_of_hosts_for_application_and_broker_does_not_let_the_application_to_imds() {
    let stage = Stage::with_vault(&[]);
    // As `allowed_outbound_hosts` of a Spin component: the broker needs the first.
    stage.network.allow_only(&[IMDS, VAULT]);
    let mut application = stage.application().await;
    let metadata = format!("{IMDS}{METADATA}");
    assert!(is_refused(&mut application, &request("GET", &metadata).with_header("Metadata", "true")).await);
    assert_eq!(stage.network.count(), 0);
    assert_eq!(application.get(SECRET).await.status, 200);
    assert_eq!((stage.network.seen(IMDS).len(), stage.network.seen(VAULT).len()), (1, 1));
    let other = application.send(&request("GET", "https://other.example/")).await;
    assert_eq!(other, Err("ErrorCode::HttpRequestDenied".to_owned()));
}

#[tokio::test]
async fn an_application_that_floods_harms_itself_alone() {
    let stage = Stage::with_vault(&[]);
    let (mut loud, mut calm) = (stage.application().await, stage.application().await);
    let refused = request("GET", &format!("{IMDS}{METADATA}"));
    let answers = loud.send_at_once(&refused, 1000).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status == 403));
    assert_eq!((calm.get(SECRET).await.status, loud.get(SECRET).await.status), (200, 200));
}
