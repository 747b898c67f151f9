//! A container of blobs: four operations of Azure Storage's REST API.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api>

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::Failed;

pub(crate) struct Container {
    url: String,
}

impl Container {
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let is_one = url.starts_with("https://") && !url.ends_with('/') && !url.contains(['?', '#', '@']);
        match is_one {
            true => Ok(Self { url: url.into() }),
            false => Err(format!(
                "STORAGE_CONTAINER_URL is {url:?}; it must be like https://account.blob.core.windows.net/container"
            )),
        }
    }

    pub(crate) async fn create(&self) -> Result<(), Failed> {
        let created = self.ask(Method::PUT, "?restype=container", Bytes::new()).await?;
        expect(created, StatusCode::CREATED).map(drop)
    }

    pub(crate) async fn upload(&self, name: &str, content: Vec<u8>) -> Result<(), Failed> {
        let uploaded = self.ask(Method::PUT, &format!("/{}", encoded(name)), content.into()).await?;
        expect(uploaded, StatusCode::CREATED).map(drop)
    }

    pub(crate) async fn download(&self, name: &str) -> Result<Bytes, Failed> {
        let blob = self.ask(Method::GET, &format!("/{}", encoded(name)), Bytes::new()).await?;
        expect(blob, StatusCode::OK)
    }

    /// The names of all blobs, page by page
    pub(crate) async fn list(&self) -> Result<Vec<String>, Failed> {
        let (mut names, mut marker) = (Vec::new(), String::new());
        loop {
            let page = format!("?restype=container&comp=list&maxresults={PAGE}&marker={}", encoded(&marker));
            let page = expect(self.ask(Method::GET, &page, Bytes::new()).await?, StatusCode::OK)?;
            let page: Page = quick_xml::de::from_reader(page.as_ref())?;
            names.extend(page.blobs.blob.into_iter().map(|blob| blob.name));
            if page.next_marker.is_empty() {
                return Ok(names);
            }
            if names.len() >= MAX_NAMES {
                return Err(format!("the container has more than {MAX_NAMES} blobs").into());
            }
            marker = page.next_marker;
        }
    }

    /// Ask with a token; once more with a new one, if it was refused.
    async fn ask(&self, method: Method, rest: &str, content: Bytes) -> Result<Response<Bytes>, Failed> {
        let answer = self.ask_once(method.clone(), rest, content.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        token_broker_client::forget(SCOPE).await;
        self.ask_once(method, rest, content).await
    }

    async fn ask_once(&self, method: Method, rest: &str, content: Bytes) -> Result<Response<Bytes>, Failed> {
        let token = token_broker_client::token(SCOPE).await?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{rest}", self.url))
            .header(AUTHORIZATION, token.authorization())
            .header("x-ms-version", VERSION)
            .header("x-ms-blob-type", "BlockBlob")
            .header("content-length", content.len())
            .body(content)?;
        Ok(guest_http::send(request).await?)
    }
}

fn expect(answer: Response<Bytes>, wanted: StatusCode) -> Result<Bytes, Failed> {
    let status = answer.status();
    if status == wanted {
        return Ok(answer.into_body());
    }
    let code =
        answer.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok()).unwrap_or("no code");
    Err(format!("the container says {status}, {code}{}", remedy(status)).into())
}

fn remedy(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "; fix: use the account's tenant, which is not this token's",
        StatusCode::FORBIDDEN => {
            "; fix: az role assignment create --role \"Storage Blob Data Contributor\" --assignee OBJECT_ID \
             --scope $(az storage account show --name ACCOUNT --query id --output tsv)"
        }
        StatusCode::NOT_FOUND => "; fix: `list` shows the names, `create` makes the container",
        _ => "",
    }
}

/// A name in a path or a query; Storage takes an encoded slash for one.
fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    blobs: Blobs,
    #[serde(default)]
    next_marker: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blobs {
    #[serde(default)]
    blob: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: String,
}

/// The same in every cloud.
const SCOPE: &str = "https://storage.azure.com/.default";
const VERSION: &str = "2021-12-02";
/// Names in a page, whose properties make it about a thousand times as long; Storage would send 5000.
const PAGE: usize = 1000;
const MAX_NAMES: usize = 100_000;
