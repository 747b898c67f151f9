//! A fetch belongs to the broker: an application that gives up a request leaves its token's fetch to the others.

use std::sync::Arc;

use host_test::wasi::text;
use tokio::sync::Semaphore;

use crate::stage::{IMDS, Stage, request, token};
use crate::{SECRET, VAULT};

const SIGN: &str = "http://sign.example";

/// An IMDS that answers when it is let, and a host that answers when IMDS has been asked.
struct SlowImds {
    asked: Arc<Semaphore>,
    let_go: Arc<Semaphore>,
}

impl SlowImds {
    fn on(stage: &Stage) -> Self {
        let (asked, let_go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let imds = Self { asked: Arc::clone(&asked), let_go: Arc::clone(&let_go) };
        stage.network.script(IMDS, move |_| {
            asked.add_permits(1);
            let let_go = Arc::clone(&let_go);
            async move {
                drop(let_go.acquire().await.unwrap());
                token("sentinel").map(text)
            }
        });
        let asked = Arc::clone(&imds.asked);
        stage.network.script(SIGN, move |_| {
            let asked = Arc::clone(&asked);
            async move {
                drop(asked.acquire().await.unwrap());
                http::Response::new(text(""))
            }
        });
        stage.network.answer(VAULT, |_| http::Response::default());
        imds
    }
}

#[tokio::test]
async fn requests_that_are_given_up_one_after_the_other_cost_one_fetch_and_the_next_one_has_its_token() {
    let stage = Stage::new([]);
    let imds = SlowImds::on(&stage);
    let mut application = stage.application().await;
    for _ in 0..100 {
        assert!(application.give_up(&request("GET", SECRET), &request("GET", SIGN)).await);
    }
    assert_eq!(stage.network.seen(IMDS).len(), 1);
    imds.let_go.add_permits(1);
    for _ in 0..3 {
        assert_eq!(application.get(SECRET).await.status, 200);
    }
    assert_eq!(stage.network.seen(IMDS).len(), 1);
    let seen = stage.network.seen(VAULT);
    assert!(seen.len() == 3 && seen.iter().all(|seen| seen.authorization() == Some("Bearer sentinel")));
}

#[tokio::test]
async fn those_who_wait_have_the_token_whose_fetch_another_began_and_gave_up() {
    for others in [1, 20] {
        let stage = Stage::new([]);
        let imds = SlowImds::on(&stage);
        let mut application = stage.application().await;
        let (secret, sign) = (request("GET", SECRET), request("GET", SIGN));
        let let_go = || imds.let_go.add_permits(1);
        let answers = application.send_at_once_and_give_up((&secret, others), &sign, let_go).await;
        assert_eq!(answers.len(), others as usize);
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status == 200));
        assert_eq!(stage.network.seen(IMDS).len(), 1, "{others}");
        for _ in 0..3 {
            assert_eq!(application.get(SECRET).await.status, 200);
        }
    }
}
