//! URLs of variables.

use http::Uri;

use crate::model::Error;
use crate::wire::HostPort;

/// Parses the URL of a variable, without a query. `form` is the accepted form, for the error.
///
/// # Errors
/// [`Error::Misconfigured`] that names the variable and the accepted form.
pub(crate) fn checked(variable: &str, text: &str, form: &str) -> Result<Uri, Error> {
    let uri = absolute(variable, text, form)?;
    match uri.query() {
        None => Ok(uri),
        Some(_) => Err(refused(variable, "has a query", form)),
    }
}

/// As [`checked`], for a URL that may have a query.
///
/// # Errors
/// As [`checked`].
pub(crate) fn absolute(variable: &str, text: &str, form: &str) -> Result<Uri, Error> {
    let refuse = |why: &str| Err(refused(variable, why, form));
    let Ok(uri) = text.parse::<Uri>() else { return refuse("is not a URL") };
    let Some(authority) = uri.authority() else { return refuse("is not an absolute URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refuse("is neither http nor https");
    }
    // Some parsers read the host of `[::1].evil.example` as the part in brackets.
    if let Err(why) = HostPort::parse(authority.as_str(), 443) {
        return refuse(why);
    }
    if text.contains('#') {
        return refuse("has a fragment");
    }
    Ok(uri)
}

/// The error for the value of a variable.
pub(crate) fn refused(variable: &str, why: &str, form: &str) -> Error {
    Error::misconfigured(format_args!("{variable} {why}"), format_args!("set it to {form}"))
}
