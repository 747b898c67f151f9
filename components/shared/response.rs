//! A response of WASI 0.3 with a body that is in memory.

use wasip3::http::types::{Fields, Response};
use wasip3::{wit_future, wit_stream};

/// The response; none if the host does not take it.
pub(crate) fn response(status: u16, mut headers: Vec<(String, Vec<u8>)>, body: Vec<u8>) -> Option<Response> {
    headers.push(("content-length".to_owned(), body.len().to_string().into()));
    let (mut writer, contents) = wit_stream::new();
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::from_list(&headers).ok()?, Some(contents), no_trailers);
    response.set_status_code(status).ok()?;
    // In a task: the host reads the body after it has been given the response.
    wit_bindgen::spawn_local(async move {
        writer.write_all(body).await;
    });
    Some(response)
}
