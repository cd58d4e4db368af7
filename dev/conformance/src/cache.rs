//! The place outside the tree where clients, their libraries and the data set are installed once.
//! It is not part of the build: everything in it can be deleted and comes again with the next run.
//! Called by `clients` and `server`, one directory for each set of pinned versions.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root: `$ODRADEK_CACHE`, or `odradek` in the user's cache directory.
pub fn root() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("ODRADEK_CACHE") {
        return Ok(PathBuf::from(dir));
    }
    let home =
        std::env::var_os("HOME").context("set ODRADEK_CACHE, there is no HOME to keep the clients under")?;
    Ok(PathBuf::from(home).join(".cache/odradek"))
}

/// A directory called `name`, filled by `install` unless it was already filled from the same bytes of `pinned`.
///
/// A lock beside it keeps two runs from installing at once; a half-done installation is thrown away and repeated.
pub fn installed(
    name: &str,
    pinned: &[PathBuf],
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    for file in pinned {
        fs::read(file).with_context(|| format!("reading {}", file.display()))?.hash(&mut hasher);
    }
    let root = root()?;
    fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
    let dir = root.join(format!("{name}-{:016x}", hasher.finish()));
    let lock = fs::File::create(dir.with_extension("lock"))?;
    lock.lock()?;
    let done = dir.join(".installed");
    if !done.exists() {
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        install(&dir).with_context(|| format!("installing {name} into {}", dir.display()))?;
        fs::write(&done, "")?;
    }
    Ok(dir)
}
