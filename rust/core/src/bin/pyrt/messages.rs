//! The one door through which these verbs print, as python/pyrt/cli/messages.py does: data to stdout, messages to stderr and the log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;

use nix::fcntl::OFlag;
use pyrt_core::error::{words, Context};
use pyrt_core::Result;

pub struct Messages {
    log: Option<File>,
    json: bool,
}

impl Messages {
    pub fn new() -> Self {
        Messages { log: None, json: false }
    }

    /// Open the log, which may be a FIFO or /dev/stderr.
    pub fn configure(&mut self, log: Option<&str>, json: bool) -> Result<()> {
        self.json = json;
        self.log = match log {
            None => None,
            // Opening it anew fails where stderr is a socket.
            Some("/dev/stderr") => Some(File::from(std::io::stderr().as_fd().try_clone_to_owned().at("open log", "/dev/stderr")?)),
            Some(path) => {
                let how = &mut OpenOptions::new();
                Some(how.append(true).create(true).mode(0o644).custom_flags(OFlag::O_NOCTTY.bits()).open(path).at("open log", path)?)
            }
        };
        Ok(())
    }

    pub fn output(&self, text: &str) -> Result<()> {
        std::io::stdout().write_all(format!("{text}\n").as_bytes()).and_then(|()| std::io::stdout().flush()).op("write to standard output")
    }

    /// What ended the command.
    pub fn error(&self, text: &str) {
        to_stderr(&format!("pyrt: {}\n", one_line(text)));
        self.to_log("error", text);
    }

    pub fn warning(&self, text: &str) {
        if self.log.is_none() {
            to_stderr(&format!("pyrt: warning: {}\n", one_line(text)));
        }
        self.to_log("warning", text);
    }

    fn to_log(&self, level: &str, text: &str) {
        let Some(mut log) = self.log.as_ref() else { return };
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let entry = if self.json {
            serde_json::json!({"level": level, "msg": text, "time": now}).to_string()
        } else {
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            format!("time=\"{now}\" level={level} msg=\"{}\"", one_line(&quoted))
        };
        if let Err(error) = log.write_all(format!("{entry}\n").as_bytes()) {
            let errno = error.raw_os_error().map_or(nix::errno::Errno::EIO, nix::errno::Errno::from_raw);
            to_stderr(&format!("pyrt: cannot write the log: {}\n", words(errno)));
        }
    }
}

fn to_stderr(text: &str) {
    // Where it fails, nobody is left to tell; the exit status still does.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
}
