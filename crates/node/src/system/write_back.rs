//! Paced write-back by Linux' `sync_file_range`: dirty pages of a range start on their way to the disk, so that they
//! never pile up until the kernel makes a writer wait for hundreds of milliseconds.
//!
//! It promises no durability; `fdatasync` does.

use std::{fs::File, os::fd::AsRawFd};

/// Starts writing the range back and does not wait. A hint: errors are of no consequence.
pub(super) fn start(file: &File, position: u64, len: u64) {
    let (Ok(position), Ok(len)) = (i64::try_from(position), i64::try_from(len)) else { return };
    #[allow(
        unsafe_code,
        reason = "rustix has no sync_file_range; the call takes a descriptor and three integers"
    )]
    // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is passed.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), position, len, libc::SYNC_FILE_RANGE_WRITE);
    }
}
