//! Uploads, lists and downloads blobs with a token that the broker provides. There is no secret in its configuration.
//!
//! `STORAGE_CONTAINER_URL` is the container, `https://account.blob.core.windows.net/container`. The arguments say what to
//! do: `create` it, `upload NAME` with what is read from stdin, `list`, or `download NAME` to stdout.

mod container;

use std::fmt::Display;
use std::io::{Read as _, Write as _, stdin, stdout};

use container::Container;

struct Storage;

impl bindings::Guest for Storage {
    async fn run() -> Result<(), ()> {
        run().await.map_err(|Failed(why)| eprintln!("storage: {why}"))
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place of this component that reads the environment")]
async fn run() -> Result<(), Failed> {
    let container = Container::parse(&std::env::var("STORAGE_CONTAINER_URL").unwrap_or_default())?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["create"] => container.create().await?,
        ["upload", name] => container.upload(name, content()?).await?,
        ["list"] => {
            for name in container.list().await? {
                writeln!(stdout(), "{name}")?;
            }
        }
        ["download", name] => stdout().write_all(&container.download(name).await?)?,
        _ => return Err("create, upload NAME, list, or download NAME?".into()),
    }
    Ok(())
}

fn content() -> Result<Vec<u8>, Failed> {
    let mut content = Vec::new();
    stdin().take(MAX_UPLOAD + 1).read_to_end(&mut content)?;
    match content.len() as u64 <= MAX_UPLOAD {
        true => Ok(content),
        false => {
            Err(format!("more than {MAX_UPLOAD} bytes; Storage takes them in blocks, and this does not")
                .into())
        }
    }
}

/// Why it is not done, in one line
struct Failed(String);

impl<E: Display> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// In bytes.
const MAX_UPLOAD: u64 = 4 * 1024 * 1024;

mod bindings {
    #![allow(unsafe_code, reason = "generated")]

    pub(super) use wasip3::exports::cli::run::Guest;

    use super::Storage;

    wasip3::cli::command::export!(Storage);
}
