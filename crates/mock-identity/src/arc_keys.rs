//! The key files of the Arc agent: a caller that can read one is a local administrator.

use std::{
    collections::VecDeque,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use parking_lot::Mutex;
use uuid::Uuid;

/// The directory of the key files cannot be written; Azure's SDKs read them from one that belongs to root
#[derive(Debug, thiserror::Error)]
#[error("cannot write to arc.key-directory {}: {why}", directory.display())]
pub struct KeyDirectoryError {
    directory: PathBuf,
    why: io::Error,
}

/// The unused keys; their files are removed when this is dropped
pub(crate) struct ArcKeys {
    directory: PathBuf,
    outstanding: Mutex<VecDeque<Key>>,
}

struct Key {
    secret: String,
    file: PathBuf,
}

impl ArcKeys {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)
            .and_then(|()| tempfile::tempfile_in(directory).map(drop))
            .map_err(|why| KeyDirectoryError { directory: directory.to_owned(), why })?;
        Ok(Self { directory: directory.to_owned(), outstanding: Mutex::default() })
    }

    /// Write a new key, and return its file
    pub(crate) fn challenge(&self) -> io::Result<PathBuf> {
        let key = Key {
            secret: Uuid::new_v4().simple().to_string(),
            file: self.directory.join(format!("{}.key", Uuid::new_v4())),
        };
        let file = key.file.clone();
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        opened.write_all(key.secret.as_bytes())?;
        let mut outstanding = self.outstanding.lock();
        outstanding.push_back(key);
        if outstanding.len() > OUTSTANDING {
            outstanding.pop_front();
        }
        Ok(file)
    }

    /// Whether this is a key; each is accepted once
    pub(crate) fn redeem(&self, secret: &str) -> bool {
        let mut outstanding = self.outstanding.lock();
        let found = outstanding.iter().position(|key| key.secret == secret);
        found.and_then(|at| outstanding.remove(at)).is_some()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // Somebody else may have removed it, and then nothing is left to do.
        let _ = fs::remove_file(&self.file);
    }
}

/// The most unused keys: the oldest is dropped.
const OUTSTANDING: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_once_and_its_file_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let keys = ArcKeys::new(&directory.path().join("a/b")).unwrap();
        let (one, two) = (keys.challenge().unwrap(), keys.challenge().unwrap());
        let secret = fs::read_to_string(&one).unwrap();
        assert_ne!(secret, fs::read_to_string(&two).unwrap());
        assert!(keys.redeem(&secret) && !keys.redeem(&secret) && !keys.redeem(""));
        assert!(!one.exists() && two.exists());
        drop(keys);
        assert!(!two.exists());
    }

    #[test]
    fn the_oldest_key_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let keys = ArcKeys::new(directory.path()).unwrap();
        let oldest = keys.challenge().unwrap();
        let secret = fs::read_to_string(&oldest).unwrap();
        for _ in 0..OUTSTANDING {
            keys.challenge().unwrap();
        }
        assert!(!oldest.exists() && !keys.redeem(&secret));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), OUTSTANDING);
    }
}
