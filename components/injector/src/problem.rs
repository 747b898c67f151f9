//! The problem document as a response of WASI.

use token_broker::Error;
use token_broker_egress::Problem;
use wasip3::http::types::{ErrorCode, Response};

use crate::response::response;

/// The response to a request that was not sent.
pub(crate) fn answer(error: &Error) -> Result<Response, ErrorCode> {
    let problem = Problem::from(error);
    let headers = problem.headers().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    response(problem.status, headers.collect(), problem.body)
        .ok_or_else(|| ErrorCode::InternalError(Some(error.to_string())))
}
