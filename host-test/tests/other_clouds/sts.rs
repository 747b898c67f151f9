//! The security token services of Google Cloud and AWS, as strict as they are with a token of Azure.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mock_identity::Mock;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::stage::AUDIENCE;

/// The parameters of a request.
pub(crate) type Form = BTreeMap<String, String>;
type Service = fn(&Mock, &Parts, &Form) -> (StatusCode, String);

/// A service that trusts the tokens of a platform for [`AUDIENCE`].
pub(crate) struct Sts {
    address: SocketAddr,
    forms: Arc<Mutex<Vec<Form>>>,
    _server: JoinSet<()>,
}

impl Sts {
    /// Google's: <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>
    pub(crate) async fn google(mock: &Arc<Mock>) -> Self {
        Self::start(mock, google).await
    }

    /// That of AWS: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
    pub(crate) async fn aws(mock: &Arc<Mock>) -> Self {
        Self::start(mock, aws).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A parameter of each request so far.
    pub(crate) fn sent(&self, name: &str) -> Vec<String> {
        self.forms.lock().unwrap().iter().map(|form| form.get(name).cloned().unwrap_or_default()).collect()
    }

    async fn start(mock: &Arc<Mock>, service: Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, forms) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Form>>>::default());
        let (mock, seen, mut server) = (Arc::clone(mock), Arc::clone(&forms), JoinSet::new());
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (mock, seen) = (Arc::clone(&mock), Arc::clone(&seen));
                let answer =
                    service_fn(move |request| answer(request, Arc::clone(&mock), Arc::clone(&seen), service));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                // An error here is a client that left.
                connections.spawn(async move { _ = connection.await });
            }
        });
        Self { address, forms, _server: server }
    }
}

async fn answer(
    request: Request<Incoming>,
    mock: Arc<Mock>,
    seen: Arc<Mutex<Vec<Form>>>,
    service: Service,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let form: Form = form_urlencoded::parse(&body).into_owned().collect();
    let (status, text) = service(&mock, &head, &form);
    seen.lock().unwrap().push(form);
    let kind = if text.starts_with('{') { "application/json" } else { "text/xml" };
    Ok(Response::builder().status(status).header(CONTENT_TYPE, kind).body(text.into()).unwrap())
}

/// Whether it is an unsigned form to this path with these parameters.
fn has(head: &Parts, form: &Form, path: &str, parameters: &[(&str, &str)]) -> bool {
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    (&head.method, head.uri.path()) == (&Method::POST, path)
        && kind.starts_with(b"application/x-www-form-urlencoded")
        && !head.headers.contains_key(AUTHORIZATION)
        && parameters.iter().all(|(name, value)| form.get(*name).is_some_and(|sent| sent == value))
}

fn google(mock: &Mock, head: &Parts, form: &Form) -> (StatusCode, String) {
    let provider = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/azure/providers/entra";
    let expected = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", provider),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("scope", "https://www.googleapis.com/auth/cloud-platform"),
    ];
    let refused = |error: &str, why: &str| {
        (StatusCode::BAD_REQUEST, json!({ "error": error, "error_description": why }).to_string())
    };
    if !has(head, form, "/v1/token", &expected) {
        return refused("invalid_request", "Invalid value for one of the parameters.");
    }
    match mock.verify(&form["subject_token"], AUDIENCE) {
        Err(_) => refused("invalid_grant", "Unable to parse the ID Token or to verify it."),
        Ok(claims) => (
            StatusCode::OK,
            json!({
                "access_token": format!("ya29.{}", claims.oid),
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": 3600,
            })
            .to_string(),
        ),
    }
}

fn aws(mock: &Mock, head: &Parts, form: &Form) -> (StatusCode, String) {
    let expected = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", "arn:aws:iam::111122223333:role/from-azure"),
    ];
    let is_name =
        |name: &String| (2..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let refused = |code: &str| {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{code}</Message></Error>");
        (StatusCode::BAD_REQUEST, format!("<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"))
    };
    if !has(head, form, "/", &expected) || !form.get("RoleSessionName").is_some_and(is_name) {
        return refused("ValidationError");
    }
    let Ok(claims) = mock.verify(&form["WebIdentityToken"], AUDIENCE) else {
        return refused("InvalidIdentityToken");
    };
    // So soon that a client takes new ones at its next use.
    let end = (OffsetDateTime::now_utc() + time::Duration::minutes(1)).format(&Rfc3339).unwrap();
    let credentials = format!(
        "<Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
         <SessionToken>session of {}</SessionToken><Expiration>{end}</Expiration></Credentials>",
        claims.oid
    );
    let result = format!("<AssumeRoleWithWebIdentityResult>{credentials}</AssumeRoleWithWebIdentityResult>");
    (
        StatusCode::OK,
        format!("<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>"),
    )
}
