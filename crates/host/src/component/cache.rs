//! The precompiled forms of components, kept in a directory of this user.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use wasmtime::component::Component;
use wasmtime::error::format_err;
use wasmtime::{Engine, Result};

use crate::component::precompiled::{self, trusted};

/// SHA-256 of a component.
pub(crate) type Digest = [u8; 32];

/// A directory of precompiled components, one file for each component and engine. Only this user may write to it.
///
/// It keeps the four newest files: writing one removes those of older versions.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
    failure: Arc<OnceLock<String>>,
}

impl Cache {
    /// A cache in a directory. The first component creates the directory.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), failure: Arc::default() }
    }

    /// The cache of this user: `token-broker` in `XDG_CACHE_HOME`, else in `~/.cache`. None if neither is an absolute
    /// path.
    pub fn of_user() -> Option<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(Self::in_directory(base.join("token-broker")))
    }

    /// The reason why a compiled component could not be kept, and the fix: each start compiles it again. None if it was
    /// kept, or came from the cache.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// A component from its precompiled form; compiled and kept if that is not there yet.
    pub(crate) fn component(&self, engine: &Engine, bytes: &[u8], digest: &Digest) -> Result<Component> {
        let file = self.file(engine, digest);
        if let Ok(component) = precompiled::load(engine, &file) {
            return Ok(component);
        }
        let component = Component::new(engine, bytes)?;
        // A cache that cannot be written costs time at the next start and nothing else.
        if let Err(error) = self.keep(&file, &component) {
            _ = self.failure.set(format!("{error:#}"));
        }
        Ok(component)
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
        let cannot_write = |error: io::Error| {
            format_err!(
                "cannot write to {}: {error}; fix: let this user write there, or set XDG_CACHE_HOME to another directory",
                self.directory.display()
            )
        };
        make_private_directory(&self.directory).map_err(cannot_write)?;
        trusted(&self.directory)?;
        // Readable by this user alone, and gone again if anything fails.
        let mut unfinished = tempfile::NamedTempFile::new_in(&self.directory).map_err(cannot_write)?;
        unfinished.write_all(&component.serialize()?).map_err(cannot_write)?;
        unfinished.persist(file).map_err(|error| cannot_write(error.error))?;
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

fn make_private_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

/// A few versions side by side, and programs with engines of their own.
const MAX_FILES: usize = 4;

#[cfg(all(test, unix))]
mod tests {
    use std::borrow::Cow;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::component::{Source, engine_config, load};

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
        assert_eq!(cache.failure(), None);
        set_mode(home.path(), 0o777);
        assert!(load(&engine, &Source::File(file), None).is_err());
        load(&engine, &EMPTY, Some(&cache)).unwrap();
        assert!(cache.failure().unwrap().contains("may be changed by others"));
    }
}
