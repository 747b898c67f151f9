//! Files of components.

use std::fs;
use std::path::Path;

/// The bytes of a component.
///
/// # Errors
/// The file is not a component: the reason and the fix.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, String> {
    let name = file.display();
    let bytes = fs::read(file).map_err(|error| {
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

// Magic, version, layer.
const COMPONENT: &[u8; 8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8; 8] = b"\0asm\x01\0\0\0";
