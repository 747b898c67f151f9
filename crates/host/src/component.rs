//! Where the broker component comes from, and its precompiled form.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::error::{Context as _, bail};
use wasmtime::{Config, Engine, Result};

/// The component, before it is compiled.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Bytes(Cow<'static, [u8]>),
    BuiltIn(&'static [u8], Digest),
    File(PathBuf),
}

/// SHA-256.
pub(crate) type Digest = [u8; 32];

/// The engine configuration that the broker needs. An engine that is given to the builder starts from this.
pub fn engine_config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.wasm_component_model_async(true);
    config
}

/// Load a component, from its precompiled form if a cache has it.
pub(crate) fn load(engine: &Engine, source: &Source, cache: Option<&Cache>) -> Result<Component> {
    let (bytes, digest) = match source {
        Source::Bytes(bytes) => (Cow::Borrowed(bytes.as_ref()), None),
        Source::BuiltIn(bytes, digest) => (Cow::Borrowed(*bytes), Some(*digest)),
        Source::File(path) if path.extension().is_some_and(|extension| extension == "cwasm") => {
            return deserialize(engine, &trusted(path)?);
        }
        Source::File(path) => {
            (Cow::Owned(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?), None)
        }
    };
    let Some(cache) = cache else { return Component::new(engine, bytes) };
    let digest = digest.unwrap_or_else(|| Sha256::digest(&bytes).into());
    load_cached(engine, &bytes, &digest, cache)
}

fn load_cached(engine: &Engine, bytes: &[u8], digest: &Digest, cache: &Cache) -> Result<Component> {
    let file = cache.file(engine, digest);
    if let Ok(file) = trusted(&file)
        && let Ok(component) = deserialize(engine, &file)
    {
        return Ok(component);
    }
    let component = Component::new(engine, bytes)?;
    // A cache that cannot be written costs time at the next start and nothing else.
    _ = cache.keep(&file, &component);
    Ok(component)
}

/// A directory of precompiled components, one file for each component and engine. Only this user may write to it.
///
/// The four files that were written last are kept: those of other versions go when this one's is written.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// A cache in a directory, which is made if it does not exist.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The cache of this user: `token-broker` in `XDG_CACHE_HOME`, else in `~/.cache`. None if there is neither.
    pub fn of_user() -> Option<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(Self::in_directory(base.join("token-broker")))
    }

    /// The engine's hash covers the version of wasmtime, its settings and the processor.
    fn file(&self, engine: &Engine, digest: &Digest) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let component: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{component}-{:016x}.cwasm", hasher.finish()))
    }

    /// Write under another name and rename: a reader sees the whole file or none.
    fn keep(&self, file: &Path, component: &Component) -> Result<()> {
        make_private_directory(&self.directory)?;
        trusted(&self.directory)?;
        // Readable by this user alone, and gone again if anything fails.
        let mut unfinished = tempfile::NamedTempFile::new_in(&self.directory)?;
        std::io::Write::write_all(&mut unfinished, &component.serialize()?)?;
        unfinished.persist(file)?;
        self.remove_old()
    }

    /// A process that has mapped such a file keeps it, and one that is about to compiles its own.
    fn remove_old(&self) -> Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Another process may be doing the same.
            if let (true, Ok(metadata)) = (is_ours(&entry.file_name()), entry.metadata()) {
                files.push((metadata.modified()?, entry.path()));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(MAX_FILES);
        files.iter().take(surplus).for_each(|(_, file)| _ = fs::remove_file(file));
        Ok(())
    }
}

/// As [`Cache::file`] names them: nothing else in the directory is touched.
fn is_ours(name: &OsStr) -> bool {
    let parts =
        name.to_str().and_then(|name| name.strip_suffix(".cwasm")).and_then(|name| name.split_once('-'));
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    parts.is_some_and(|(component, engine)| is_hex(component, 32) && is_hex(engine, 16))
}

/// Map a precompiled component into memory and run it as it is: wasmtime checks its version and settings, not its code.
///
/// Whoever could write the file vouches for the code, so callers have it [`trusted`] first: written by this user or
/// by root, in a directory that nobody else may change. Precompiled components must come from no other place.
#[expect(unsafe_code, reason = "wasmtime has no safe way to load a precompiled component")]
fn deserialize(engine: &Engine, file: &Path) -> Result<Component> {
    // SAFETY: by the above the file is what `Component::serialize` of this user or of root wrote, and stays so.
    unsafe { Component::deserialize_file(engine, file) }
}

