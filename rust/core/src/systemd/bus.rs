//! A connection to systemd, for one call or a few: over its own socket, or over the message bus where that cannot be reached.
//!
//! Its own socket is what systemctl(1) uses: one process less on the way, and it is there without a bus daemon. Both speak D-Bus (D-Bus
//! Specification, "Message Protocol", "Authentication Protocol"). No crate does it: zbus needs an executor and threads, which the library
//! has not, for what is here five methods and one signal. Every wait has a deadline.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{connect, getsockopt, setsockopt, socket, AddressFamily, SockFlag, SockType, UnixAddr};
use nix::sys::time::{TimeVal, TimeValLike};

use super::value::{decode, pad, Value, MESSAGE_LIMIT};
use super::{Owner, MANAGER};
use crate::error::{Context, Error, Kind, Result};
use crate::interruption;

const DESTINATION: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
/// A line of the authentication is short.
const LINE_LIMIT: usize = 1024;
/// Most messages are shorter.
const CHUNK: usize = 4096;
/// The part of a message's head that is always there: fixed fields and the length of the others.
const HEAD: usize = 16;

const CALL: u8 = 1;
const ANSWER: u8 = 2;
const REFUSAL: u8 = 3;
const SIGNAL: u8 = 4;

/// Why a call brought nothing.
#[derive(Debug)]
pub enum Failure {
    /// systemd, or the bus, refused.
    Said { name: String, text: String },
    /// The connection failed; `path` is its socket.
    Broken { path: String, errno: Errno },
    /// The caller does not wait any longer.
    Interrupted(Error),
}

impl Failure {
    pub fn doing(self, operation: &str, what: &str) -> Error {
        let operation = format!("{operation} {what}");
        match self {
            Failure::Interrupted(error) => error,
            Failure::Said { name, text } => Error::host(format!("{operation}: {text}"), format!("systemd refused it: {name}")),
            Failure::Broken { path, errno } => {
                let error = Error { errno: Some(errno), ..Error::new(Kind::Host, format!("{operation} over")) };
                error.with_path(path).with_hint("systemd does not answer; see systemctl status")
            }
        }
    }
}

/// For an answer that is not what the interface promises.
pub fn odd(operation: &str, what: &str) -> Error {
    Failure::Broken { path: OBJECT.to_owned(), errno: Errno::EBADMSG }.doing(operation, what)
}

pub struct Bus {
    stream: UnixStream,
    path: String,
    deadline: Instant,
    serial: u32,
    /// Read, and not used yet.
    came: VecDeque<u8>,
    /// Jobs that have ended, as signals say: object path and result.
    ended: VecDeque<(String, String)>,
}

/// One message that came.
struct Message {
    kind: u8,
    answered: Option<u32>,
    member: Option<String>,
    error: Option<String>,
    signature: String,
    body: Vec<u8>,
}

impl Bus {
    /// To the systemd of `owner`; all that follows has to be done within `patience`. Errors: `Host`.
    pub fn connect(owner: Owner, patience: Duration) -> Result<Self> {
        let deadline = Instant::now() + patience;
        let places = places(owner);
        let mut first_failure = None;
        for place in &places {
            match Bus::open(place, deadline) {
                Ok(bus) => return Ok(bus),
                Err(Failure::Interrupted(error)) => return Err(error),
                Err(failure) => {
                    first_failure.get_or_insert((place, failure));
                }
            }
        }
        Err(match first_failure {
            Some((place, Failure::Broken { errno, .. })) => {
                let error = Error { errno: Some(errno), ..Error::new(Kind::Host, "reach systemd at").with_path(place.shown()) };
                error.with_hint("use --cgroup-manager cgroupfs where systemd does not run")
            }
            Some((place, failure)) => failure.doing("reach systemd at", &place.shown()),
            None => Error::host("reach the systemd of this user: XDG_RUNTIME_DIR is not set", "log in, or set it to /run/user/UID"),
        })
    }

    fn open(place: &Place, deadline: Instant) -> std::result::Result<Self, Failure> {
        let path = place.shown();
        let broken = |errno| Failure::Broken { path: path.clone(), errno };
        let stream = place.connect(deadline).map_err(broken)?;
        let mut bus = Bus { stream, path: path.clone(), deadline, serial: 0, came: VecDeque::new(), ended: VecDeque::new() };
        bus.authenticate()?;
        if place.is_bus {
            const BUS: (&str, &str, &str) = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus");
            bus.call_at(BUS, "Hello", &[])?;
            let rule = format!("type='signal',sender='{DESTINATION}',interface='{MANAGER}',member='JobRemoved'");
            bus.call_at(BUS, "AddMatch", &[Value::String(rule)])?;
            bus.call(MANAGER, "Subscribe", &[])?;
        }
        Ok(bus)
    }

