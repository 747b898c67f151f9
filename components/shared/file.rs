//! A bounded read of a file, the same on every WASI.

use std::fs::{File, symlink_metadata};
use std::io::{ErrorKind, Read as _};

use token_broker::{Links, ReadError, Secret};

/// Reads a text of at most `max_bytes`.
#[allow(clippy::disallowed_methods, reason = "this is the effect behind Host::read")]
pub(crate) fn read(path: &str, max_bytes: usize, links: Links) -> Result<Secret, ReadError> {
    // A link that appears after this check can still lead only to files that the host shows.
    if links == Links::Refuse && symlink_metadata(path).map_err(unreadable)?.is_symlink() {
        return Err(ReadError::Other("it is a symbolic link".to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    let one_more = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    file.take(one_more).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() > max_bytes { Err(ReadError::TooLarge) } else { Ok(text.into()) }
}

fn unreadable(error: std::io::Error) -> ReadError {
    match error.kind() {
        ErrorKind::NotFound => ReadError::NotFound,
        // EPERM is WASI's error for a path that leaves the directory; a file without read permission gives EACCES.
        _ if error.raw_os_error() == Some(EPERM) => ReadError::Outside,
        _ => ReadError::Other(error.to_string()),
    }
}

/// The number that wasi-libc gives it.
const EPERM: i32 = 63;
