//! Answers in the place of a service's.

use token_broker::{Error, Problem};
use wasip3::http::types::{ErrorCode, Fields, Response};
use wasip3::{wit_future, wit_stream};

/// What an application gets whose request was not sent.
///
/// # Errors
/// An internal error if the host takes no such answer.
pub(crate) fn answer(error: &Error) -> Result<Response, ErrorCode> {
    let Problem { status, kind, retry_after, body } = Problem::from(error);
    let mut headers = vec![
        ("content-type".to_owned(), Problem::CONTENT_TYPE.into()),
        ("content-length".to_owned(), body.len().to_string().into()),
        (Problem::HEADER.to_owned(), kind.into()),
    ];
    headers.extend(retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string().into())));
    let headers =
        Fields::from_list(&headers).map_err(|_| ErrorCode::InternalError(Some(error.to_string())))?;
    let (mut writer, contents) = wit_stream::new();
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(headers, Some(contents), no_trailers);
    response.set_status_code(status).map_err(|()| ErrorCode::InternalError(Some(error.to_string())))?;
    // Read only once the answer has been given.
    wit_bindgen::spawn_local(async move {
        writer.write_all(body).await;
    });
    Ok(response)
}
