//! Mount options: what runc and mount(8) call them -> attributes of mount_setattr(2), propagation, and what is left for the file system.

use nix::libc;

use crate::error::{Error, Result};

// linux/mount.h; libc has them on some targets only.
pub const MOUNT_ATTR_RDONLY: u64 = 0x1;
pub const MOUNT_ATTR_NOSUID: u64 = 0x2;
pub const MOUNT_ATTR_NODEV: u64 = 0x4;
pub const MOUNT_ATTR_NOEXEC: u64 = 0x8;
pub const MOUNT_ATTR_ATIME: u64 = 0x70;
pub const MOUNT_ATTR_NOATIME: u64 = 0x10;
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x20_0000;

/// What an option changes: bits to set, bits to clear first.
struct Attribute {
    name: &'static str,
    set: u64,
    clear: u64,
}

const fn attribute(name: &'static str, set: u64, clear: u64) -> Attribute {
    Attribute { name, set, clear }
}

/// The recursive form of each has an `r` before the name (`rro`), but for the atime family's own `rel...`.
const ATTRIBUTES: [Attribute; 18] = [
    attribute("ro", MOUNT_ATTR_RDONLY, 0),
    attribute("rw", 0, MOUNT_ATTR_RDONLY),
    attribute("nosuid", MOUNT_ATTR_NOSUID, 0),
    attribute("suid", 0, MOUNT_ATTR_NOSUID),
    attribute("nodev", MOUNT_ATTR_NODEV, 0),
    attribute("dev", 0, MOUNT_ATTR_NODEV),
    attribute("noexec", MOUNT_ATTR_NOEXEC, 0),
    attribute("exec", 0, MOUNT_ATTR_NOEXEC),
    attribute("noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR_ATIME),
    attribute("atime", 0, MOUNT_ATTR_ATIME),
    attribute("relatime", 0, MOUNT_ATTR_ATIME),
    attribute("norelatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME),
    attribute("strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME),
    attribute("nostrictatime", 0, MOUNT_ATTR_ATIME),
    attribute("nodiratime", MOUNT_ATTR_NODIRATIME, 0),
    attribute("diratime", 0, MOUNT_ATTR_NODIRATIME),
    attribute("nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0),
    attribute("symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW),
];

const PROPAGATIONS: [(&str, u64); 8] = [
    ("private", libc::MS_PRIVATE),
    ("rprivate", libc::MS_PRIVATE | libc::MS_REC),
    ("slave", libc::MS_SLAVE),
    ("rslave", libc::MS_SLAVE | libc::MS_REC),
    ("shared", libc::MS_SHARED),
    ("rshared", libc::MS_SHARED | libc::MS_REC),
    ("unbindable", libc::MS_UNBINDABLE),
    ("runbindable", libc::MS_UNBINDABLE | libc::MS_REC),
];

/// Superblock flags that fsconfig(2) takes by name, and their opposites, which are its default.
const SUPERBLOCK: [(&str, bool); 9] = [
    ("iversion", true),
    ("noiversion", false),
    ("sync", true),
    ("async", false),
    ("dirsync", true),
    ("lazytime", true),
    ("nolazytime", false),
    ("mand", true),
    ("nomand", false),
];

/// What is for mount(8) and fstab(5), or changes how much the kernel logs, for which fsconfig(2) has no flag: known, and changes nothing.
const IDLE: [&str; 10] = ["defaults", "auto", "noauto", "user", "nouser", "users", "_netdev", "nofail", "silent", "loud"];

/// What is neither attribute nor flag: how to mount.
const MANNERS: [&str; 5] = ["bind", "rbind", "idmap", "ridmap", "tmpcopyup"];

/// Every option that is not left to the file system, sorted.
pub fn names() -> Vec<String> {
    let own = ATTRIBUTES.iter().map(|attribute| attribute.name.to_owned());
    let recursive = ATTRIBUTES.iter().map(|attribute| format!("r{}", attribute.name));
    let flags = PROPAGATIONS.iter().map(|(name, _)| *name).chain(SUPERBLOCK.iter().map(|(name, _)| *name));
    let mut all: Vec<String> = own.chain(recursive).chain(flags.chain(IDLE).chain(MANNERS).map(str::to_owned)).collect();
    all.sort_unstable();
    all
}

/// The options of one mount, sorted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MountOptions {
    pub set: u64,
    pub clear: u64,
    pub set_all: u64,
    pub clear_all: u64,
    pub propagation: u64,
    pub bind: bool,
    pub recursive: bool,
    /// `idmap`, or with the mounts below `ridmap`.
    pub idmap: Option<bool>,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// For the file system itself.
    pub data: Vec<String>,
}

impl MountOptions {
    pub fn parse(options: &[String], at: &str) -> Result<Self> {
        let mut parsed = MountOptions::default();
        for (index, option) in options.iter().enumerate() {
            parsed.add(option, || format!("{at}[{index}]"))?;
        }
        Ok(parsed)
    }

    fn add(&mut self, option: &str, at: impl FnOnce() -> String) -> Result<()> {
        let attribute = |name: &str| ATTRIBUTES.iter().find(|attribute| attribute.name == name);
        if let Some(one) = attribute(option) {
            self.set = self.set & !one.clear | one.set;
            self.clear = self.clear & !one.set | one.clear;
        } else if let Some(one) = option.strip_prefix('r').and_then(attribute) {
            self.set_all = self.set_all & !one.clear | one.set;
            self.clear_all = self.clear_all & !one.set | one.clear;
        } else if let Some((_, flags)) = PROPAGATIONS.iter().find(|(name, _)| *name == option) {
            self.propagation = *flags;
        } else if let Some((_, set)) = SUPERBLOCK.iter().find(|(name, _)| *name == option) {
            if *set {
                self.data.push(option.to_owned());
            }
        } else {
            match option {
                "" => {}
                idle if IDLE.contains(&idle) => {}
                "bind" => self.bind = true,
                "rbind" => (self.bind, self.recursive) = (true, true),
                "remount" => return Err(Error::spec(at(), "remount has no meaning for a new mount")),
                "idmap" => self.idmap = Some(false),
                "ridmap" => self.idmap = Some(true),
                "tmpcopyup" => self.copy_up = true,
                // A whole data string, as mount(8) takes it, may hold several.
                data => self.data.extend(data.split(',').filter(|part| !part.is_empty()).map(str::to_owned)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> MountOptions {
        MountOptions::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>(), "mounts[0].options").unwrap()
    }

    #[test]
    fn the_last_of_opposites_wins() {
        assert_eq!(parse(&["ro", "rw"]).set, 0);
        assert_eq!(parse(&["rw", "ro"]).set, MOUNT_ATTR_RDONLY);
        assert_eq!(parse(&["rw", "ro"]).clear, 0);
    }

    #[test]
    fn recursive_forms_go_to_the_whole_tree() {
        let options = parse(&["rbind", "rro", "nosuid"]);
        assert!(options.bind && options.recursive);
        assert_eq!((options.set, options.set_all), (MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY));
    }

    #[test]
    fn an_atime_mode_clears_the_others_first() {
        let options = parse(&["noatime", "strictatime"]);
        // mount_setattr(2): a mode is set only where the whole field is cleared.
        assert_eq!((options.set, options.clear), (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME));
    }

    #[test]
    fn what_is_no_attribute_is_the_file_systems() {
        assert_eq!(parse(&["nosuid", "mode=755", "size=65536k", "newinstance"]).data, ["mode=755", "size=65536k", "newinstance"]);
    }

    #[test]
    fn remount_is_refused_by_name() {
        let error = MountOptions::parse(&["ro".into(), "remount".into()], "mounts[3].options").unwrap_err();
        assert_eq!(error.json_path.as_deref(), Some("mounts[3].options[1]"));
    }
}
