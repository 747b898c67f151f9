//! The requests of the broker: decided on by the policy, then sent, answered or refused.

use std::future::Future;
use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Limited};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{RequestOptions, WasiHttpHooks};

use crate::log::Log;
use crate::network::exchange::{self, Ways};
use crate::network::http::{HttpError, Sent, WasiBody, connect_error, hyper_error};
use crate::network::policy::{Answer, Decision, HttpPolicy};

/// The policy in the shape that WASI's HTTP wants.
pub(crate) struct Hooks {
    pub(crate) policy: Arc<dyn HttpPolicy>,
    pub(crate) ways: Ways,
    pub(crate) log: Log,
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _answered: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (head, body) = request.into_parts();
        let decision = self.policy.decide(&head);
        let request = http::Request::from_parts(head, body);
        match decision {
            Decision::Send => {
                Box::new(exchange::send(request, options.into(), self.ways.clone(), self.log.clone()))
            }
            Decision::Answer(answer) => Box::new(answer_here(request, answer)),
            Decision::Refuse(reason) => {
                self.log.event("request refused by the host", &reason);
                Box::new(async { Err(HttpError::HttpRequestDenied) })
            }
        }
    }

    fn p3_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        connect_error(error)
    }

    fn p3_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        hyper_error(error)
    }
}

async fn answer_here(request: http::Request<WasiBody>, answer: Answer) -> Sent {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST_BODY);
    let body = body.collect().await.map_err(|_| HttpError::HttpRequestBodySize(None))?.to_bytes();
    let response = answer(http::Request::from_parts(head, body)).await?;
    Ok((response, Box::new(async { Ok(()) })))
}

const MAX_REQUEST_BODY: usize = 1024 * 1024;
