//! passwd(5) of a container: where the home of its user is. runc and crun set HOME by it where process.env does not, and engines rely on that.
//!
//! The file is the container's, so it is read as hostile: never through a link out of its root or from another mount (which may be a file system
//! that a process inside answers for), never waited for, and not without end.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::{open, openat2, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::Mode;

use crate::oci::Config;
use crate::plan::{rootfs, Options};

/// Far longer than any, in bytes.
const LONGEST: u64 = 1 << 20;

/// That of a container that is to be made, where its config.json has no HOME. A host view has no passwd(5) of its own.
pub fn of_root(config: &Config, options: &Options) -> Option<Vec<u8>> {
    wanted(config, options).then(|| rootfs(&config.spec, options).ok()).flatten().filter(|_| options.view.is_none()).map(|root| read(&root))
}

/// That of one that runs: of the root of its init.
pub fn of_process(config: &Config, options: &Options, pid: i32) -> Option<Vec<u8>> {
    wanted(config, options).then(|| read(Path::new(&format!("/proc/{pid}/root"))))
}

/// Where nothing says what HOME is. An empty one is none, as in runc and crun.
fn wanted(config: &Config, options: &Options) -> bool {
    let environment = config.spec.process().iter().flat_map(|process| process.env().iter().flatten());
    let is_home = |variable: &String| variable.strip_prefix("HOME=").is_some_and(|home| !home.is_empty());
    !environment.chain(&options.env).any(is_home)
}

/// What it holds; nothing where it cannot be read in this way.
fn read(root: &Path) -> Vec<u8> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV);
    // By O_PATH nothing is opened that could be waited for: the root that a hostile bundle names may be no directory.
    let root = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let opened = root.and_then(|root| openat2(root.as_fd(), "etc/passwd", how)).ok();
    let mut content = Vec::new();
    match opened.map(File::from) {
        Some(file) if file.metadata().is_ok_and(|found| found.is_file()) => match file.take(LONGEST).read_to_end(&mut content) {
            Ok(_) => content,
            Err(_) => Vec::new(),
        },
        _ => content,
    }
}

/// The home of a user, `/` where there is none.
pub fn home(passwd: &[u8], uid: u32) -> String {
    let lines = passwd.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let home = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [_, _, number, _, _, home, ..] if number.parse() == Ok(uid) && home.starts_with('/') && !home.contains('\0') => {
                Some(home.to_owned())
            }
            _ => None,
        }
    };
    lines.filter_map(|line| home(line.trim())).next().unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_the_user_says_where_its_home_is() {
        let passwd =
            b"root:x:0:0::/root:/bin/sh\n\nbroken\nuser:x:1000:1:A: /x:/home/wrong\nuser:x:1000:1:A:/home/user:/bin/sh\nb:x:1000:1::/b:\n";
        assert_eq!(home(passwd, 0), "/root");
        assert_eq!(home(passwd, 1000), "/home/user");
        assert_eq!(home(passwd, 7), "/");
        assert_eq!(home(b"", 0), "/");
    }

    #[test]
    fn what_is_no_line_of_passwd_is_nobodys() {
        for line in ["a:x:7:7::relative:", "a:x:7:7::/a\0b:", "a:x:-7:7::/a:", "a:x: 7:7::/a:", "a:x:7:7", ":::::::::", "\u{fe}:x:x:"] {
            assert_eq!(home(line.as_bytes(), 7), "/", "{line:?}");
        }
        assert_eq!(home(b"\xff\xfe:x:7:7::/a:\n", 7), "/");
    }
}
