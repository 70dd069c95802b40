//! Network devices that move into a container and, where its launch fails, back: rtnetlink(7).
//!
//! A netlink socket belongs to the network namespace in which it was made. Init makes one inside and hands it out, so everything is decided
//! and asked for here, and the caller never enters the container's namespace.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{recv, send, socket, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};

use crate::error::{Context, Result};
use crate::plan::NetDevice;

/// linux/netlink.h and linux/rtnetlink.h: a header, what the message is about, then attributes; all multiples of four bytes.
const HEADER: usize = 16;
const LINK_INFO: usize = 16;
const ADDRESS_INFO: usize = 8;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE_EXCLUSIVE: u16 = 0x600;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_PERMANENT: u32 = 0x80;
const IFF_UP: u32 = 1;
const BUFFER: usize = 64 << 10;

/// The devices of one launch that are inside by now.
pub struct Moved {
    inside: OwnedFd,
    devices: Vec<Kept>,
}

/// What a device was before: a change of namespace takes addresses away, and sets it down.
struct Kept {
    device: NetDevice,
    addresses: Vec<Address>,
    up: bool,
    /// It has its new name.
    renamed: bool,
}

impl Moved {
    /// `inside`: a socket of the container's namespace, where no device is yet.
    pub fn new(inside: OwnedFd) -> Self {
        Moved { inside, devices: Vec::new() }
    }

    /// Moves each device into `namespace`, which is that of `inside`, with its new name and its addresses, and sets it up.
    pub fn bring(&mut self, namespace: BorrowedFd<'_>, devices: &[NetDevice]) -> Result<()> {
        let (outside, inside) = (open()?, self.inside.as_fd());
        for device in devices {
            let NetDevice { name, inside: new } = device;
            let found = link(outside.as_fd(), name).at("find network device", name)?;
            let addresses = addresses(outside.as_fd(), found.index).at("read the addresses of network device", name)?;
            self.devices.push(Kept { device: device.clone(), addresses, up: found.up, renamed: false });
            let Some(kept) = self.devices.last_mut() else { continue };
            transfer(outside.as_fd(), found.index, namespace, new).at("move network device", name)?;
            kept.renamed = true;
            settle(inside, new, &kept.addresses, true).at("set up network device", new)?;
        }
        Ok(())
    }

    /// After a failed launch: the host has them again as they were. The first error is the one that counts, so none is told here.
    pub fn back(self) {
        let (Ok(outside), Ok(namespace)) = (open(), std::fs::File::open("/proc/self/ns/net")) else { return };
        for Kept { device, addresses, up, renamed } in &self.devices {
            // The kernel renames after the move: where that failed, the device is inside with its old name, unless it never left.
            let current = if *renamed { &device.inside } else { &device.name };
            if !renamed && link(outside.as_fd(), &device.name).is_ok() {
                continue;
            }
            let _ = link(self.inside.as_fd(), current)
                .and_then(|found| transfer(self.inside.as_fd(), found.index, namespace.as_fd(), &device.name))
                .and_then(|()| settle(outside.as_fd(), &device.name, addresses, *up));
        }
    }
}

type Asked<T> = std::result::Result<T, Errno>;

fn open() -> Result<OwnedFd> {
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute).op("open a netlink socket")
}

fn transfer(from: BorrowedFd<'_>, index: u32, namespace: BorrowedFd<'_>, name: &str) -> Asked<()> {
    let attributes = [(IFLA_NET_NS_FD, (namespace.as_raw_fd() as u32).to_ne_bytes().to_vec()), (IFLA_IFNAME, text(name))];
    ask(from, Message::new(libc::RTM_NEWLINK, NLM_F_ACK, &link_info(index, 0, 0)).with(&attributes)).map(drop)
}

fn settle(socket: BorrowedFd<'_>, name: &str, addresses: &[Address], up: bool) -> Asked<()> {
    let index = link(socket, name)?.index;
    for address in addresses {
        let adding = Message::new(libc::RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE_EXCLUSIVE, &address.info(index)).with(&address.attributes);
        ask(socket, adding)?;
    }
    if up {
        ask(socket, Message::new(libc::RTM_NEWLINK, NLM_F_ACK, &link_info(index, IFF_UP, IFF_UP)))?;
    }
    Ok(())
}

