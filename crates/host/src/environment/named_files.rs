//! The files that variables name, as the guest asks for them.

use std::fs::File as StdFile;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files that variables name, as the guest asks for them: by a lent directory and a path in it.
///
/// WASI follows no link that leaves a lent directory, and certbot's certificates are such links. A guest may read a
/// file that a variable names wherever it is, so the host follows these links, at every opening: a renewal changes the
/// link.
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

    pub(crate) fn find(&self, directory: &Arc<StdFile>, path: &str) -> Option<&Path> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_every_directory_that_shows_it_and_by_none_that_is_excepted() {
        let lent =
            ["/a", "/a/b", ".", "keys"].map(|name| (Arc::new(StdFile::open("/").unwrap()), name.to_owned()));
        let named = NamedFiles::new(["/a/b/token", "./token", "keys/1.key"].into_iter(), &lent, &["keys"]);
        let found = |nth: usize, path: &str| named.find(&lent[nth].0, path).and_then(Path::to_str);
        assert_eq!(found(0, "b/token"), Some("/a/b/token"));
        assert_eq!(found(1, "token"), Some("/a/b/token"));
        assert_eq!(found(2, "token"), Some("./token"));
        assert_eq!((found(0, "token"), found(3, "1.key"), found(2, "keys/1.key")), (None, None, None));
    }
}
