//! HTTP methods that never carry a token.

use token_broker::Error;

/// Refuses a token to a request by its method.
///
/// A server answers `TRACE` (RFC 9110, 9.3.8), IIS also `TRACK`, with the request's own headers. `DEBUG` is for ASP.NET's
/// debugger. `CONNECT` is for a proxy, and not for the host that a rule names. Methods are case-sensitive (RFC 9110, 9.1),
/// but not every server keeps to that, so that the list holds in any case. Other methods are extensions that services
/// define, such as WebDAV's `PROPFIND`: they carry a token if they are tokens of RFC 9110, 5.6.2. Anything else could be
/// read as another method by the next server, `TRACE` with a space after it for example.
///
/// # Errors
/// [`Error::Denied`] that names the method.
pub fn check_method(method: &str) -> Result<(), Error> {
    if let Some(method) = WITHOUT_TOKEN.into_iter().find(|listed| method.eq_ignore_ascii_case(listed)) {
        return Err(Error::denied(
            format_args!("a {method} request carries no token: the response could show it"),
            "send another method, or ask the deployer to remove the rule for the host",
        ));
    }
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(Error::denied(
            "the request carries no token: its method is not a token of RFC 9110",
            "send a valid method",
        ));
    }
    Ok(())
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const WITHOUT_TOKEN: [&str; 4] = ["TRACE", "TRACK", "DEBUG", "CONNECT"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_whose_answer_may_show_the_token_are_refused_in_any_case_and_named() {
        for method in ["TRACE", "trace", "Track", "TRACK", "debug", "DEBUG", "CONNECT", "connect"] {
            let error = check_method(method).unwrap_err();
            assert_eq!(error.kind(), "denied");
            assert!(error.to_string().contains(&method.to_ascii_uppercase()), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_method_is_refused_and_not_repeated() {
        for method in
            ["", " ", "TRACE ", " GET", "GET\t", "GET\r\nX: y", "GET /", "TRAC\u{c9}", "GET\0", "(GET)"]
        {
            let error = check_method(method).unwrap_err();
            assert_eq!(error.kind(), "denied");
            assert!(method.len() < 3 || !error.to_string().contains(method), "{error}");
        }
    }

    #[test]
    fn other_methods_carry_a_token() {
        for method in
            ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH", "TRACES"]
        {
            assert_eq!(check_method(method), Ok(()), "{method}");
        }
    }
}