struct Link {
    index: u32,
    up: bool,
}

fn link(socket: BorrowedFd<'_>, name: &str) -> Asked<Link> {
    let wanted = Message::new(libc::RTM_GETLINK, 0, &link_info(0, 0, 0)).with(&[(IFLA_IFNAME, text(name))]);
    let answer = ask(socket, wanted)?;
    let info = answer.first().filter(|info| info.len() >= LINK_INFO).ok_or(Errno::ENODEV)?;
    Ok(Link { index: word(info, 4), up: word(info, 8) & IFF_UP != 0 })
}

/// struct ifinfomsg.
fn link_info(index: u32, flags: u32, change: u32) -> [u8; LINK_INFO] {
    let mut info = [0; LINK_INFO];
    info[4..8].copy_from_slice(&index.to_ne_bytes());
    info[8..12].copy_from_slice(&flags.to_ne_bytes());
    info[12..].copy_from_slice(&change.to_ne_bytes());
    info
}

struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// struct ifaddrmsg.
    fn info(&self, index: u32) -> [u8; ADDRESS_INFO] {
        let mut info = [self.family, self.prefix, 0, libc::RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
        info[4..].copy_from_slice(&index.to_ne_bytes());
        info
    }
}

/// Those that config-linux.md wants kept: permanent and of global scope. The others the kernel makes anew.
fn addresses(socket: BorrowedFd<'_>, index: u32) -> Asked<Vec<Address>> {
    let answer = ask(socket, Message::new(libc::RTM_GETADDR, NLM_F_DUMP, &[0; ADDRESS_INFO]))?;
    let mut found = Vec::new();
    for message in answer.iter().filter(|message| message.len() >= ADDRESS_INFO && word(message, 4) == index) {
        let mut flags = u32::from(message[2]);
        let mut attributes = Vec::new();
        for (kind, value) in split(&message[ADDRESS_INFO..]) {
            match kind {
                IFA_FLAGS if value.len() >= 4 => flags = word(value, 0),
                IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST => attributes.push((kind, value.to_vec())),
                _ => {}
            }
        }
        if message[3] == libc::RT_SCOPE_UNIVERSE && flags & IFA_F_PERMANENT != 0 {
            // It was found to be nobody else's already.
            attributes.push((IFA_FLAGS, (IFA_F_PERMANENT | IFA_F_NODAD).to_ne_bytes().to_vec()));
            found.push(Address { family: message[0], prefix: message[1], attributes });
        }
    }
    Ok(found)
}

struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, info: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend_from_slice(info);
        Message(bytes)
    }

    fn with(mut self, attributes: &[(u16, Vec<u8>)]) -> Self {
        for (kind, value) in attributes {
            self.0.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
            self.0.extend_from_slice(&kind.to_ne_bytes());
            self.0.extend_from_slice(value);
            self.0.resize(self.0.len().next_multiple_of(4), 0);
        }
        self
    }
}

/// Sends it and collects what comes back, without headers, up to the end of the answer.
fn ask(socket: BorrowedFd<'_>, mut message: Message) -> Asked<Vec<Vec<u8>>> {
    let length = message.0.len() as u32;
    message.0[..4].copy_from_slice(&length.to_ne_bytes());
    let many = half(&message.0, 6) & NLM_F_DUMP == NLM_F_DUMP;
    send(socket.as_raw_fd(), &message.0, MsgFlags::empty())?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    loop {
        let count = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            received => received?,
        };
        let mut rest = &buffer[..count];
        while rest.len() >= HEADER {
            let length = (word(rest, 0) as usize).clamp(HEADER, rest.len());
            let body = &rest[HEADER..length];
            match half(rest, 4) {
                NLMSG_ERROR if body.len() >= 4 => {
                    return match word(body, 0) as i32 {
                        0 => Ok(answer),
                        errno => Err(Errno::from_raw(-errno)),
                    }
                }
                NLMSG_DONE => return Ok(answer),
                _ => answer.push(body.to_vec()),
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        if !many && !answer.is_empty() {
            return Ok(answer);
        }
    }
}

fn split(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut attributes = Vec::new();
    while rest.len() >= 4 {
        let length = usize::from(half(rest, 0)).clamp(4, rest.len());
        attributes.push((half(rest, 2), &rest[4..length]));
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    attributes
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}
