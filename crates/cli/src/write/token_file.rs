//! A file that is replaced as a whole.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use tempfile::NamedTempFile;
use token_broker_host::Error;

use crate::failure::Failed;

/// A file for a token, in a directory to which nobody else can write.
pub(super) struct TokenFile {
    path: PathBuf,
    mode: u32,
    /// The file that this process wrote last. Open, so that no other file gets its number.
    written: Option<File>,
}

impl TokenFile {
    /// # Errors
    /// It cannot be written: [`TokenFile::replace`] would fail.
    pub(super) fn new(path: &Path, mode: u32) -> Result<Self, Failed> {
        let file = Self { path: path.to_owned(), mode, written: None };
        file.check_directory()?;
        file.check_target()?;
        file.unfinished().map(drop)?;
        file.remove_unfinished();
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there, by whomever it was written.
    pub(super) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Write it under another name and rename it: a reader sees the old content or the new one. After an error the old
    /// one is still there, and nothing else.
    pub(super) fn replace(&mut self, content: &str) -> Result<(), Failed> {
        self.check_target()?;
        let mut unfinished = self.unfinished()?;
        let written = unfinished.write_all(content.as_bytes());
        // Else a crash of the system could leave the name with an empty file.
        let synced = written.and_then(|()| unfinished.as_file().sync_all());
        synced.map_err(|error| self.cannot_write(&error))?;
        let renamed = unfinished.persist(&self.path);
        self.written = Some(renamed.map_err(|error| self.cannot_write(&error.error))?);
        Ok(())
    }

    /// Remove the file that this process has written. Returns whether it was there.
    pub(super) fn remove(&mut self) -> io::Result<bool> {
        let Some(written) = self.written.take() else { return Ok(false) };
        let there = fs::symlink_metadata(&self.path).ok().as_ref().map(identity);
        if there != Some(identity(&written.metadata()?)) {
            return Ok(false);
        }
        fs::remove_file(&self.path).map(|()| true)
    }

    /// An empty file beside it, with its mode before it has content. Removed when dropped.
    fn unfinished(&self) -> Result<NamedTempFile, Failed> {
        let create = || {
            let file = tempfile::Builder::new().prefix(&self.prefix()).tempfile_in(self.directory())?;
            // Not at its creation: the umask would take bits away.
            file.as_file().set_permissions(Permissions::from_mode(self.mode))?;
            Ok(file)
        };
        create().map_err(|error| self.cannot_write(&error))
    }

    /// Remove what a process has left that was killed between two steps. A process that is between them now fails to
    /// rename, and tries again.
    fn remove_unfinished(&self) {
        let entries = fs::read_dir(self.directory()).into_iter().flatten().flatten();
        let is_ours = |name: &OsStr| name.to_string_lossy().starts_with(&self.prefix());
        entries
            .filter(|entry| is_ours(&entry.file_name()))
            .for_each(|entry| _ = fs::remove_file(entry.path()));
    }

    /// How the names of its unfinished files begin.
    fn prefix(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!(".token-broker.{name}.")
    }

    fn directory(&self) -> &Path {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or_else(|| Path::new("."))
    }

    /// Nobody else may replace the file, or a directory on its path. In one like `/tmp` others cannot, but can make
    /// the file before this process does.
    fn check_directory(&self) -> Result<(), Failed> {
        let path = fs::canonicalize(self.directory()).map_err(|error| self.cannot_write(&error))?;
        for (height, directory) in path.ancestors().enumerate() {
            let mode = fs::metadata(directory).map_err(|error| self.cannot_write(&error))?.mode();
            if mode & WRITE_BY_OTHERS != 0 && (height == 0 || mode & STICKY == 0) {
                return Err(self.refused(
                    format_args!("every user can write to {}, and replace the file", directory.display()),
                    "use a directory of its own, which `install -d -m 0750 DIRECTORY` makes",
                ));
            }
        }
        Ok(())
    }

    /// A rename would replace what is there, whatever it is.
    fn check_target(&self) -> Result<(), Failed> {
        let there = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            there => there.map_err(|error| self.cannot_write(&error))?,
        };
        if there.is_symlink() {
            return Err(self.refused("it is a symbolic link", "name the file that the link leads to"));
        }
        if there.is_dir() {
            return Err(self.refused("it is a directory", "name a file in it"));
        }
        if !there.is_file() {
            return Err(self.refused("it is not a regular file", "name another file"));
        }
        let user = geteuid().as_raw();
        if there.uid() != user {
            return Err(self.refused(
                format_args!("the user {} owns it, and the new file would be of {user}", there.uid()),
                "run the command as that user, or remove the file",
            ));
        }
        Ok(())
    }