    /// systemd takes numbers of processes as its own namespace has them. Errors: `Host` in a pid namespace that is not above the other's end.
    pub fn require_same_pids(&self) -> Result<()> {
        let other = getsockopt(&self.stream, PeerCredentials).at("look at the other end of", &self.path)?;
        match other.pid() {
            0 => Err(Error::host(
                "use the systemd cgroup manager: systemd is in another pid namespace",
                "use --cgroup-manager cgroupfs here",
            )),
            _ => Ok(()),
        }
    }

    /// A method of systemd's manager.
    pub fn call(&mut self, interface: &str, member: &str, arguments: &[Value]) -> std::result::Result<Vec<Value>, Failure> {
        self.call_at((DESTINATION, OBJECT, interface), member, arguments)
    }

    /// A method that starts a job, and how that ended: "done", "canceled", "timeout", "failed", "dependency", "skipped".
    pub fn job(&mut self, member: &str, arguments: &[Value]) -> std::result::Result<String, Failure> {
        let job = self.call(MANAGER, member, arguments)?.into_iter().next().and_then(Value::into_text);
        let job = job.ok_or_else(|| self.broken(Errno::EBADMSG))?;
        loop {
            while let Some((ended, result)) = self.ended.pop_front() {
                if ended == job {
                    return Ok(result);
                }
            }
            self.next_answer()?;
        }
    }

    fn call_at(
        &mut self,
        (destination, object, interface): (&str, &str, &str),
        member: &str,
        arguments: &[Value],
    ) -> std::result::Result<Vec<Value>, Failure> {
        self.serial += 1;
        let message = call(self.serial, destination, object, interface, member, arguments);
        self.send(&message)?;
        loop {
            let Some(message) = self.next_answer()? else { continue };
            if message.answered != Some(self.serial) {
                continue;
            }
            let values = decode(&message.signature, &message.body).ok_or_else(|| self.broken(Errno::EBADMSG))?;
            return match message.kind {
                ANSWER => Ok(values),
                _ => Err(Failure::Said {
                    name: message.error.unwrap_or_default(),
                    text: one_line(values.into_iter().next().and_then(Value::into_text).unwrap_or_default()),
                }),
            };
        }
    }

    /// The next message, unless it is a signal, which is noted where it is about a job.
    fn next_answer(&mut self) -> std::result::Result<Option<Message>, Failure> {
        let message = self.receive()?;
        match (message.kind, message.member.as_deref()) {
            (ANSWER | REFUSAL, _) => return Ok(Some(message)),
            (SIGNAL, Some("JobRemoved")) => {
                let mut values = decode(&message.signature, &message.body).unwrap_or_default().into_iter();
                let (job, result) = (values.nth(1).and_then(Value::into_text), values.nth(1).and_then(Value::into_text));
                self.ended.extend(job.zip(result));
            }
            _ => {}
        }
        Ok(None)
    }

    /// By the kernel's word for who we are; no number is said, since it may be another one on the other side (user namespaces).
    fn authenticate(&mut self) -> std::result::Result<(), Failure> {
        // All at once, as systemd's own clients do: a first message that it reads together with BEGIN lies there until the next one comes.
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let mut answer = self.line()?;
        if answer.starts_with("DATA") {
            answer = self.line()?;
        }
        match answer.starts_with("OK ") {
            true => Ok(()),
            false => Err(self.broken(Errno::EACCES)),
        }
    }

    fn line(&mut self) -> std::result::Result<String, Failure> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read(&mut byte)?;
            line.push(byte[0]);
            if line.len() > LINE_LIMIT {
                return Err(self.broken(Errno::EBADMSG));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn receive(&mut self) -> std::result::Result<Message, Failure> {
        let mut head = vec![0; HEAD];
        self.read(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (body, fields) = (number(4), number(12));
        // systemd and both bus daemons send in their own byte order, which is ours.
        if head[0] != b'l' || body > MESSAGE_LIMIT || fields > MESSAGE_LIMIT {
            return Err(self.broken(Errno::EBADMSG));
        }
        let kind = head[1];
        let end = (HEAD + fields).next_multiple_of(8);
        head.resize(end, 0);
        self.read(&mut head[HEAD..])?;
        let mut content = vec![0; body];
        self.read(&mut content)?;
        let fields = decode("yyyyuua(yv)", &head).and_then(|all| all.into_iter().last());
        let Some(Value::Array(_, fields)) = fields else { return Err(self.broken(Errno::EBADMSG)) };
        let mut message = Message { kind, answered: None, member: None, error: None, signature: String::new(), body: content };
        for field in fields {
            let Value::Struct(pair) = field else { continue };
            let mut pair = pair.into_iter();
            let (Some(Value::Byte(code)), Some(Value::Variant(value))) = (pair.next(), pair.next()) else { continue };
            match (code, *value) {
                (3, Value::String(member)) => message.member = Some(member),
                (4, Value::String(error)) => message.error = Some(error),
                (5, Value::U32(serial)) => message.answered = Some(serial),
                (8, Value::Signature(signature)) => message.signature = signature,
                _ => {}
            }
        }
        Ok(message)
    }

    fn send(&mut self, bytes: &[u8]) -> std::result::Result<(), Failure> {
        let left = self.left()?;
        let sent = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write_all(bytes));
        sent.map_err(|error| self.failed(&error))
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::result::Result<(), Failure> {
        let mut chunk = [0; CHUNK];
        while self.came.len() < buffer.len() {
            let left = self.left()?;
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut chunk));
            match read {
                Ok(0) => return Err(self.broken(Errno::ECONNRESET)),
                Ok(length) => self.came.extend(&chunk[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                    interruption::check("wait for systemd").map_err(Failure::Interrupted)?;
                }
                Err(error) => return Err(self.failed(&error)),
            }
        }
        let length = buffer.len();
        buffer.iter_mut().zip(self.came.drain(..length)).for_each(|(place, byte)| *place = byte);
        Ok(())
    }

    fn left(&self) -> std::result::Result<Duration, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // A timeout of nothing would be none at all.
        (!left.is_zero()).then_some(left).ok_or_else(|| self.broken(Errno::ETIMEDOUT))
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAGAIN) => self.broken(Errno::ETIMEDOUT),
            errno => self.broken(errno.unwrap_or(Errno::EIO)),
        }
    }

    fn broken(&self, errno: Errno) -> Failure {
        Failure::Broken { path: self.path.clone(), errno }
    }
}

