//! Files of components.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The bytes of a component.
///
/// # Errors
/// The file is not a component: the reason and the fix.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, String> {
    let name = file.display();
    let bytes = bytes(file).map_err(|error| {
        format!("cannot read {name}: {error}; fix: name a component that this user can read")
    })?;
    match bytes.first_chunk() {
        Some(COMPONENT) => Ok(bytes),
        Some(CORE_MODULE) => Err(format!(
            "{name} is a core module, not a component; fix: build it for the target wasm32-wasip2, or make a component of \
             it with `wasm-tools component new`"
        )),
        _ => Err(format!("{name} is not a WebAssembly component; fix: name a .wasm file with a component")),
    }
}

/// The whole file, or the beginning of one that is not a component: a device has no end.
fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let (mut file, mut bytes) = (File::open(file)?, Vec::new());
    file.by_ref().take(COMPONENT.len() as u64).read_to_end(&mut bytes)?;
    if bytes == COMPONENT {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

// Magic, version, layer.
const COMPONENT: &[u8; 8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8; 8] = b"\0asm\x01\0\0\0";
