//! The problem document as a response of WASI.

use token_broker::Error;
use token_broker_egress::Problem;
use wasip3::http::types::{ErrorCode, Fields, Response};
use wasip3::{wit_future, wit_stream};

/// The response to a request that was not sent.
///
/// # Errors
/// An internal error if the host takes no such response.
pub(crate) fn answer(error: &Error) -> Result<Response, ErrorCode> {
    let problem = Problem::from(error);
    let headers = problem.headers().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    let mut headers: Vec<(String, Vec<u8>)> = headers.collect();
    headers.push(("content-length".to_owned(), problem.body.len().to_string().into()));
    let headers =
        Fields::from_list(&headers).map_err(|_| ErrorCode::InternalError(Some(error.to_string())))?;
    let (mut writer, contents) = wit_stream::new();
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(contents), no_trailers);
    response
        .set_status_code(problem.status)
        .map_err(|()| ErrorCode::InternalError(Some(error.to_string())))?;
    // Read only once the answer has been given.
    wit_bindgen::spawn_local(async move {
        writer.write_all(problem.body).await;
    });
    Ok(response)
}
