//! CRIU's requests and answers as bytes: protocol buffers (proto2), of which its rpc.proto needs numbers, strings and nested messages.
//!
//! A hundred lines instead of a library: seven small messages are written, four fields of the answers read, and a generated
//! encoder would be the second largest dependency of the core. Field numbers are those of criu's images/rpc.proto.

use nix::errno::Errno;

use crate::error::{Error, Result};

/// `criu_req_type`.
pub mod kind {
    pub const DUMP: u64 = 1;
    pub const RESTORE: u64 = 2;
    pub const PRE_DUMP: u64 = 4;
    pub const NOTIFY: u64 = 6;
    pub const FEATURE_CHECK: u64 = 9;
}

/// Fields of `criu_req`.
pub mod request {
    pub const TYPE: u32 = 1;
    pub const OPTS: u32 = 2;
    pub const NOTIFY_SUCCESS: u32 = 3;
    pub const FEATURES: u32 = 5;
}

/// Fields of `criu_features`.
pub mod feature {
    pub const MEM_TRACK: u32 = 1;
    pub const LAZY_PAGES: u32 = 2;
}

/// Fields of `criu_opts`.
pub mod option {
    pub const IMAGES_DIR_FD: u32 = 1;
    pub const PID: u32 = 2;
    pub const LEAVE_RUNNING: u32 = 3;
    pub const EXT_UNIX_SK: u32 = 4;
    pub const TCP_ESTABLISHED: u32 = 5;
    pub const EVASIVE_DEVICES: u32 = 6;
    pub const SHELL_JOB: u32 = 7;
    pub const FILE_LOCKS: u32 = 8;
    pub const LOG_LEVEL: u32 = 9;
    pub const LOG_FILE: u32 = 10;
    pub const PAGE_SERVER: u32 = 11;
    pub const NOTIFY_SCRIPTS: u32 = 12;
    pub const ROOT: u32 = 13;
    pub const PARENT_IMG: u32 = 14;
    pub const TRACK_MEM: u32 = 15;
    pub const AUTO_DEDUP: u32 = 16;
    pub const WORK_DIR_FD: u32 = 17;
    pub const LINK_REMAP: u32 = 18;
    pub const EXT_MNT: u32 = 23;
    pub const MANAGE_CGROUPS: u32 = 24;
    pub const CG_ROOT: u32 = 25;
    pub const RST_SIBLING: u32 = 26;
    pub const INHERIT_FD: u32 = 27;
    pub const EXT_SHARING: u32 = 29;
    pub const EXT_MASTERS: u32 = 30;
    pub const MANAGE_CGROUPS_MODE: u32 = 34;
    pub const EXTERNAL: u32 = 37;
    pub const EMPTY_NS: u32 = 38;
    pub const JOIN_NS: u32 = 39;
    pub const FREEZE_CGROUP: u32 = 44;
    pub const TCP_SKIP_IN_FLIGHT: u32 = 46;
    pub const LAZY_PAGES: u32 = 48;
    pub const ORPHAN_PTS_MASTER: u32 = 50;
    pub const CONFIG_FILE: u32 = 51;
    pub const TCP_CLOSE: u32 = 52;
    pub const LSM_PROFILE: u32 = 53;
    pub const LSM_MOUNT_CONTEXT: u32 = 63;
}

/// A message in the making. Fields may come in any order; a repeated one is set again and again.
#[derive(Debug, Default, Clone)]
pub struct Message(Vec<u8>);

/// How a value is written: protobuf's wire types.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

impl Message {
    pub fn number(&mut self, field: u32, value: impl Into<i64>) {
        self.varint(u64::from(field) << 3 | VARINT);
        // Negative ones are extended to 64 bits, as proto2 has it.
        self.varint(value.into() as u64);
    }

    /// A flag that is not set is left out: it is the default.
    pub fn flag(&mut self, field: u32, value: bool) {
        if value {
            self.number(field, 1);
        }
    }

    pub fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub fn message(&mut self, field: u32, value: &Message) {
        self.bytes(field, &value.0);
    }

    /// A message of two strings in its first fields: `ext_mount_map`, `cgroup_root`, `join_namespace`.
    pub fn pair(&mut self, field: u32, first: &str, second: &str) {
        let mut pair = Message::default();
        pair.text(1, first);
        pair.text(2, second);
        self.message(field, &pair);
    }

