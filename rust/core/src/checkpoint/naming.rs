//! Which names of mounts CRIU may be given. What runs inside has a say in them: it chooses where symbolic links lead, and a name decides what of
//! the host is mounted at the restore (CVE-2026-119101, CVE-2026-115520).

use oci_spec::runtime::Spec;

use crate::error::{Error, Result};
use crate::plan::{MountOptions, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY};

/// Attributes that keep something from the container, as mountinfo has them: proc_pid_mountinfo(5), field 6.
const RESTRICTIONS: [(&str, u64); 5] = [
    ("ro", MOUNT_ATTR_RDONLY),
    ("nosuid", MOUNT_ATTR_NOSUID),
    ("nodev", MOUNT_ATTR_NODEV),
    ("noexec", MOUNT_ATTR_NOEXEC),
    ("nosymfollow", MOUNT_ATTR_NOSYMFOLLOW),
];

/// CRIU writes "mnt[NAME]:VALUE" and reads the name to the first "]:", so a name that has one would give another name another value.
pub fn readable(name: &str) -> Result<()> {
    match name.contains("]:") {
        true => Err(Error::host(format!("name mount {name} for criu"), "a path with \"]:\" in it would be read as two")),
        false => Ok(()),
    }
}

/// A mount that gets the name of a mount of config.json is restored from that one's source, with the attributes that it has itself. So it must
/// not lack any that config.json gives: after an exchange of links what is read-only would be writable.
pub fn not_wider(spec: &Spec, name: &str, point: &str, attributes: &str) -> Result<()> {
    let named = spec.mounts().iter().flatten().enumerate().find(|(_, mount)| mount.destination().to_str() == Some(name));
    let Some((index, mount)) = named else { return Ok(()) };
    let options = MountOptions::parse(mount.options().as_deref().unwrap_or_default(), &format!("mounts[{index}].options"))?;
    let has: Vec<&str> = attributes.split(',').collect();
    match RESTRICTIONS.iter().find(|(word, bit)| (options.set | options.set_all) & bit != 0 && !has.contains(word)) {
        None => Ok(()),
        Some((word, _)) => {
            let hint = format!("config.json has {name} {word}, and what it leads to in the container now is not");
            Err(Error::host(format!("name mount {point} for criu"), &hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(options: &[&str]) -> Spec {
        let mount = json!({"destination": "/data", "type": "bind", "source": "/srv", "options": options});
        serde_json::from_value(json!({"ociVersion": "1.3.0", "mounts": [mount]})).unwrap()
    }

    #[test]
    fn a_name_that_criu_would_read_as_two_is_refused() {
        let error = readable("/x]:/etc").unwrap_err().to_string();
        assert_eq!(error, "name mount /x]:/etc for criu; a path with \"]:\" in it would be read as two");
        for name in ["/x", "/x]", "/x:y", "/[x]"] {
            readable(name).unwrap();
        }
    }

    #[test]
    fn a_writable_mount_gets_no_name_of_a_read_only_one() {
        for options in [&["rbind", "ro"][..], &["rbind", "rro"]] {
            let error = not_wider(&spec(options), "/data", "/p/b", "rw,nosuid,relatime").unwrap_err().to_string();
            let why = "config.json has /data ro, and what it leads to in the container now is not";
            assert_eq!(error, format!("name mount /p/b for criu; {why}"));
            not_wider(&spec(options), "/data", "/p/a", "ro,relatime").unwrap();
            not_wider(&spec(options), "/other", "/other", "rw").unwrap();
        }
    }

    #[test]
    fn no_attribute_may_be_missing_and_more_are_fine() {
        let all = spec(&["bind", "ro", "nosuid", "nodev", "noexec", "nosymfollow"]);
        not_wider(&all, "/data", "/data", "ro,nosuid,nodev,noexec,noatime,nosymfollow").unwrap();
        for missing in ["nosuid", "nodev", "noexec", "nosymfollow"] {
            let rest: Vec<&str> = ["ro", "nosuid", "nodev", "noexec", "nosymfollow"].into_iter().filter(|one| *one != missing).collect();
            let error = not_wider(&all, "/data", "/data", &rest.join(",")).unwrap_err().to_string();
            assert!(error.contains(&format!("has /data {missing},")), "{error}");
        }
        not_wider(&spec(&["bind"]), "/data", "/data", "ro,nosuid").unwrap();
        not_wider(&spec(&["bind", "ro", "rw"]), "/data", "/data", "rw").unwrap();
    }
}