/// systemd's own text, as part of one line.
fn one_line(text: String) -> String {
    text.trim_end_matches('.').escape_debug().to_string()
}

fn call(serial: u32, destination: &str, object: &str, interface: &str, member: &str, arguments: &[Value]) -> Vec<u8> {
    let mut body = Vec::new();
    arguments.iter().for_each(|argument| argument.encode(&mut body));
    let signature: String = arguments.iter().map(Value::signature).collect();
    let mut fields = vec![
        (1, Value::ObjectPath(object.to_owned())),
        (2, Value::string(interface)),
        (3, Value::string(member)),
        (6, Value::string(destination)),
    ];
    if !signature.is_empty() {
        fields.push((8, Value::Signature(signature)));
    }
    let fields = fields.into_iter().map(|(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]));
    let mut message = vec![b'l', CALL, 0, 1];
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(serial.to_le_bytes());
    Value::Array("(yv)".to_owned(), fields.collect()).encode(&mut message);
    pad(&mut message, 8);
    message.extend(body);
    message
}

/// A socket where systemd can be asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    is_abstract: bool,
    is_bus: bool,
}

impl Place {
    fn shown(&self) -> String {
        format!("{}{}", if self.is_abstract { "@" } else { "" }, self.path.display())
    }

    fn connect(&self, deadline: Instant) -> std::result::Result<UnixStream, Errno> {
        let address = match self.is_abstract {
            true => UnixAddr::new_abstract(self.path.as_os_str().as_encoded_bytes())?,
            false => UnixAddr::new(&self.path)?,
        };
        let stream = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        // Where nobody accepts and the queue is full, connect(2) waits as long as a write would.
        let left = deadline.saturating_duration_since(Instant::now()).as_millis().max(1) as i64;
        setsockopt(&stream, SendTimeout, &TimeVal::milliseconds(left))?;
        connect(stream.as_raw_fd(), &address)?;
        Ok(UnixStream::from(stream))
    }
}

fn places(owner: Owner) -> Vec<Place> {
    let plain = |path: PathBuf, is_bus| Place { path, is_abstract: false, is_bus };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (private, named, default) = match owner {
        Owner::System => {
            (Some("/run/systemd/private".into()), variable("DBUS_SYSTEM_BUS_ADDRESS"), Some("/run/dbus/system_bus_socket".into()))
        }
        Owner::User => {
            let directory = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
            let below = |name: &str| directory.as_ref().map(|directory| directory.join(name));
            (below("systemd/private"), variable("DBUS_SESSION_BUS_ADDRESS"), below("bus"))
        }
    };
    let mut all: Vec<Place> = private.map(|path| plain(path, false)).into_iter().collect();
    match named {
        Some(addresses) => all.extend(addresses.split(';').filter_map(address)),
        None => all.extend(default.map(|path| plain(path, true))),
    }
    all
}

/// Of a list of addresses (D-Bus Specification, "Server Addresses") one on this machine: "unix:path=/run/bus,guid=...".
pub fn address(text: &str) -> Option<Place> {
    let mut keys = text.strip_prefix("unix:")?.split(',').filter_map(|pair| pair.split_once('='));
    keys.find_map(|(key, value)| {
        let is_abstract = match key {
            "path" => false,
            "abstract" => true,
            _ => return None,
        };
        Some(Place { path: unescaped(value)?.into(), is_abstract, is_bus: true })
    })
}

fn unescaped(value: &str) -> Option<String> {
    let mut parts = value.split('%');
    let mut out = parts.next()?.as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        out.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(out).ok()
}
