//! The tokens that Service Fabric keeps: it gives one again until it expires, or until a caller names it by its digest.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

use crate::{issuer::Issued, tls};

/// An audience, and the capabilities of the client
pub(crate) type Key = (String, Vec<String>);

#[derive(Default)]
pub(crate) struct TokenCache(Mutex<BTreeMap<Key, Issued>>);

impl TokenCache {
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// A token that has not expired, and whose SHA-256 digest is not `refused`
    pub(crate) fn get(&self, key: &Key, refused: Option<&str>) -> Option<Issued> {
        let tokens = self.0.lock();
        let cached = tokens.get(key)?;
        let refused = refused.is_some_and(|digest| digest == sha256(&cached.token));
        (!refused && cached.expires_in() > 0).then(|| cached.clone())
    }

    pub(crate) fn insert(&self, key: Key, issued: &Issued) {
        let mut tokens = self.0.lock();
        if tokens.len() >= MOST {
            tokens.clear();
        }
        tokens.insert(key, issued.clone());
    }
}

fn sha256(token: &str) -> String {
    tls::upper_hex(digest(&SHA256, token.as_bytes()).as_ref()).to_lowercase()
}

const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_is_the_one_that_clients_send() {
        let digest = "cc0af97287543b65da2c7e1476426021826cab166f1e063ed012b855ff819656";
        assert_eq!(super::sha256("test_token"), digest);
    }
}
