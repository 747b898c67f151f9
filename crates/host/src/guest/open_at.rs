//! WASI's `open-at`, which follows the links of files that variables name.

use std::fs::File as StdFile;
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

use crate::environment::certificate::{CertificateFile, Fault};
use crate::guest::state::State;
use crate::log::Log;

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
    let reads_only = opening == OpenFlags::empty() && flags == DescriptorFlags::READ;
    if reads_only
        && follow.contains(PathFlags::SYMLINK_FOLLOW)
        && let Some(file) = named(state, &directory, &path)?
    {
        let certificate = state.certificate.clone().filter(|certificate| certificate.is_at(&file));
        let log = state.hooks.log.clone();
        let opening = move || open(&file, certificate.as_ref(), &log);
        let opened = tokio::task::spawn_blocking(opening).await.map_err(io::Error::other);
        match opened.flatten() {
            Ok(Some(file)) => {
                let file = File::new(file, FsPerms::ReadOnly, OpenMode::READ, false);
                return Ok(Ok(state.filesystem().table.push(Descriptor::File(file))?));
            }
            Ok(None) => {}
            Err(error) => return Ok(Err(error.into())),
        }
    }
    match state.filesystem().open_at(directory, follow, path, opening, flags).await {
        Ok(opened) => Ok(Ok(opened)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

fn named(state: &mut State, directory: &Resource<Descriptor>, path: &str) -> Result<Option<PathBuf>> {
    let directory = match state.filesystem().table.get(directory)? {
        Descriptor::Dir(directory) => Arc::clone(&directory.dir),
        Descriptor::File(_) => return Ok(None),
    };
    Ok(state.files.find(&directory, path).map(Path::to_owned))
}

/// None if it is a directory. A certificate comes in the form that the guest reads.
fn open(file: &Path, certificate: Option<&CertificateFile>, log: &Log) -> io::Result<Option<StdFile>> {
    let opened = StdFile::open(file)?;
    if opened.metadata()?.is_dir() {
        return Ok(None);
    }
    let Some(certificate) = certificate else { return Ok(Some(opened)) };
    match certificate.open(opened) {
        Ok(readable) => Ok(Some(readable)),
        Err(Fault::Io(error)) => Err(error),
        Err(Fault::Unusable(error)) => {
            log.event("unusable certificate", &error.to_string());
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}

/// As wasmtime-wasi names it; a test with a guest fails where it does not.
const INTERFACE: &str = "wasi:filesystem/types@0.2.12";

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, remove_file, write};
    use std::os::unix::fs::symlink;

    use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;

    use super::*;
    use crate::environment::Environment;
    use crate::guest::prototype::tests::state;

    const VARIABLE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
    const READ: DescriptorFlags = DescriptorFlags::READ;

    fn there() -> OpenFlags {
        OpenFlags::empty()
    }

    /// Whether the guest may open a path in a directory of that name, and how long what it gets is.
    async fn open(
        state: &mut State,
        name: &Path,
        path: &str,
        opening: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<u64, ErrorCode> {
        let lent = state.filesystem().get_directories().unwrap();
        let (directory, _) = lent.into_iter().find(|(_, lent)| Path::new(lent) == name).unwrap();
        let follow = PathFlags::SYMLINK_FOLLOW;
        let opened = open_at(state, directory, follow, path.to_owned(), opening, flags).await.unwrap()?;
        Ok(state.filesystem().stat(opened).await.unwrap().size)
    }

    #[tokio::test]
    async fn a_named_file_is_opened_where_its_link_leads_at_that_moment_and_for_reading_only() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        create_dir_all(path("live")).unwrap();
        create_dir_all(path("archive")).unwrap();
        for (name, content) in [("cert1.pem", "1"), ("cert2.pem", "22"), ("other", "333")] {
            write(path("archive").join(name), content).unwrap();
        }
        let named = path("live/cert.pem");
        symlink("../archive/cert1.pem", &named).unwrap();
        symlink("../archive/other", path("live/other")).unwrap();
        let mut state = state(Environment::default().with(VARIABLE, named.to_str().unwrap()));
        let live = path("live");
        assert_eq!(open(&mut state, &live, "cert.pem", there(), READ).await, Ok(1));
        remove_file(&named).unwrap();
        symlink(path("archive/cert2.pem"), &named).unwrap();
        assert_eq!(open(&mut state, &live, "cert.pem", there(), READ).await, Ok(2));

        let refused = Err(ErrorCode::NotPermitted);
        assert_eq!(open(&mut state, &live, "other", there(), READ).await, refused, "nobody named it");
        assert_eq!(open(&mut state, &live, "../archive/cert2.pem", there(), READ).await, refused);
        assert_eq!(open(&mut state, &live, "cert.pem", there(), DescriptorFlags::WRITE).await, refused);
        assert_eq!(open(&mut state, &live, "cert.pem", OpenFlags::TRUNCATE, READ).await, refused);
        remove_file(&named).unwrap();
        assert_eq!(open(&mut state, &live, "cert.pem", there(), READ).await, Err(ErrorCode::NoEntry));
    }

    #[tokio::test]
    async fn a_certificate_is_converted_at_each_opening_and_its_password_does_not_reach_the_guest() {
        use wasmtime_wasi::cli::WasiCliView as _;
        use wasmtime_wasi::p2::bindings::cli::environment::Host as _;
        const PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
        let home = tempfile::tempdir().unwrap();
        let named = home.path().join("app.pfx");
        let put = |name: &str| {
            let made = format!("{}/src/environment/certificates/{name}", env!("CARGO_MANIFEST_DIR"));
            std::fs::copy(made, &named).unwrap();
        };
        put("modern.pfx");
        let environment =
            Environment::default().with(VARIABLE, named.to_str().unwrap()).with(PASSWORD, "secret word");
        let mut state = state(environment);
        let variables = state.cli().get_environment().unwrap();
        assert!(variables.iter().all(|(name, _)| name != PASSWORD), "{variables:?}");
        assert_eq!(state.config_error, None);
        let modern = open(&mut state, home.path(), "app.pfx", there(), READ).await.unwrap();
        put("encrypted.pem");
        let encrypted = open(&mut state, home.path(), "app.pfx", there(), READ).await.unwrap();
        assert!(modern > 3000 && encrypted > 3000, "{modern} {encrypted}");
        put("cut.pfx");
        assert_eq!(open(&mut state, home.path(), "app.pfx", there(), READ).await, Err(ErrorCode::Invalid));
    }

    #[tokio::test]
    async fn a_directory_on_the_way_may_be_a_link_that_changes() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        for (name, content) in [("one", "1"), ("two", "22")] {
            create_dir_all(path(name)).unwrap();
            write(path(name).join("cert.pem"), content).unwrap();
        }
        symlink("one", path("current")).unwrap();
        let named = path("current/cert.pem");
        let mut state = state(Environment::default().with(VARIABLE, named.to_str().unwrap()));
        assert_eq!(open(&mut state, &path("current"), "cert.pem", there(), READ).await, Ok(1));
        remove_file(path("current")).unwrap();
        symlink("two", path("current")).unwrap();
        assert_eq!(open(&mut state, &path("current"), "cert.pem", there(), READ).await, Ok(2));
    }
}
