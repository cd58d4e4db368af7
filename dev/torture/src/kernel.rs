//! Two things of Linux that no library offers without unsafe code: a file system that loses its power, and a device for
//! packets. Every use of `unsafe` in this crate is here; each is an ioctl whose argument has the size that the kernel expects.
#![allow(unsafe_code, reason = "an ioctl has no other way in")]

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags};
use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// `EXT4_IOC_SHUTDOWN` (`_IOR('X', 125, __u32)`).
const SHUT_DOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: not even the journal is written any more.
const WITHOUT_LOG: u32 = 2;
/// `TUNSETIFF` (`_IOW('T', 202, int)`).
const SET_INTERFACE: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);
/// `IFF_TUN | IFF_NO_PI`: packets of IP, with nothing before them.
const PACKETS: u16 = 0x1001;
/// The longest name of an interface, with the zero at its end.
const NAME_MAX: usize = 16;

/// `struct ifreq`.
#[repr(C)]
struct Interface {
    name: [u8; NAME_MAX],
    flags: u16,
    rest: [u8; 22],
}

/// The ext4 below `dir` does no more I/O: what was not written is lost, as when the power goes.
pub fn shut_down_file_system(dir: &Path) -> Result<()> {
    let at = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: the kernel reads one u32 from the pointer.
    unsafe { ioctl(at.as_fd(), Setter::<SHUT_DOWN, u32>::new(WITHOUT_LOG)) }.context("EXT4_IOC_SHUTDOWN")
}

/// A new interface `name` in a network namespace (none: in that of this program). What is sent to it is read from the file, and
/// what is written there comes in through it.
pub fn packet_device(namespace: Option<&Path>, name: &str) -> Result<File> {
    std::thread::scope(|scope| {
        // A thread of its own: it does not come back from the namespace.
        let opened = scope.spawn(|| {
            if let Some(path) = namespace {
                let space = File::open(path).with_context(|| format!("opening {}", path.display()))?;
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
            }
            open_packet_device(name)
        });
        opened.join().map_err(|_| anyhow::anyhow!("the thread that opens {name} has panicked"))?
    })
}

fn open_packet_device(name: &str) -> Result<File> {
    ensure!(name.len() < NAME_MAX, "{name} is too long for an interface");
    let mut interface = Interface { name: [0; NAME_MAX], flags: PACKETS, rest: [0; 22] };
    interface.name.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    let device =
        File::options().read(true).write(true).open("/dev/net/tun").context("opening /dev/net/tun")?;
    // SAFETY: the kernel reads and writes one `struct ifreq` of 40 bytes there.
    unsafe { ioctl(device.as_fd(), Setter::<SET_INTERFACE, Interface>::new(interface)) }
        .context("TUNSETIFF")?;
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_those_of_the_kernel() {
        assert_eq!((SHUT_DOWN, SET_INTERFACE), (0x8004_587d, 0x4004_54ca));
        assert_eq!(size_of::<Interface>(), 40);
    }
}
