//! Precompiled components. They are native code, so only files that nobody else could have written are loaded.

use std::fs;
use std::path::{Path, PathBuf};

use wasmtime::component::Component;
use wasmtime::error::{bail, format_err};
use wasmtime::{Engine, Result};

/// Load a precompiled component from a file that only this user or root could have written.
pub(crate) fn load(engine: &Engine, file: &Path) -> Result<Component> {
    deserialize(engine, &trusted(file)?).map_err(|error| {
        format_err!(
            "{} cannot be loaded: {error:#}; fix: precompile the component with this version, or use the .wasm file",
            file.display()
        )
    })
}

/// Map a precompiled component into memory and run it as it is: wasmtime checks its version and settings, not its code.
///
/// The owner of the file vouches for the code, so [`load`] has it [`trusted`] first: written by this user or
/// by root, in a directory that nobody else may change. Precompiled components must come from no other place.
#[expect(unsafe_code, reason = "wasmtime has no safe way to load a precompiled component")]
fn deserialize(engine: &Engine, file: &Path) -> Result<Component> {
    // SAFETY: by the above the file is what `Component::serialize` of this user or of root wrote, and stays so.
    unsafe { Component::deserialize_file(engine, file) }
}

/// The file itself, if nobody but this user and root could have written it or put it where it is: they own every
/// directory and every link on the way, and nobody else may write there.
pub(crate) fn trusted(file: &Path) -> Result<PathBuf> {
    let mut file = std::path::absolute(file)?;
    for _ in 0..MAX_LINKS {
        let mut steps: Vec<_> = file.ancestors().collect();
        steps.reverse();
        let Some(link) = first_link(&steps)? else { return Ok(file) };
        // Neither path fails: the link is the file or above it, and the root is no link.
        let rest = file.strip_prefix(link)?;
        let target = link.parent().unwrap_or(link).join(fs::read_link(link)?);
        file = if rest.as_os_str().is_empty() { target } else { target.join(rest) };
    }
    bail!("{} leads through more than {MAX_LINKS} symbolic links; fix: name the file itself", file.display())
}

/// The first link on the way from the root to a file. No step before it is a link.
fn first_link<'a>(steps: &[&'a Path]) -> Result<Option<&'a Path>> {
    for step in steps {
        unchangeable_by_others(step)?;
        if step.is_symlink() {
            return Ok(Some(step));
        }
    }
    Ok(None)
}

#[cfg(unix)]
fn unchangeable_by_others(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    let user = rustix::process::geteuid().as_raw();
    let metadata = fs::symlink_metadata(path).map_err(|error| {
        format_err!("cannot look at {}: {error}; fix: name a file that this user can read", path.display())
    })?;
    // A link's mode means nothing, and in a sticky directory nobody can replace the file of somebody else.
    let is_open = metadata.mode() & OTHERS_MAY_WRITE != 0
        && !metadata.is_symlink()
        && !(metadata.is_dir() && metadata.mode() & STICKY != 0);
    if ![0, user].contains(&metadata.uid()) || is_open {
        bail!(
            "{} may be changed by others than this user, so no precompiled component is loaded from there; \
             fix: run `chmod go-w` on it, or use another directory",
            path.display()
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn unchangeable_by_others(path: &Path) -> Result<()> {
    bail!("the owner of {} is unknown on this system; fix: use the .wasm file", path.display())
}

#[cfg(unix)]
const OTHERS_MAY_WRITE: u32 = 0o022;
#[cfg(unix)]
const STICKY: u32 = 0o1000;
/// As Linux has it.
const MAX_LINKS: usize = 40;

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_may_replace_on_the_way_is_not_trusted() {
        let home = tempfile::tempdir().unwrap();
        let (open, inner) = (home.path().join("open"), home.path().join("open/inner"));
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("c.cwasm"), b"").unwrap();
        set_mode(&inner.join("c.cwasm"), 0o600);
        set_mode(&inner, 0o700);
        set_mode(&open, 0o755);
        let through_link = home.path().join("link/c.cwasm");
        symlink("open/../open/inner", home.path().join("link")).unwrap();
        let file = inner.join("c.cwasm");
        assert_eq!(fs::canonicalize(trusted(&through_link).unwrap()).unwrap(), file);
        assert_eq!(trusted(&file).unwrap(), file);

        set_mode(&open, 0o777);
        for path in [&file, &through_link] {
            let error = trusted(path).unwrap_err().to_string();
            assert!(error.contains("open may be changed by others"), "{error}");
        }
        set_mode(&open, 0o1777);
        assert!(trusted(&file).is_ok(), "as /tmp is");
    }

    #[test]
    fn links_that_lead_through_an_open_directory_or_in_a_circle_are_not_trusted() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::create_dir(path("open")).unwrap();
        fs::write(path("c.cwasm"), b"").unwrap();
        set_mode(&path("c.cwasm"), 0o600);
        symlink(path("c.cwasm"), path("open/second")).unwrap();
        symlink("open/second", path("first")).unwrap();
        set_mode(&path("open"), 0o755);
        assert!(trusted(&path("first")).is_ok());
        set_mode(&path("open"), 0o777);
        assert!(trusted(&path("first")).is_err());
        symlink("circle", path("circle")).unwrap();
        assert!(trusted(&path("circle")).unwrap_err().to_string().contains("symbolic links"));
    }
}