    /// `inherit_fd`.
    pub fn inherit(&mut self, key: &str, descriptor: i32) {
        let mut inherited = Message::default();
        inherited.text(1, key);
        inherited.number(2, descriptor);
        self.message(option::INHERIT_FD, &inherited);
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// `criu_resp`, as far as it is read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub kind: u64,
    pub success: bool,
    /// Of a restored init, as CRIU sees it.
    pub pid: Option<i32>,
    /// What happened, where it is a notification: its name, and the init that it is about.
    pub script: String,
    pub script_pid: Option<i32>,
    pub errno: i32,
    pub message: Option<String>,
    pub mem_track: bool,
    pub lazy_pages: bool,
}

impl Response {
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut response = Response::default();
        for field in Fields(bytes) {
            match field? {
                (1, Value::Number(kind)) => response.kind = kind,
                (2, Value::Number(success)) => response.success = success != 0,
                (4, Value::Bytes(restored)) => response.restored(restored)?,
                (5, Value::Bytes(notify)) => response.notified(notify)?,
                (7, Value::Number(errno)) => response.errno = errno as i32,
                (8, Value::Bytes(features)) => response.features(features)?,
                (9, Value::Bytes(message)) => response.message = Some(String::from_utf8_lossy(message).into_owned()),
                _ => {}
            }
        }
        Ok(response)
    }

    fn restored(&mut self, bytes: &[u8]) -> Result<()> {
        for field in Fields(bytes) {
            if let (1, Value::Number(pid)) = field? {
                self.pid = Some(pid as i32);
            }
        }
        Ok(())
    }

    fn notified(&mut self, bytes: &[u8]) -> Result<()> {
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(script)) => self.script = String::from_utf8_lossy(script).into_owned(),
                (2, Value::Number(pid)) => self.script_pid = Some(pid as i32),
                _ => {}
            }
        }
        Ok(())
    }

    fn features(&mut self, bytes: &[u8]) -> Result<()> {
        for field in Fields(bytes) {
            match field? {
                (feature::MEM_TRACK, Value::Number(has)) => self.mem_track = has != 0,
                (feature::LAZY_PAGES, Value::Number(has)) => self.lazy_pages = has != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in their order; what is malformed ends it.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| Error::system("understand criu", None, Errno::EPROTO)))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            VARINT => Value::Number(self.varint()?),
            BYTES => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            FIXED_64 => Value::Bytes(self.take(8)?),
            FIXED_32 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some(((tag >> 3).try_into().ok()?, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length.try_into().ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::{kind, option, request, Message, Response};

    #[test]
    fn a_request_is_what_protoc_would_write() {
        let mut options = Message::default();
        options.number(option::IMAGES_DIR_FD, 300);
        options.flag(option::SHELL_JOB, false);
        options.pair(option::EXT_MNT, "/a", "b");
        let mut message = Message::default();
        message.number(request::TYPE, kind::DUMP as i64);
        message.message(request::OPTS, &options);
        let pair = [0xba, 1, 7, 0x0a, 2, b'/', b'a', 0x12, 1, b'b'];
        let expected: Vec<u8> = [8, 1, 0x12, 13, 8, 0xac, 2].into_iter().chain(pair).collect();
        assert_eq!(message.as_bytes(), expected);
    }

    #[test]
    fn a_negative_number_has_ten_bytes() {
        let mut message = Message::default();
        message.number(1, -1);
        assert_eq!(message.as_bytes(), [8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn an_answer_is_read_whatever_else_is_in_it() {
        let bytes = [8, 6, 16, 1, 0x2a, 8, 0x0a, 4, b'd', b'o', b'n', b'e', 16, 7, 0x99, 6, 1, 2, 3, 4, 5, 6, 7, 8];
        let response = Response::parse(&bytes).expect("well formed");
        assert_eq!((response.kind, response.success, response.script.as_str(), response.script_pid), (6, true, "done", Some(7)));
    }

    #[test]
    fn what_is_cut_short_or_endless_is_refused() {
        for bytes in [&[8][..], &[8, 0x80], &[0x2a, 5, 1], &[0x0f], &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]] {
            assert!(Response::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
