//! What the mock sends has the form of what Azure really sent: each recorded request goes to a mock that has the ids and
//! the secrets of the recordings, and its answer is compared with the recorded one.

mod compare;
mod scenes;

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use mock_identity::{Endpoint, Fault, Mock};
use serde::Deserialize;
use serde_json::Value;

use self::{
    compare::{HeaderNames, differences},
    scenes::{Ask, CLIENT, GRANT, NOT_PLAYED, SCENES, SCOPE, SECRET, Scene, config},
};
use crate::{
    assertion::ASSERTION_TYPE,
    client::{FORM, METADATA, Received, form, get, send},
    on_behalf_of, secure,
};

/// A file of `tests/recorded`, as far as it is about an answer
#[derive(Deserialize)]
struct Recording {
    source: Source,
    request: Option<Request>,
    response: Option<Response>,
    /// All that is known of a body
    words: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    kind: String,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Response {
    status: Option<u16>,
    headers: Option<Vec<(String, String)>>,
    body: Option<String>,
}

#[tokio::test]
async fn every_answer_has_the_form_of_the_recorded_one() {
    let recordings = recordings();
    let names = HeaderNames::of(&recordings);
    let mut failures = Vec::new();
    for scene in SCENES {
        let recording = &recordings[scene.file];
        let received = play(scene, recording.request.as_ref().expect("a request")).await;
        let different = differences(recording, &received, &names.of_service(scene.file));
        failures.extend(different.into_iter().map(|what| format!("{}: {what}", scene.file)));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_recorded_answer_is_compared_or_said_why_it_is_not() {
    let mut known: Vec<_> =
        SCENES.iter().map(|scene| scene.file).chain(NOT_PLAYED.iter().map(|(file, _)| *file)).collect();
    known.sort_unstable();
    let answers = recordings().into_iter().filter(|(_, recording)| recording.request.is_some());
    assert_eq!(answers.map(|(file, _)| file).collect::<Vec<_>>(), known);
}

#[tokio::test]
async fn a_managed_identitys_token_has_the_claims_of_a_recorded_one() {
    let mock = Mock::start(config()).await.unwrap();
    let target = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
    let body = get(&mock, target, &METADATA).await.json();
    let claims = mock.verify(body["access_token"].as_str().unwrap(), "https://vault.azure.net").unwrap();
    let Value::Object(ours) = serde_json::to_value(claims).unwrap() else { panic!("claims are an object") };
    for file in ["tokens/user-assigned-v1-2020.json", "tokens/user-assigned-v1-idtyp.json"] {
        let recorded: Value =
            serde_json::from_str(&fs::read_to_string(directory().join(file)).unwrap()).unwrap();
        for (name, value) in recorded["claims"].as_object().unwrap() {
            let same =
                ours.get(name).map(|ours| std::mem::discriminant(ours) == std::mem::discriminant(value));
            assert_eq!(same, Some(true), "{name} of {file}");
        }
    }
}

async fn play(scene: &Scene, request: &Request) -> Received {
    let mut config = config();
    (scene.setup)(&mut config);
    let keys = tempfile::tempdir().unwrap();
    if let Some(arc) = &mut config.arc {
        arc.key_directory = keys.path().to_owned();
    }
    let mock = Mock::start(config).await.unwrap();
    if let Some((endpoint, status)) = scene.fault {
        mock.fault(Fault::new(endpoint, mock_identity::Answer::status(status)));
    }
    let service = scene.file.split('/').next().unwrap();
    let mut headers = request.headers.clone();
    // Recordings leave out what every client sends.
    for name in ["client-request-id", "x-ms-client-request-id"] {
        add_unless_there(&mut headers, name, "00000000-0000-0000-0000-0000000000a2");
    }
    if matches!(scene.ask, Ask::KeyOfArc) {
        let challenge = ask(&mock, service, request, &headers[..1], "").await;
        let key =
            fs::read_to_string(challenge.headers["www-authenticate"].strip_prefix("Basic realm=").unwrap());
        headers.retain(|(name, _)| name != "Authorization");
        headers.push(("Authorization".to_owned(), format!("Basic {}", key.unwrap())));
    }
    let body = body(&mock, scene, request);
    if !body.is_empty() {
        add_unless_there(&mut headers, FORM.0, FORM.1);
    }
    ask(&mock, service, request, &headers, &body).await
}

fn add_unless_there(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    if !headers.iter().any(|(held, _)| held.eq_ignore_ascii_case(name)) {
        headers.push((name.to_owned(), value.to_owned()));
    }
}

async fn ask(
    mock: &Mock,
    service: &str,
    request: &Request,
    headers: &[(String, String)],
    body: &str,
) -> Received {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let target = target(service, &request.url);
    let method = request.method.as_str();
    match service {
        "entra" | "open-id" => secure::send(mock, method, &target, &headers, body.as_bytes()).await,
        "service-fabric" => {
            let thumbprint = &mock.env(Endpoint::ServiceFabric)[2].1.clone();
            secure::pinned(mock, thumbprint, method, &target, &headers).await.unwrap()
        }
        _ => send(mock, method, &target, &headers, body).await.unwrap(),
    }
}

/// Where the mock has what is at this URL
fn target(service: &str, url: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let path = &path[path.find("://").unwrap() + 3..];
    let path = path.split_once('/').map_or_else(|| "/".to_owned(), |(_, path)| format!("/{path}"));
    let path = match service {
        "app-service" if query.contains("2017-09-01") => "/2017/msi/token".to_owned(),
        "app-service" | "automation" => "/msi/token".to_owned(),
        "arc" => format!("/arc{path}"),
        "container-instances" if query.contains("api-version=1.0") => {
            format!("/container-group{path}")
        }
        // Not known of all of them, and the same for each.
        "azure-devops" => "/o/p/_apis/distributedtask/hubs/build/plans/1/jobs/2/oidctoken".to_owned(),
        "key-vault" => "/secrets/example".to_owned(),
        "machine-learning" => "/msi/auth".to_owned(),
        _ => path,
    };
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// The form, its placeholders replaced by what the mock takes
fn body(mock: &Mock, scene: &Scene, request: &Request) -> String {
    let recorded = request.body.clone().unwrap_or_default();
    match scene.ask {
        Ask::AsRecorded | Ask::KeyOfArc => recorded,
        Ask::Form(fields) => form(fields),
        Ask::Federated(credential, lifetime) => {
            let proof = mock.federated_token(&credential(), Duration::from_secs(lifetime)).unwrap();
            if recorded.is_empty() {
                return form(&[GRANT, CLIENT, SCOPE, ASSERTION_TYPE, ("client_assertion", &proof)]);
            }
            recorded.replace("client_assertion=placeholder", &format!("client_assertion={proof}"))
        }
        Ask::OnBehalfOf => {
            let proof = mock.user_token(&mock.config().users[0], &mock.config().apps[0]).unwrap();
            form(&[on_behalf_of::GRANT, on_behalf_of::USE, CLIENT, SECRET, SCOPE, ("assertion", &proof)])
        }
    }
}

/// All of those services, by path without its ending
fn recordings() -> BTreeMap<&'static str, Recording> {
    let mut all = BTreeMap::new();
    for service in SERVICES {
        for entry in fs::read_dir(directory().join(service)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{service}/{}", path.file_stem().unwrap().to_str().unwrap());
            let text = fs::read_to_string(&path).unwrap();
            all.insert(
                &*name.leak(),
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}")),
            );
        }
    }
    all
}

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/recorded"))
}

/// Those that the mock plays
const SERVICES: [&str; 15] = [
    "app-service",
    "arc",
    "automation",
    "azure-devops",
    "cloud-shell",
    "container-apps",
    "container-instances",
    "entra",
    "gcp-metadata",
    "github-actions",
    "imds",
    "key-vault",
    "machine-learning",
    "open-id",
    "service-fabric",
];
