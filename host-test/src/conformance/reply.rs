//! Answers made in memory, and the faults of a network.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http::header::CONTENT_TYPE;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::Value;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::case::{Fault, Reply};
use super::content::Text;

impl Reply {
    /// Check that this can be sent.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let sent = self.clone().response().map(drop);
        sent.map_err(|error| anyhow::anyhow!("the reply cannot be sent: {error:?}"))
    }

    /// Answer or fail as a client on a real network would see it.
    pub(crate) async fn play(self, options: RequestOptions) -> Result<http::Response<WasiBody>, Error> {
        let connection = async {
            if self.fault == Some(Fault::BlackHole) {
                pending::<Infallible>().await;
            }
        };
        within(options.connect_timeout, connection).await.ok_or(Error::ConnectionTimeout)?;
        let silence = async {
            if self.fault == Some(Fault::Timeout) {
                pending::<Infallible>().await;
            }
            tokio::time::sleep(Duration::from_millis(self.delay_ms)).await;
        };
        within(options.first_byte_timeout, silence).await.ok_or(Error::ConnectionReadTimeout)?;
        match self.fault {
            Some(Fault::Refused) => Err(Error::ConnectionRefused),
            Some(Fault::Untrusted) => Err(Error::TlsCertificateError),
            Some(Fault::Reset) => Err(Error::ConnectionTerminated),
            Some(Fault::BlackHole | Fault::Timeout | Fault::Truncated | Fault::Oversize | Fault::Drip)
            | None => self.response(),
        }
    }

    fn response(self) -> Result<http::Response<WasiBody>, Error> {
        let mut response = http::Response::builder().status(self.status.unwrap_or(200));
        for (name, values) in &self.headers {
            for Text(value) in values.iter() {
                response = response.header(name, value);
            }
        }
        let is_labelled = self.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
        if !is_labelled && matches!(self.body, Some(Value::Object(_) | Value::Array(_))) {
            response = response.header(CONTENT_TYPE, "application/json");
        }
        response.body(self.body()).map_err(|error| Error::InternalError(Some(error.to_string())))
    }

    fn body(self) -> WasiBody {
        let bytes = self.bytes();
        match self.fault {
            Some(Fault::Truncated) => {
                // A body that ends before its Content-Length becomes this.
                let half = bytes.slice(..bytes.len() / 2);
                streamed(stream::iter([Ok(half), Err(Error::HttpProtocolError)]))
            }
            Some(Fault::Oversize) => {
                let blanks = std::iter::repeat_n(Bytes::from_static(BLANKS), OVERSIZE_CHUNKS);
                streamed(stream::iter(std::iter::once(bytes).chain(blanks).map(Ok)))
            }
            Some(Fault::Drip) => streamed(stream::unfold(bytes, drip)),
            Some(Fault::Refused | Fault::BlackHole | Fault::Untrusted | Fault::Timeout | Fault::Reset)
            | None => Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
        }
    }

    fn bytes(&self) -> Bytes {
        match (&self.raw, &self.body) {
            (Some(raw), _) => Bytes::copy_from_slice(raw.bytes()),
            (None, Some(Value::String(text))) => text.clone().into(),
            (None, Some(json)) => json.to_string().into(),
            (None, None) => Bytes::new(),
        }
    }
}

/// Returns None if the limit passes first.
async fn within<T>(limit: Option<Duration>, wait: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, wait).await.ok(),
        None => Some(wait.await),
    }
}

/// A body that is made while it is read.
fn streamed(chunks: impl Stream<Item = Result<Bytes, Error>> + Send + 'static) -> WasiBody {
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

async fn drip(mut rest: Bytes) -> Option<(Result<Bytes, Error>, Bytes)> {
    tokio::time::sleep(BETWEEN_DROPS).await;
    let drop = rest.split_to(rest.len().min(1));
    (!drop.is_empty()).then_some((Ok(drop), rest))
}

/// White space, so that a good body stays valid JSON: only its length is wrong.
const BLANKS: &[u8] = &[b' '; 16 << 10];

/// 50 MB in all.
const OVERSIZE_CHUNKS: usize = 3200;

/// Each pause is short; together they are long.
const BETWEEN_DROPS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_labelled_as_json_unless_the_headers_say_otherwise() {
        for (reply, label) in [
            (r#"{"body": {}}"#, Some("application/json")),
            (r#"{"body": []}"#, Some("application/json")),
            (r#"{"body": {}, "headers": {"Content-Type": "text/html"}}"#, Some("text/html")),
            (r#"{"body": {}, "headers": {"content-type": []}}"#, None),
            (r#"{"body": "{}"}"#, None),
            (r#"{"raw": "{}"}"#, None),
            (r#"{"status": 503}"#, None),
        ] {
            let response = serde_json::from_str::<Reply>(reply).unwrap().response().unwrap();
            let got = response.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap());
            assert_eq!(got, label, "{reply}");
        }
    }
}
