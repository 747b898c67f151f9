//! The parameters of a request for a token.

use percent_encoding::percent_decode_str;
use token_broker::{Error, Identity};

use crate::reply::Refusal;

/// The parameters in the query of a request. Others are passed over.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    pub(crate) version: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) identity: Identity,
}

impl Parameters {
    /// Each parameter once, and one identity at most: a parameter that is passed over would give the token of another.
    /// A refusal does not repeat the query.
    pub(crate) fn read(query: &str) -> Result<Self, Refusal> {
        if query.len() > MAX_QUERY {
            return Err(Refusal::bad(
                format_args!("the query is longer than {MAX_QUERY} bytes"),
                "send api-version, resource and one identity, and nothing else",
            ));
        }
        let mut read = Self::default();
        for field in query.split('&') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let value = || {
                decoded(value).ok_or_else(|| {
                    Refusal::bad("a parameter is not percent-encoded UTF-8", "percent-encode its value")
                })
            };
            match decoded(name).as_deref() {
                Some("api-version") => once(&mut read.version, value()?)?,
                Some("resource") => once(&mut read.resource, value()?)?,
                Some("client_id") => read.of(Identity::client_id(&value()?))?,
                // The second is an alias that App Service knows.
                Some("object_id" | "principal_id") => read.of(Identity::object_id(&value()?))?,
                // IMDS's name, App Service's, and one that the asynchronous half of Azure's SDK for Python sends to both,
                // which pass over it.
                Some("msi_res_id" | "mi_res_id" | "resource_id") => {
                    read.of(Identity::resource_id(&value()?))?
                }
                _ => {}
            }
        }
        Ok(read)
    }

    fn of(&mut self, identity: Result<Identity, Error>) -> Result<(), Refusal> {
        let identity = identity.map_err(|error| Refusal::of(&error))?;
        if self.identity != Identity::Default {
            return Err(Refusal::bad(
                "the query names more than one identity",
                "send one of client_id, object_id and msi_res_id, once",
            ));
        }
        self.identity = identity;
        Ok(())
    }
}

fn once(held: &mut Option<String>, value: String) -> Result<(), Refusal> {
    if held.is_some() {
        return Err(Refusal::bad("a parameter occurs twice", "send each parameter once"));
    }
    *held = Some(value);
    Ok(())
}

/// A name or a value as a query has it; none if it is cut off or no text.
fn decoded(text: &str) -> Option<String> {
    let is_code = |behind: &str| matches!(behind.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(is_code) {
        return None;
    }
    let spaced = text.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

/// Twice the longest scope and the longest id, with each character encoded.
pub(crate) const MAX_QUERY: usize = 20 * 1024;
