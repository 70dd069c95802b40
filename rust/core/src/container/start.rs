//! `Container::start`: a created container's program runs; its poststart hooks, and whoever is to hear of it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::{Container, State, Status};
use crate::error::{Error, Result};
use crate::hooks::run_stage;
use crate::notify::Relay;
use crate::oci::Config;
use crate::plan::HookStage;
use crate::process;
use crate::seccomp::ListenerSocket;

impl Container {
    /// Let the program of a created container run. Returns when it was executed and the poststart hooks are done.
    ///
    /// A poststart hook that fails ends and deletes the container (runtime-spec, "Lifecycle"). `notify`: the socket of a service manager,
    /// which hears when the container is ready; then this returns after that, or at the container's end.
    pub fn start(&self, notify: Option<&Path>) -> Result<()> {
        let lock = self.directory.lock()?;
        let state = self.locked_state(&lock)?;
        self.require(&state, "start", &[Status::Created], None)?;
        // It was created for one, too, or it has no such socket.
        let relay =
            notify.filter(|_| self.directory.notify().exists()).map(|host| Relay::new(&self.directory.notify(), host)).transpose()?;
        let init = self.directory.init()?;
        crate::start::start(&self.directory.start_socket(), init, state.config.get().as_bytes(), |listener| {
            self.hand_listener_over(&state, listener)
        })?;
        self.directory.started()?;
        drop(lock);
        self.run_poststart(&state)?;
        let (Some(relay), Some(init)) = (relay, init) else { return Ok(()) };
        match process::open(init.pid, init.start_time) {
            Ok(pidfd) => relay.run(pidfd.as_fd(), init.pid),
            // It has ended already.
            Err(_) => Ok(()),
        }
    }

    pub(super) fn run_poststart(&self, state: &State) -> Result<()> {
        if !state.has_poststart {
            return Ok(());
        }
        let run = || {
            let config = Config::of(state.config.get().as_bytes())?;
            run_stage(&config.spec, HookStage::Poststart, &self.hook_state(state, Status::Running))
        };
        run().inspect_err(|_| {
            // The hook's failure is the one that counts.
            let _ = self.delete(true);
        })
    }

    /// To whoever listens at linux.seccomp.listenerPath.
    fn hand_listener_over(&self, state: &State, listener: OwnedFd) -> Result<()> {
        let config = Config::of(state.config.get().as_bytes())?;
        let socket = config.seccomp.as_ref().and_then(|section| ListenerSocket::of(&section.profile));
        match (socket, self.directory.init()?) {
            (Some(socket), Some(init)) => {
                socket.hand_over(Path::new(&state.bundle), listener.as_fd(), init.pid, &self.hook_state(state, Status::Created))
            }
            _ => Err(Error::system("take over the seccomp listener", None, Errno::EPROTO)),
        }
    }
}
