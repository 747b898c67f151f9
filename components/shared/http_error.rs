//! The errors of `wasi:http` in words.

use token_broker::SendErrorKind;

use crate::ErrorCode;

/// The kind of an error, and the words for it.
pub(crate) fn described(code: &ErrorCode) -> (SendErrorKind, &str) {
    use SendErrorKind::{
        Broken, Forbidden, NotConnected, TimedOut, TooLarge, Truncated, Unconfigured, Untrusted,
    };
    match code {
        ErrorCode::ConnectionRefused => (NotConnected, "connection refused"),
        ErrorCode::ConnectionTimeout => (NotConnected, "no connection in time"),
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) => (NotConnected, "the name cannot be resolved"),
        ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpUnroutable => (NotConnected, "the address cannot be reached"),
        ErrorCode::HttpRequestDenied => (Forbidden, "request denied"),
        ErrorCode::ConfigurationError => (
            Unconfigured,
            "its proxy wants a user and a password, or others, or it is misconfigured otherwise",
        ),
        ErrorCode::DestinationIpProhibited => (Forbidden, "address prohibited"),
        ErrorCode::HttpResponseTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout => (TimedOut, "no answer in time"),
        ErrorCode::HttpResponseIncomplete => (Truncated, "the answer is incomplete"),
        ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_) => (TooLarge, "the answer is too large for the host"),
        ErrorCode::TlsCertificateError => (Untrusted, "the host's log says why (TOKEN_BROKER_LOG=error)"),
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => (Broken, "no TLS connection"),
        ErrorCode::InternalError(Some(words)) => (Broken, words),
        ErrorCode::ConnectionTerminated => (Broken, "connection terminated"),
        _ => (Broken, "not an HTTP answer"),
    }
}
