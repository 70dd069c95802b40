//! What init says while it carries its plan out, and what it is answered. `crate::conversation` has the messages themselves,
//! docs/architecture.md their order.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use pyrt_init::{kind, meet, Message};

use super::{send_terminal, Launch, Reached};
use crate::conversation::{self, Received};
use crate::ending::{await_end, KILL_PATIENCE};
use crate::error::{Context, Error, Result};
use crate::hooks;
use crate::id_maps;
use crate::netlink::Moved;
use crate::plan::{HookStage, StatusFile};
use crate::process::{wait_readable, Child};
use crate::seccomp::Answerer;
use crate::sys;

impl Launch<'_> {
    pub(super) fn converse(&mut self) -> Result<Reached> {
        let mut executing = false;
        loop {
            let Received { message, fd, sender } = match conversation::receive_from(self.socket())? {
                Some(received) => received,
                // The socket closes at the exec.
                None if executing => return Ok(Reached::Executed),
                None => return Err(self.died()),
            };
            match message.kind {
                kind::MEET => {
                    self.meet(message.value)?;
                    conversation::go(self.socket())?;
                }
                kind::PROCESS => self.replace_child(fd)?,
                kind::TERMINAL => self.terminal(message.value, fd)?,
                kind::READY => return Ok(Reached::Ready),
                kind::MOUNT => {
                    self.mount = fd;
                    return Ok(Reached::Ready);
                }
                kind::UPPER => self.upper = fd,
                kind::ROOT => self.root = fd,
                kind::EXECUTING => executing = true,
                kind::LISTENER => {
                    self.listener(fd, sender)?;
                    conversation::go(self.socket())?;
                }
                kind::NETWORK => {
                    self.network(fd)?;
                    conversation::go(self.socket())?;
                }
                kind::STARTED => return Ok(Reached::Started),
                kind::FAILED => return Err(self.failure(message)),
                // PID 1 that stays reports the end after the start, never before it.
                other => return Err(Error::system(format!("understand init (message {other})"), None, Errno::EPROTO)),
            }
        }
    }

    fn meet(&mut self, what: u64) -> Result<()> {
        match what {
            meet::MAPS => {
                let Some(maps) = &self.plan.maps else { return Ok(()) };
                id_maps::write(maps, self.pid())?;
                if maps.closed {
                    self.while_dumpable()?;
                }
                Ok(())
            }
            meet::RECORD => self.record(),
            meet::OFFSETS => match (&self.plan.offsets, &mut self.offsets) {
                (Some(offsets), Some(file)) => file.write_all(offsets.0.as_bytes()).op("write timens_offsets"),
                (Some(offsets), None) => self.write_proc("timens_offsets", &offsets.0, "write timens_offsets"),
                (None, _) => Ok(()),
            },
            _ => {
                self.hooked = true;
                for (status, file) in std::mem::take(&mut self.states) {
                    sys::seal(file.as_fd(), &self.state(status.name())).op("write the state for hooks")?;
                }
                let state = self.state(StatusFile::Creating.name());
                [HookStage::Prestart, HookStage::CreateRuntime]
                    .iter()
                    .try_for_each(|stage| hooks::run_stage(&self.plan.config.spec, *stage, &state))
            }
        }
    }

    /// What a caller without rights can do to init's files only now, before it has taken an identity and is not dumpable again.
    fn while_dumpable(&mut self) -> Result<()> {
        if self.plan.offsets.is_some() {
            let path = format!("/proc/{}/timens_offsets", self.pid());
            self.offsets = Some(std::fs::OpenOptions::new().write(true).open(&path).at("open", &path)?);
        }
        self.set_oom_score_adj()
    }

    pub(super) fn set_oom_score_adj(&self) -> Result<()> {
        let Some(score) = self.plan.oom_score_adj() else { return Ok(()) };
        self.write_proc("oom_score_adj", &score.to_string(), "set oom_score_adj")
    }

    /// Init's own file in the caller's procfs. It is our child and not reaped, so the number is still its.
    fn write_proc(&self, name: &str, value: &str, operation: &str) -> Result<()> {
        let path = format!("/proc/{}/{name}", self.pid());
        std::fs::write(&path, value).at(operation, &path)
    }

    /// Path B: the process that hears us was a step on the way. Its own word comes a second time, from the process itself.
    fn replace_child(&mut self, pidfd: Option<OwnedFd>) -> Result<()> {
        if std::mem::replace(&mut self.replaced, true) {
            return Ok(());
        }
        let Some(pidfd) = pidfd else { return Err(Error::system("take over the container's process", None, Errno::EPROTO)) };
        let pid = sys::pidfd_pid(pidfd.as_fd()).op("take over the container's process")?;
        if let Some(Child { pidfd: first, .. }) = self.child.replace(Child { pid, pidfd, start_time: 0 }) {
            // It ends after this message; where somebody else reaps our children, it is gone already.
            await_end(first.as_fd())?;
            let _ = sys::reap(first.as_fd());
        }
        self.find_start_time();
        match (&self.plan.cgroup, &self.cgroup) {
            (Some(group), Some(cgroup)) => group.hand_on_inside(cgroup, pid),
            _ => Ok(()),
        }
    }

    fn terminal(&mut self, number: u64, master: Option<OwnedFd>) -> Result<()> {
        let Some(master) = master else { return Err(Error::system("take over the terminal", None, Errno::EPROTO)) };
        match self.lent.console_socket {
            None => {
                // Now, not when somebody relays it: the program may ask at once, and a later change would be a signal to it.
                sys::copy_terminal_size(self.lent.stdio[0], master.as_fd());
                self.terminal = Some(master);
            }
            Some(socket) => {
                send_terminal(socket, &format!("/dev/pts/{number}"), master.as_fd())?;
            }
        }
        Ok(())
    }

    /// Who answers what the filter asks gets it: the caller itself, or whoever listens at listenerPath.
    /// `sender`: the filtered process, where that is not the container's first.
    fn listener(&mut self, fd: Option<OwnedFd>, sender: Option<i32>) -> Result<()> {
        let (Some(fd), Some(answerer)) = (fd, &self.plan.answerer) else {
            return Err(Error::system("take over the seccomp listener", None, Errno::EPROTO));
        };
        match answerer {
            Answerer::Caller => self.listener = Some(fd),
            Answerer::Socket(socket) => {
                // What exists already runs; a new one is being made.
                let status = if self.lent.entered.is_some() { "running" } else { "creating" };
                socket.hand_over(&self.plan.options.bundle, fd.as_fd(), sender.unwrap_or(self.pid()), &self.state(status))?;
            }
        }
        Ok(())
    }

    /// Init has a network namespace: config.json's devices move there.
    fn network(&mut self, socket: Option<OwnedFd>) -> Result<()> {
        let Some(socket) = socket else { return Err(Error::system("take over the netlink socket", None, Errno::EPROTO)) };
        let path = format!("/proc/{}/ns/net", self.pid());
        let namespace = std::fs::File::open(&path).at("open namespace", &path)?;
        self.moved.insert(Moved::new(socket)).bring(namespace.as_fd(), &self.plan.net_devices)
    }

    fn failure(&self, message: Message) -> Error {
        let error = self.plan.failure(message);
        match &self.hook_output {
            Some(output) if self.plan.is_hook(message.step) => output.tell(error),
            _ => error,
        }
    }

    /// Path B, its first process ended: the real one, where it was made and not heard of. It is a child of ours, and as a zombie would keep a
    /// pid namespace that it joined from ending. It speaks before it does anything else, or its end of the socket closes.
    pub(super) fn unheard(&self) -> Option<OwnedFd> {
        if !self.plan.forks || self.replaced || self.socket.is_none() {
            return None;
        }
        let deadline = Instant::now() + KILL_PATIENCE;
        loop {
            match wait_readable(self.socket(), Some(deadline.saturating_duration_since(Instant::now()))) {
                Err(Errno::EINTR) => continue,
                Ok(true) => {}
                _ => return None,
            }
            match conversation::receive(self.socket()) {
                Ok(Some((Message { kind: kind::PROCESS, .. }, pidfd))) => return pidfd,
                Ok(Some(_)) => {}
                _ => return None,
            }
        }
    }
}
