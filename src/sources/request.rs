//! Requests to identity endpoints.

use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};

use crate::model::{Body, Error};
use crate::wire::{Field, form_encoded};

/// A request of a source: a POST if it has a form, else a GET.
pub(crate) struct OutgoingRequest<'a> {
    url: String,
    headers: Vec<(&'static str, HeaderValue)>,
    form: Option<Vec<Field<'a>>>,
}

impl<'a> OutgoingRequest<'a> {
    pub(crate) fn get(url: String) -> Self {
        Self { url, headers: Vec::new(), form: None }
    }

    pub(crate) fn post(url: String, form: Vec<Field<'a>>) -> Self {
        Self { url, headers: Vec::new(), form: Some(form) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The request on one line, without its headers and the secret fields of its form.
    pub(crate) fn redacted(&self) -> String {
        let Some(form) = &self.form else { return format!("GET {}", self.url) };
        let public: Vec<_> = form.iter().filter(|(name, _)| !SECRET_FIELDS.contains(name)).cloned().collect();
        format!("POST {} {}", self.url, form_encoded(&public))
    }

    /// The HTTP request, with an id.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if the URL is too long or invalid.
    pub(crate) fn into_http(self, request_id: &str) -> Result<http::Request<Body>, Error> {
        let method = if self.form.is_some() { http::Method::POST } else { http::Method::GET };
        let mut builder = http::Request::builder()
            .method(method)
            .uri(self.url)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .header("x-ms-client-request-id", request_id);
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        let body = match self.form {
            None => Vec::new(),
            Some(form) => {
                let body = form_encoded(&form).into_bytes();
                // Entra answers 404 to a chunked request, and a host does not know the length of a streamed body.
                builder = builder
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .header(CONTENT_LENGTH, body.len());
                body
            }
        };
        builder.body(Body::from(body)).map_err(|_| {
            Error::invalid_request("the scope and the identity do not fit into a URL", "shorten them")
        })
    }
}

const AGENT: &str = concat!("token-broker/", env!("CARGO_PKG_VERSION"));

const SECRET_FIELDS: [&str; 3] = ["client_secret", "client_assertion", "assertion"];

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_call_with_a_form_is_a_post_whose_secrets_are_not_shown() {
        let form = || vec![("client_secret", "a b&c=d".into()), ("scope", "https://x/.default".into())];
        let call = OutgoingRequest::post("https://login.example/t".to_owned(), form());
        assert_eq!(call.redacted(), "POST https://login.example/t scope=https%3A%2F%2Fx%2F.default");
        let request = call.into_http("id").unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(
            request.body().expose_secret(),
            b"client_secret=a%20b%26c%3Dd&scope=https%3A%2F%2Fx%2F.default"
        );
        assert_eq!(request.headers()[CONTENT_LENGTH], request.body().expose_secret().len().to_string());
    }

    #[test]
    fn a_call_without_a_form_is_a_get_with_its_headers() {
        let secret = HeaderValue::from_static("s");
        let call = OutgoingRequest::get("http://127.0.0.1/x?a=b".to_owned()).header("secret", secret);
        assert_eq!(call.redacted(), "GET http://127.0.0.1/x?a=b");
        let request = call.into_http("id").unwrap();
        assert_eq!((request.method().as_str(), request.headers()["secret"].as_bytes()), ("GET", &b"s"[..]));
        assert_eq!(request.headers()["x-ms-client-request-id"], "id");
        assert!(request.body().expose_secret().is_empty());
        assert_eq!(request.headers().get(CONTENT_LENGTH), None);
    }

    #[test]
    fn a_form_is_written_into_a_buffer_that_fits_it() {
        for fields in
            [vec![], vec![("a", "".into())], vec![("a", "b c&é".into()), ("client_secret", "x".into())]]
        {
            let text = form_encoded(&fields);
            assert_eq!(text.capacity(), text.len(), "{text}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_sent_is_the_callers_mistake() {
        let url = format!("http://127.0.0.1/?resource={}", "a".repeat(100_000));
        assert_eq!(OutgoingRequest::get(url).into_http("id").unwrap_err().kind(), "invalid-request");
    }
}
