//! The mark of a log that was found damaged while it was open: no start believes such a log before all of it was read.
//!
//! Where recovery finds the damage it finds it at every start; but what a read or a scrub has found may lie where no start
//! looks. It decides nothing: `broker` sets the mark, and whether the log is discarded too.

use crate::{
    Durability, OpenError, OpenOptions, Scrubbed, directory::Directory, handles::Handles, loaded::Loader,
    names, scrub::Scrub,
};
use env::Disk;
use model::Offset;
use std::{io, path::Path, sync::Arc};

/// Sets the mark; `why` is for whoever looks into the file.
pub fn write(disk: &dyn Disk, dir: &Path, why: &str) -> io::Result<()> {
    env::write_whole(disk, &dir.join(names::DAMAGE), format!("{why}\n").as_bytes())
}

/// Reads everything that is known to have been on stable storage; if it is sound, somebody has repaired it, and the mark
/// goes.
pub(crate) fn check(
    loader: &Loader<'_>,
    options: &OpenOptions,
    directory: &Directory,
) -> Result<(), OpenError> {
    let dir = loader.handles.dir();
    let handles = Arc::new(Handles::new(dir.to_path_buf()));
    let known = if options.clean { Offset::MAX } else { options.recovery_point };
    let bases: Vec<_> = directory.segments.iter().map(|(base, files)| (*base, files.log)).collect();
    for (place, (base, size)) in bases.iter().enumerate() {
        let next = bases.get(place + 1).map(|(next, _)| *next);
        // With durable acknowledgements no segment follows one that was not synced.
        let is_synced = |next: &Offset| options.config.durability == Durability::Fsync || *next <= known;
        let next = next.filter(is_synced);
        let upto = next.unwrap_or(known);
        let mut scrub = Scrub::new(handles.clone(), options.config.clone(), (*base, next, *size), upto);
        loop {
            match scrub.step(loader.disk, u64::MAX)? {
                Scrubbed::More(_) => {}
                Scrubbed::Sound { .. } => break,
                Scrubbed::Damaged(damage) => return Err(damage.into()),
            }
        }
    }
    loader.disk.remove_file(&dir.join(names::DAMAGE))?;
    Ok(loader.disk.sync_dir(&dir)?)
}
