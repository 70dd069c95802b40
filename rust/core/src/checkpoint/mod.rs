//! Checkpoint and restore: the work is CRIU's (criu(8)), a program of its own that is spoken to as runc and crun do it.
//!
//! `protocol` puts requests into bytes and reads answers · `criu` runs the program and holds the conversation · `external` tells what a
//! container has from outside · `naming` which names that may get · here is what both directions share. Neighbours: `container/checkpoint` and `container/restore` are the
//! transitions from state to state.

pub(crate) mod criu;
pub(crate) mod external;
mod naming;
pub(crate) mod protocol;

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use oci_spec::runtime::Spec;
use serde::Deserialize;

use crate::error::{Context, Error, Result};
use protocol::{option, Message};

/// What is asked of CRIU, for both directions; each ignores what is the other's. The names are those of the command's flags.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Where the images are; a checkpoint makes it where it is missing.
    pub image_path: PathBuf,
    /// Where logs and CRIU's sockets go, else with the images.
    pub work_path: Option<PathBuf>,
    /// Images of an earlier pre-dump, as seen from the image directory.
    pub parent_path: Option<PathBuf>,
    pub leave_running: bool,
    pub tcp_established: bool,
    pub tcp_skip_in_flight: bool,
    pub tcp_close: bool,
    pub link_remap: bool,
    pub ext_unix_sk: bool,
    pub shell_job: bool,
    pub lazy_pages: bool,
    pub file_locks: bool,
    pub pre_dump: bool,
    pub auto_dedup: bool,
    /// A namespace that is restored without its content: "network" is the only one that CRIU knows.
    pub empty_network: bool,
    /// Gets a NUL byte when pages can be fetched.
    pub status_fd: Option<RawFd>,
    /// Address and port.
    pub page_server: Option<(String, u16)>,
    pub manage_cgroups_mode: CgroupsMode,
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
}

/// What CRIU does about cgroups: criu(8), --manage-cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupsMode {
    Ignore = 0,
    #[default]
    Soft = 3,
    Full = 4,
    Strict = 5,
}

/// The directories of one request, open: CRIU gets their descriptors.
pub(crate) struct Directories {
    images: File,
    work: Option<File>,
    /// Where the log is.
    pub log: PathBuf,
}

impl Directories {
    /// Those of a checkpoint; the images' is made where it is missing.
    pub fn to_write(options: &Options) -> Result<Self> {
        let directories = Directories::open(options, true, ["dump.log", "stats-dump"])?;
        own_files_only(&options.image_path)?;
        Ok(directories)
    }

    /// Those of a restore.
    pub fn to_read(options: &Options) -> Result<Self> {
        let directories = Directories::open(options, false, ["restore.log", "stats-restore"])?;
        if options.auto_dedup {
            // Pages that have been restored are taken out of the images.
            own_files_only(&options.image_path)?;
        }
        Ok(directories)
    }

    /// `written`: what CRIU writes beside images. It opens what is there, and the files of an earlier run may be links to others.
    fn open(options: &Options, make: bool, written: [&str; 2]) -> Result<Self> {
        let images = directory(&options.image_path, make)?;
        let work = options.work_path.as_deref().map(|path| directory(path, true)).transpose()?;
        let place = options.work_path.as_deref().unwrap_or(&options.image_path);
        for path in written.map(|name| place.join(name)) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.at("remove", path.to_string_lossy())?,
            }
        }
        let [log, _] = written;
        Ok(Directories { images, work, log: place.join(log) })
    }

    pub fn descriptors(&self) -> Vec<RawFd> {
        std::iter::once(&self.images).chain(&self.work).map(AsRawFd::as_raw_fd).collect()
    }

    /// The options that both directions have.
    pub fn request(&self, options: &Options, spec: &Spec) -> Message {
        let mut message = Message::default();
        // criu.conf(5) overrules what is said here, which is how engines pass options that no flag has. An empty name: no file at all.
        let named = spec.annotations().as_ref().and_then(|all| all.get(CONFIG_ANNOTATION)).map_or(CONFIG_FILE, String::as_str);
        if !named.is_empty() {
            message.text(option::CONFIG_FILE, named);
        }
        message.number(option::IMAGES_DIR_FD, self.images.as_raw_fd());
        if let Some(work) = &self.work {
            message.number(option::WORK_DIR_FD, work.as_raw_fd());
        }
        if let Some(name) = self.log.file_name() {
            message.text(option::LOG_FILE, &name.to_string_lossy());
        }
        message.number(option::LOG_LEVEL, LOG_LEVEL);
        message.flag(option::NOTIFY_SCRIPTS, true);
        message.flag(option::ORPHAN_PTS_MASTER, true);
        message.flag(option::MANAGE_CGROUPS, options.manage_cgroups_mode != CgroupsMode::Ignore);
        message.number(option::MANAGE_CGROUPS_MODE, options.manage_cgroups_mode as i32);
        message.flag(option::TCP_ESTABLISHED, options.tcp_established);
        message.flag(option::EXT_UNIX_SK, options.ext_unix_sk);
        message.flag(option::SHELL_JOB, options.shell_job);
        message.flag(option::FILE_LOCKS, options.file_locks);
        message.flag(option::AUTO_DEDUP, options.auto_dedup);
        message.flag(option::LAZY_PAGES, options.lazy_pages);
        // What is bound from the host is a slave of the host's mounts, and its peers are not in the container.
        message.flag(option::EXT_MASTERS, true);
        message.flag(option::EXT_SHARING, true);
        if options.empty_network {
            message.number(option::EMPTY_NS, libc::CLONE_NEWNET);
        }
        message
    }
}

/// As in runc: what podman sets, and where it writes otherwise.
const CONFIG_ANNOTATION: &str = "org.criu.config";
const CONFIG_FILE: &str = "/etc/criu/runc.conf";

/// Debug messages: CRIU's own log is all that tells why it failed (criu(8), --verbosity).
const LOG_LEVEL: i32 = 4;

fn directory(path: &Path, make: bool) -> Result<File> {
    let shown = path.to_string_lossy();
    if make {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.at("make directory", &shown)?,
        }
    }
    // The slash: only a directory has what it names.
    File::open(path.join("")).at("open directory", &shown)
}

/// Which of init's namespaces are files of the host, and stay outside the images: kind, as CRIU names it, and the key that stands for it.
pub(crate) const OUTSIDE_NAMESPACES: [(&str, &str); 2] = [("net", "extRootNetNS"), ("pid", "extRootPidNS")];

/// Images are written over what is there, and that must be no other file by a link. A link to the images before these is CRIU's own.
fn own_files_only(images: &Path) -> Result<()> {
    let shown = images.to_string_lossy();
    for entry in std::fs::read_dir(images).at("read directory", &shown)? {
        let entry = entry.at("read directory", &shown)?;
        let found = entry.metadata().at("look at", entry.path().to_string_lossy())?;
        let linked = found.is_symlink() && entry.file_name() != PARENT || found.is_file() && found.nlink() > 1;
        if linked {
            let error = Error::system("write images over", entry.path().to_string_lossy().into_owned(), Errno::EEXIST);
            return Err(error.with_hint("it is a link: give a directory without any"));
        }
    }
    Ok(())
}

/// CRIU's name for --parent-path.
const PARENT: &str = "parent";

pub(crate) fn not_possible(id: &str, verb: &str, why: &str, hint: &str) -> Error {
    Error::host(format!("{verb} container {id}: {why}"), hint)
}
