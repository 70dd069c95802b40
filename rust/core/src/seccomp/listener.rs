//! Who answers a filter's notifications (seccomp_unotify(2)), and how its listener gets there.

use std::io::{IoSlice, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags, UnixAddr};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{json, Value};

use crate::error::{Context, Result};

#[derive(Debug, Clone)]
pub enum Answerer {
    /// The process that launches.
    Caller,
    Socket(ListenerSocket),
}

/// linux.seccomp.listenerPath and listenerMetadata.
#[derive(Debug, Clone)]
pub struct ListenerSocket {
    path: PathBuf,
    metadata: Option<String>,
}

impl ListenerSocket {
    pub fn of(profile: &LinuxSeccomp) -> Option<Self> {
        let path = profile.listener_path().clone().filter(|path| !path.as_os_str().is_empty())?;
        Some(ListenerSocket { path, metadata: profile.listener_metadata().clone() })
    }

    /// Sends the listener with the container process state (config-linux.md, "The Container Process State"). `state`: the container's,
    /// as hooks read it. A relative path starts from the bundle.
    pub fn hand_over(&self, bundle: &Path, listener: BorrowedFd<'_>, pid: i32, state: &[u8]) -> Result<()> {
        const OPERATION: &str = "hand the seccomp listener over to";
        let path = bundle.join(&self.path);
        let shown = path.to_string_lossy();
        let bound = crate::start::short_path(&path)?;
        let mut stream = UnixStream::connect(bound.path()).at(OPERATION, &shown)?;
        let state: Value = serde_json::from_slice(state).unwrap_or_default();
        let mut message = json!({"ociVersion": crate::oci::VERSION, "fds": ["seccompFd"], "pid": pid, "state": state});
        if let Some(metadata) = &self.metadata {
            message["metadata"] = json!(metadata);
        }
        let bytes = message.to_string().into_bytes();
        let fds = [listener.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&fds)];
        let sent = sendmsg::<UnixAddr>(stream.as_raw_fd(), &[IoSlice::new(&bytes)], &rights, MsgFlags::MSG_NOSIGNAL, None);
        let sent = sent.at(OPERATION, &shown)?;
        // What did not fit at once; the descriptor went with the first part.
        stream.write_all(&bytes[sent..]).at(OPERATION, &shown)
    }
}
