//! Bugs planted into the start of a node of a cluster: what a node with such a bug would have made of its disk when it
//! serves again is done to the disk before the real one starts. Only runs that must fail use it.

use crate::world::Plant;
use env::{Disk, Open};
use log::{checkpoint, names};
use records::BatchHeader;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Does what the bug would have done.
pub fn before_start(plant: Option<Plant>, disk: &dyn Disk, log_dir: &Path) -> io::Result<()> {
    match plant {
        Some(Plant::CutToHighWatermark) => cut_to_high_watermarks(disk, log_dir),
        _ => Ok(()),
    }
}

/// A follower that cuts its log where it knows that everybody has it, as Apache Kafka's did before KIP-101.
fn cut_to_high_watermarks(disk: &dyn Disk, log_dir: &Path) -> io::Result<()> {
    let Ok(high_watermarks) = checkpoint::read_offsets(disk, &log_dir.join(checkpoint::HIGH_WATERMARKS))
    else {
        return Ok(());
    };
    let path = log_dir.join(checkpoint::RECOVERY_POINTS);
    let mut recovery_points = checkpoint::read_offsets(disk, &path).unwrap_or_default();
    for (partition, high_watermark) in high_watermarks {
        if !partition.topic.starts_with("__") {
            cut(disk, &log_dir.join(names::dir_name(&partition)), high_watermark)?;
            recovery_points.insert(partition, 0);
        }
    }
    checkpoint::write_offsets(disk, &path, &recovery_points)?;
    let clean = log_dir.join(log::CLEAN_SHUTDOWN);
    if disk.exists(&clean) { disk.remove_file(&clean) } else { Ok(()) }
}

fn cut(disk: &dyn Disk, dir: &Path, offset: i64) -> io::Result<()> {
    for entry in disk.list(dir).unwrap_or_default() {
        let path: PathBuf = dir.join(&entry.name);
        match names::parse_file_name(&entry.name) {
            Some((base, names::LOG)) if base < offset || base == 0 => cut_segment(disk, &path, offset)?,
            Some(_) => disk.remove_file(&path)?,
            None => {}
        }
    }
    disk.sync_dir(dir)
}

fn cut_segment(disk: &dyn Disk, path: &Path, offset: i64) -> io::Result<()> {
    let file = disk.open(path, Open::ReadWrite)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(&mut bytes, 0)?;
    let mut kept = 0;
    while let Some(header) = bytes.get(kept..).and_then(BatchHeader::parse) {
        if header.next_offset() > offset || header.batch_len <= 0 {
            break;
        }
        kept += header.bytes();
    }
    if kept < bytes.len() {
        file.set_len(kept as u64)?;
        file.sync_data()?;
    }
    Ok(())
}