    fn cannot_write(&self, error: &io::Error) -> Failed {
        let directory = self.directory().display();
        let fix = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => format!("create the directory {directory}"),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("free space in {directory}"),
            ErrorKind::InvalidFilename => "give it a shorter name".to_owned(),
            _ => format!("let this user create files in {directory}, or name a file elsewhere"),
        };
        self.refused(error, fix)
    }

    fn refused(&self, why: impl fmt::Display, fix: impl fmt::Display) -> Failed {
        Error::misconfigured(format_args!("cannot write {}: {why}", self.path.display()), fix).into()
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

const WRITE_BY_OTHERS: u32 = 0o002;
/// Only the owner of a file may rename it.
const STICKY: u32 = 0o1000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_by_another_one_with_its_mode_and_nothing_is_left_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        for mode in [0o600, 0o644, 0o440] {
            fs::write(home.path().join(".token-broker.token.Ab3dE6"), "of a process that was killed")
                .unwrap();
            let mut file = TokenFile::new(&path, mode).unwrap();
            assert!(names(home.path()).len() <= 1, "a trial left something");
            file.replace("first").unwrap();
            let mut reader = File::open(&path).unwrap();
            file.replace("second").unwrap();
            assert_eq!(io::read_to_string(&mut reader).unwrap(), "first");
            assert_eq!(fs::read_to_string(&path).unwrap(), "second");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
            assert_eq!(names(home.path()), ["token"]);
        }
    }

    #[test]
    fn only_a_file_of_this_process_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        let mut file = TokenFile::new(&path, 0o600).unwrap();
        fs::write(&path, "of another").unwrap();
        assert!(!file.remove().unwrap() && file.exists());
        file.replace("ours").unwrap();
        assert!(file.remove().unwrap() && !file.exists());
        file.replace("ours").unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "of another").unwrap();
        assert!(!file.remove().unwrap() && file.exists());
    }

    #[test]
    fn what_a_rename_would_destroy_or_others_could_replace_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let (folder, link) = (home.path().join("folder"), home.path().join("link"));
        fs::create_dir(&folder).unwrap();
        symlink("elsewhere", &link).unwrap();
        fs::write(home.path().join("file"), "").unwrap();
        let open = home.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
        let above = home.path().join("above");
        fs::create_dir_all(above.join("below")).unwrap();
        fs::set_permissions(&above, Permissions::from_mode(0o777)).unwrap();
        for (path, why, fix) in [
            (folder.clone(), "it is a directory", "name a file in it"),
            (link.clone(), "a symbolic link", "the link leads to"),
            (home.path().join("none/token"), "No such file", "create the directory"),
            (home.path().join("file/token"), "Not a directory", "create the directory"),
            (open.join("token"), "every user can write", "install -d"),
            (above.join("below/token"), "every user can write", "install -d"),
            (folder.join("x".repeat(300)), "too long", "a shorter name"),
        ] {
            let error = TokenFile::new(&path, 0o600).err().unwrap().to_string();
            let (what, advice) = error.split_once("; fix: ").unwrap();
            assert!(
                what.contains(path.to_str().unwrap()) && what.contains(why) && advice.contains(fix),
                "{error}"
            );
        }
        assert_eq!(names(&folder), [""; 0]);
        // What has come there meanwhile is not replaced, either.
        let mut file = TokenFile::new(&folder.join("token"), 0o600).unwrap();
        symlink("elsewhere", folder.join("token")).unwrap();
        assert!(file.replace("new").is_err());
        assert_eq!(names(&folder), ["token"]);
    }
}