/// The file itself, if nobody but this user and root could have written it or put it where it is: they own every
/// directory and every link on the way, and nobody else may write there.
fn trusted(file: &Path) -> Result<PathBuf> {
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
    bail!("{} goes through more than {MAX_LINKS} symbolic links", file.display())
}

/// The first link on the way from the root to a file; everything before it is what its name says.
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
    let metadata =
        fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    // A link's mode means nothing, and in a sticky directory nobody can replace what is somebody else's.
    let is_open = metadata.mode() & OTHERS_MAY_WRITE != 0
        && !metadata.is_symlink()
        && !(metadata.is_dir() && metadata.mode() & STICKY != 0);
    if ![0, user].contains(&metadata.uid()) || is_open {
        bail!(
            "{} may be changed by others than this user, so no precompiled component is loaded from there; \
             run `chmod go-w` on it, or use the .wasm file",
            path.display()
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn unchangeable_by_others(path: &Path) -> Result<()> {
    bail!("who may change {} cannot be told on this system; use the .wasm file", path.display())
}

fn make_private_directory(directory: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

#[cfg(unix)]
const OTHERS_MAY_WRITE: u32 = 0o022;
#[cfg(unix)]
const STICKY: u32 = 0o1000;
/// A few versions side by side, and programs with engines of their own.
const MAX_FILES: usize = 4;
/// As Linux has it.
const MAX_LINKS: usize = 40;

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// The shortest component there is: magic, version, layer.
    const EMPTY: Source = Source::Bytes(Cow::Borrowed(b"\0asm\x0d\0\x01\0"));

    fn files(directory: &Path) -> Vec<PathBuf> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_component_is_kept_precompiled_for_this_user_alone_and_loaded_from_there() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("a/token-broker");
        let (engine, cache) = (Engine::new(&engine_config()).unwrap(), Cache::in_directory(&directory));
        load(&engine, &EMPTY, Some(&cache)).unwrap();
        let [file] = files(&directory).try_into().unwrap();
        assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        load(&engine, &EMPTY, Some(&cache)).unwrap();
        load(&engine, &Source::File(file.clone()), None).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written);
    }

    #[test]
    fn files_of_other_versions_are_removed_but_for_the_newest_and_nothing_that_is_not_ours() {
        let home = tempfile::tempdir().unwrap();
        let (engine, cache) = (Engine::new(&engine_config()).unwrap(), Cache::in_directory(home.path()));
        let old = |nth: u64| home.path().join(format!("{:032x}-{nth:016x}.cwasm", 7));
        for nth in 0..6 {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 - nth);
            fs::File::create(old(nth)).unwrap().set_modified(time).unwrap();
        }
        let others = ["app.cwasm", "7-7.cwasm", &format!("{:032X}-{:016x}.cwasm", 0xABC, 1), "notes"];
        others.iter().for_each(|name| fs::write(home.path().join(name), "").unwrap());
        load(&engine, &EMPTY, Some(&cache)).unwrap();
        let left: Vec<bool> = (0..6).map(|nth| old(nth).exists()).collect();
        assert_eq!(left, [true, true, true, false, false, false]);
        assert!(others.iter().all(|name| home.path().join(name).exists()));
        assert_eq!(files(home.path()).len(), MAX_FILES + others.len());
    }

    #[test]
    fn a_damaged_file_is_compiled_anew() {
        let home = tempfile::tempdir().unwrap();
        let (engine, cache) = (Engine::new(&engine_config()).unwrap(), Cache::in_directory(home.path()));
        load(&engine, &EMPTY, Some(&cache)).unwrap();
        let [file] = files(home.path()).try_into().unwrap();
        fs::write(&file, b"not a component").unwrap();
        load(&engine, &EMPTY, Some(&cache)).unwrap();
        assert_ne!(fs::read(&file).unwrap(), b"not a component");
    }

    #[test]
    fn what_others_may_write_is_not_trusted() {
        let home = tempfile::tempdir().unwrap();
        let (engine, cache) = (Engine::new(&engine_config()).unwrap(), Cache::in_directory(home.path()));
        load(&engine, &EMPTY, Some(&cache)).unwrap();
        let [file] = files(home.path()).try_into().unwrap();
        set_mode(&file, 0o620);
        let error = load(&engine, &Source::File(file.clone()), None).unwrap_err().to_string();
        assert!(error.contains("may be changed by others"), "{error}");
        set_mode(&file, 0o600);
        set_mode(home.path(), 0o777);
        assert!(load(&engine, &Source::File(file), None).is_err());
        load(&engine, &EMPTY, Some(&cache)).unwrap();
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
