//! Requests to identity endpoints.

use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};

use crate::model::{Body, Error};
use crate::wire::{Field, form_encoded};

/// A request of a source.
pub(crate) struct OutgoingRequest<'a> {
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    content: Content<'a>,
    /// Whether the query is secret.
    hides_query: bool,
}

/// The method of a request, with its body.
enum Content<'a> {
    Get,
    Form(Vec<Field<'a>>),
    /// A POST of JSON, with an empty body.
    Empty,
}

impl<'a> OutgoingRequest<'a> {
    pub(crate) fn get(url: String) -> Self {
        Self::new(url, Content::Get)
    }

    pub(crate) fn post(url: String, form: Vec<Field<'a>>) -> Self {
        Self::new(url, Content::Form(form))
    }

    pub(crate) fn empty_post(url: String) -> Self {
        Self::new(url, Content::Empty)
    }

    fn new(url: String, content: Content<'a>) -> Self {
        Self { url, headers: Vec::new(), content, hides_query: false }
    }

    pub(crate) fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((HeaderName::from_static(name), value));
        self
    }

    pub(crate) fn headers(mut self, headers: &[(HeaderName, HeaderValue)]) -> Self {
        self.headers.extend_from_slice(headers);
        self
    }

    pub(crate) fn hiding_query(self) -> Self {
        Self { hides_query: true, ..self }
    }

    /// The request on one line, without its headers and the secret fields of its form.
    pub(crate) fn redacted(&self) -> String {
        let url = match self.url.split_once('?') {
            Some((url, _)) if self.hides_query => url,
            _ => &self.url,
        };
        match &self.content {
            Content::Get => format!("GET {url}"),
            Content::Empty => format!("POST {url}"),
            Content::Form(form) => {
                let is_public = |(name, _): &&Field<'_>| !SECRET_FIELDS.contains(name);
                let public: Vec<_> = form.iter().filter(is_public).cloned().collect();
                format!("POST {url} {}", form_encoded(&public))
            }
        }
    }

    /// The HTTP request, with an id.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if the URL is too long or invalid.
    pub(crate) fn into_http(self, request_id: &str) -> Result<http::Request<Body>, Error> {
        let (method, body) = match self.content {
            Content::Get => (http::Method::GET, None),
            Content::Form(form) => (
                http::Method::POST,
                Some(("application/x-www-form-urlencoded", form_encoded(&form).into_bytes())),
            ),
            Content::Empty => (http::Method::POST, Some(("application/json", Vec::new()))),
        };
        let mut builder = http::Request::builder()
            .method(method)
            .uri(self.url)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .header("x-ms-client-request-id", request_id);
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        if let Some((content_type, body)) = &body {
            // Entra answers 404 to a chunked request, and a host does not know the length of a streamed body.
            builder = builder.header(CONTENT_TYPE, *content_type).header(CONTENT_LENGTH, body.len());
        }
        let body = body.map(|(_, body)| body).unwrap_or_default();
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
