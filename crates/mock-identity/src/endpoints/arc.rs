//! The agent of Azure Arc: it issues a token to a caller that can read the key file of its challenge.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Call, Endpoint, Environment, IdKind, Identity, Issued, Platform, Reply, Selector, Setup, Spec};
use crate::{arc_keys::ArcKeys, sections::ArcConfig};

pub(crate) const SPEC: Spec = Spec {
    paths: &["arc/metadata/identity/oauth2/token"],
    answer,
    failure: |_, _, status| failure(status),
    setups: &[Setup { title: "Azure Arc", needs: "[arc] in the configuration", environment }],
    ..Spec::of(Endpoint::Arc)
};

fn environment(platform: &Platform) -> Environment {
    if platform.config.arc.is_none() {
        return Vec::new();
    }
    let url = &platform.addresses.plain;
    vec![
        ("IDENTITY_ENDPOINT", format!("{url}/arc/metadata/identity/oauth2/token")),
        ("IMDS_ENDPOINT", url.clone()),
    ]
}

fn answer(platform: &Platform, call: &Call) -> Reply {
    match (&platform.config.arc, &platform.arc_keys) {
        (Some(config), Some(keys)) => {
            Agent { platform, config, keys }.token(call).unwrap_or_else(|refusal| refusal)
        }
        _ => Reply::text(StatusCode::NOT_FOUND, "no Arc agent here: configure one with [arc]"),
    }
}

fn failure(status: StatusCode) -> Reply {
    match status {
        StatusCode::NOT_FOUND => not_found(),
        StatusCode::UNAUTHORIZED => {
            refusal(status, "unauthorized_client", "Missing Basic Authorization header")
        }
        StatusCode::BAD_REQUEST => refusal(status, "invalid_request", "The request is invalid"),
        _ => refusal(status, "server_error", "Failed to acquire the token"),
    }
}

struct Agent<'a> {
    platform: &'a Platform,
    config: &'a ArcConfig,
    keys: &'a ArcKeys,
}

impl Agent<'_> {
    fn token(&self, call: &Call) -> Result<Reply, Reply> {
        check_guards(call)?;
        check_version(call)?;
        self.check_key(call)?;
        let resource = call
            .required("resource")
            .ok_or_else(|| bad_request("Required query variable 'resource' is missing"))?;
        let asked = self.asked(call)?;
        let identity = self.choose(asked.map(|(_, selector)| selector))?;
        self.platform.check_audience(resource).map_err(|why| bad_request(&why))?;
        let lifetime = self.config.token_lifetime_seconds;
        let issued = self.platform.issue_to(identity, call, resource, lifetime)?;
        Ok(success(&issued, asked).issued_to(&issued.subject))
    }

    fn check_key(&self, call: &Call) -> Result<(), Reply> {
        let Some(authorization) = call.header("authorization") else {
            return Err(self.challenge("Missing Basic Authorization header"));
        };
        match authorization.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("basic") && self.keys.redeem(key) => Ok(()),
            _ => Err(self.challenge("Invalid Basic Authorization header")),
        }
    }

    fn challenge(&self, description: &str) -> Reply {
        match self.keys.challenge() {
            Ok(file) => refusal(StatusCode::UNAUTHORIZED, "unauthorized_client", description)
                .with("www-authenticate", &format!("Basic realm={}", file.display())),
            Err(error) => refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                &format!("cannot write a key to {}: {error}", self.config.key_directory.display()),
            ),
        }
    }

    /// The selected identity, and the name of the parameter; an old agent ignores both
    fn asked<'c>(&self, call: &'c Call) -> Result<Option<(&'static str, Selector<'c>)>, Reply> {
        if !self.config.user_assigned {
            return Ok(None);
        }
        let selector = call
            .selector(&SELECTORS)
            .map_err(|_| bad_request("Only one of client_id, object_id and msi_res_id can be specified"))?;
        Ok(selector.and_then(|selector| {
            let (name, _) = SELECTORS.into_iter().find(|(_, kind)| *kind == selector.kind)?;
            Some((name, selector))
        }))
    }

    fn choose(&self, asked: Option<Selector<'_>>) -> Result<&Identity, Reply> {
        match asked {
            None => self.platform.config.system_assigned(),
            Some(selector) => self.platform.config.selected(selector),
        }
        .ok_or_else(not_found)
    }
}

fn check_guards(call: &Call) -> Result<(), Reply> {
    if call.method != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Only GET is allowed"));
    }
    if !call.has_metadata() {
        return Err(bad_request("Required metadata header not specified"));
    }
    Ok(())
}

fn check_version(call: &Call) -> Result<(), Reply> {
    match call.parameter("api-version") {
        None | Some("") => Err(bad_request("Required query variable 'api-version' is missing")),
        Some(version) if API_VERSIONS.contains(&version) => Ok(()),
        Some(_) => Err(bad_request("The requested api-version is not supported")),
    }
}

/// With the id of the request, which shows that the agent has understood it
fn success(issued: &Issued, asked: Option<(&'static str, Selector<'_>)>) -> Reply {
    let mut body = json!({
        "access_token": issued.token,
        "expires_in": issued.expires_in().to_string(),
        "expires_on": issued.claims.exp.to_string(),
        "ext_expires_in": issued.expires_in(),
        "resource": issued.claims.aud,
        "token_type": "Bearer",
    });
    if let (Some((name, selector)), Some(body)) = (asked, body.as_object_mut()) {
        body.insert(name.to_owned(), Value::from(selector.id));
    }
    Reply::json(StatusCode::OK, &body)
}

fn not_found() -> Reply {
    refusal(StatusCode::NOT_FOUND, "identity_not_found", "The identity is not assigned to this machine")
}

fn bad_request(description: &str) -> Reply {
    refusal(StatusCode::BAD_REQUEST, "invalid_request", description)
}

fn refusal(status: StatusCode, error: &str, description: &str) -> Reply {
    let codes = [status.as_u16()];
    Reply::json(status, json!({ "error": error, "error_description": description, "error_codes": codes }))
}

/// `mi_res_id` is not among them: the agent ignores it.
const SELECTORS: [(&str, IdKind); 3] =
    [("client_id", IdKind::Client), ("object_id", IdKind::Object), ("msi_res_id", IdKind::Resource)];

const API_VERSIONS: [&str; 4] = ["2019-08-15", "2019-11-01", "2020-06-01", "2021-02-01"];
