//! The files that variables name, opened for the guest where their links lead at that moment.

use std::fs::{File as StdFile, metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::Result;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::filesystem::{Descriptor, File, OpenMode, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, HostDescriptor as _, OpenFlags, PathFlags,
};

use crate::guest::State;

/// The files that variables name, as the guest asks for them: by a lent directory and a path in it.
///
/// WASI follows no link that leaves a lent directory, and certbot's certificates are such links. What a variable names
/// the guest may read wherever it is, so the host follows those links, at every opening: a renewal changes the link.
#[derive(Debug, Default)]
pub(crate) struct NamedFiles(Vec<NamedFile>);

/// A directory that the guest has, and the guest's name for it.
pub(crate) type LentDirectory = (Arc<StdFile>, String);

#[derive(Debug)]
struct NamedFile {
    directory: Arc<StdFile>,
    path: PathBuf,
    file: PathBuf,
}

impl NamedFiles {
    /// Files in one of `excepted` are opened by WASI's rules.
    pub(crate) fn new<'a>(
        files: impl Iterator<Item = &'a str>,
        lent: &[LentDirectory],
        excepted: &[&str],
    ) -> Self {
        let files = files.map(Path::new).filter(|file| !excepted.iter().any(|name| file.starts_with(name)));
        Self(
            files
                .flat_map(|file| lent.iter().filter_map(|lent| NamedFile::in_directory(file, lent)))
                .collect(),
        )
    }

    fn find(&self, directory: &Arc<StdFile>, path: &str) -> Option<&Path> {
        let is_it =
            |file: &&NamedFile| Arc::ptr_eq(&file.directory, directory) && file.path == Path::new(path);
        self.0.iter().find(is_it).map(|named| named.file.as_path())
    }
}

impl NamedFile {
    fn in_directory(file: &Path, (directory, name): &LentDirectory) -> Option<Self> {
        let path = if name == "." && file.is_relative() { file } else { file.strip_prefix(name).ok()? };
        let path = path.strip_prefix(".").unwrap_or(path).to_owned();
        Some(Self { directory: Arc::clone(directory), path, file: file.to_owned() })
    }
}

/// Put [`open_at`] in the place of WASI's, which the linker has already.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    types.func_wrap_async(
        "[method]descriptor.open-at",
        |mut store: StoreContextMut<'_, State>, (directory, follow, path, opening, flags): Opening| {
            Box::new(async move {
                Ok((open_at(store.data_mut(), directory, follow, path, opening, flags).await?,))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

type Opening = (Resource<Descriptor>, PathFlags, String, OpenFlags, DescriptorFlags);

/// Open what a variable names by the host's rules, for reading; everything else by WASI's.
pub(crate) async fn open_at(
    state: &mut State,
    directory: Resource<Descriptor>,
    follow: PathFlags,
    path: String,
    opening: OpenFlags,
    flags: DescriptorFlags,
) -> Result<Result<Resource<Descriptor>, ErrorCode>> {
    let reads_only = opening.is_empty() && flags == DescriptorFlags::READ;
    if reads_only
        && follow.contains(PathFlags::SYMLINK_FOLLOW)
        && let Descriptor::Dir(lent) = state.filesystem().table.get(&directory)?
        && let Some(file) = state.files.find(&lent.dir, &path).map(Path::to_owned)
        && !metadata(&file).is_ok_and(|there| there.is_dir())
    {
        let opened = tokio::task::spawn_blocking(move || StdFile::open(file)).await.map_err(io::Error::other);
        return match opened.flatten() {
            Ok(file) => {
                let file = File::new(file, FsPerms::ReadOnly, OpenMode::READ, false);
                Ok(Ok(state.filesystem().table.push(Descriptor::File(file))?))
            }
            Err(error) => Ok(Err(error.into())),
        };
    }
    match state.filesystem().open_at(directory, follow, path, opening, flags).await {
        Ok(opened) => Ok(Ok(opened)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

/// As wasmtime-wasi names it; a test with a guest fails where it does not.
const INTERFACE: &str = "wasi:filesystem/types@0.2.12";
