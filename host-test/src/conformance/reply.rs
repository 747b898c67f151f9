//! Answers that were never on a network, and the faults that a network has.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::Value;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::case::{Fault, Reply};
use super::content::Text;

impl Reply {
    /// Whether this can be sent.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.clone()
            .response()
            .map(drop)
            .map_err(|error| anyhow::anyhow!("the reply cannot be sent: {error:?}"))
    }

    /// Answer, or fail, as the client of a real network would see it.
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
        response.body(self.body()).map_err(|error| Error::InternalError(Some(error.to_string())))
    }

    fn body(self) -> WasiBody {
        let bytes = self.bytes();
        match self.fault {
            Some(Fault::Truncated) => {
                // This is what a body becomes that ends before its Content-Length.
                let half = bytes.slice(..bytes.len() / 2);
                flow(stream::iter([Ok(half), Err(Error::HttpProtocolError)]))
            }
            Some(Fault::Oversize) => {
                let blanks = std::iter::repeat_n(Bytes::from_static(BLANKS), OVERSIZE_CHUNKS);
                flow(stream::iter(std::iter::once(bytes).chain(blanks).map(Ok)))
            }
            Some(Fault::Drip) => flow(stream::unfold(bytes, drip)),
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

/// None if the limit passes first.
async fn within<T>(limit: Option<Duration>, wait: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, wait).await.ok(),
        None => Some(wait.await),
    }
}

/// A body made while it is read.
fn flow(chunks: impl Stream<Item = Result<Bytes, Error>> + Send + 'static) -> WasiBody {
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

async fn drip(mut rest: Bytes) -> Option<(Result<Bytes, Error>, Bytes)> {
    tokio::time::sleep(BETWEEN_DROPS).await;
    let drop = rest.split_to(rest.len().min(1));
    (!drop.is_empty()).then_some((Ok(drop), rest))
}

/// White space, so that a good body stays good JSON: only its length is wrong.
const BLANKS: &[u8] = &[b' '; 16 << 10];

/// 50 MB in all.
const OVERSIZE_CHUNKS: usize = 3200;

/// No single pause is long; all of them together are.
const BETWEEN_DROPS: Duration = Duration::from_secs(1);
