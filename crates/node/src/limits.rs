//! What the node asks of the system for its process at its start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of open files to what the system allows, and gives it; every connection and active segment is
/// one.
pub(crate) fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, current = ?limit.current, "the limit of open files could not be raised; see ulimit -n");
    }
    let allowed = getrlimit(Resource::Nofile).current;
    allowed.and_then(|allowed| usize::try_from(allowed).ok()).unwrap_or(usize::MAX)
}

/// Has memory counted in pages of 4 KiB. The allocator asks for huge pages, and each small thing that lies alone in one
/// then costs 2 MiB: an idle node of 13 MiB had 28.
pub(crate) fn keep_pages_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::info!(%error, "huge pages could not be turned off; the node may take more memory");
    }
}
