//! URLs that variables give.

use http::Uri;

use crate::model::Error;
use crate::wire::HostPort;

/// What holds for every URL that a variable gives; `form` says what the variable accepts.
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

/// The same, for a URL that may have a query.
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
    // Of `[::1].evil.example` the host is to some readers the part in brackets.
    if let Err(why) = HostPort::parse(authority.as_str(), 443) {
        return refuse(why);
    }
    if text.contains('#') {
        return refuse("has a fragment");
    }
    Ok(uri)
}

/// The refusal of a variable.
pub(crate) fn refused(variable: &str, why: &str, form: &str) -> Error {
    Error::misconfigured(format_args!("{variable} {why}"), format_args!("set it to {form}"))
}
