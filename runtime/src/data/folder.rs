//! Folders of class folders of pictures.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rayon::prelude::*;

use super::dataset::byte_count;
use super::listing::{Listing, entries};
use super::{Dataset, Format, Request, Split, picture};
use crate::{Error, Result};

pub(super) const FORMAT: Format =
    Format { name: "folders of images", numbers: false, matches, load };

/// The folder names of the splits; `val` is ImageNet's.
const SPLIT_FOLDERS: &[(&str, Split)] =
    &[("train", Split::Train), ("test", Split::Test), ("val", Split::Test)];

/// A picture file and its label.
struct Item {
    path: PathBuf,
    label: usize,
}

fn matches(listing: &Listing) -> bool {
    !listing.folders.is_empty()
}

fn load(listing: &Listing, request: &Request) -> Result<Dataset> {
    let (folder, classes) = find(listing, request.split)?;
    let mut items = list(&folder, &classes)?;
    items.truncate(request.limit.unwrap_or(usize::MAX));
    let Some(first) = items.first() else {
        return Err(Error::file(&folder, "no images in its class folders"));
    };
    let shape = request.shape.map_or_else(|| common_shape(first, &items), Ok)?;
    let mut pixels = vec![0; byte_count(&folder, items.len(), shape)?];
    let done = AtomicUsize::new(0);
    pixels.par_chunks_exact_mut(shape.iter().product()).zip(&items).try_for_each(
        |(pixels, item)| -> Result<()> {
            picture::decode(&item.path, shape, pixels)?;
            (request.progress)(done.fetch_add(1, Relaxed) + 1, items.len());
            Ok(())
        },
    )?;
    let labels: Vec<i64> = items.iter().map(|item| item.label as i64).collect();
    let names = classes.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    Dataset::new(shape, pixels, labels, names).map_err(|error| Error::file(&folder, error))
}

/// The folder of `split`, and the sorted names of the classes of all splits: one that
/// lacks a class still gives the others their labels.
fn find(listing: &Listing, split: Split) -> Result<(PathBuf, BTreeSet<OsString>)> {
    let splits: Vec<(&PathBuf, Split)> = SPLIT_FOLDERS
        .iter()
        .filter_map(|&(name, split)| {
            Some((listing.folders.iter().find(|path| path.ends_with(name))?, split))
        })
        .collect();
    if splits.is_empty() {
        return Ok((listing.root.clone(), names(&listing.folders)));
    }
    let Some((folder, _)) = splits.iter().find(|(_, found)| *found == split) else {
        return Err(Error::file(&listing.root, format!("no folder for the {split} split here")));
    };
    let mut classes = BTreeSet::new();
    for (folder, _) in &splits {
        classes.extend(names(&folders(folder)?));
    }
    Ok((folder.to_path_buf(), classes))
}

fn names(paths: &[PathBuf]) -> BTreeSet<OsString> {
    paths.iter().filter_map(|path| path.file_name()).map(OsString::from).collect()
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(path)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// The pictures of `folder`, so mixed that every beginning of the list holds the classes
/// in proportion; sorted by name within a class.
fn list(folder: &Path, classes: &BTreeSet<OsString>) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for (label, name) in classes.iter().enumerate() {
        let class = folder.join(name);
        let files = if class.is_dir() { entries(&class)? } else { Vec::new() };
        let count = files.len();
        let ranked = files.into_iter().enumerate();
        items.extend(ranked.map(|(rank, path)| ((2 * rank + 1, count), Item { path, label })));
    }
    items.sort_by(|(a, _), (b, _)| compare_fractions(*a, *b));
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

fn compare_fractions((a, of_a): (usize, usize), (b, of_b): (usize, usize)) -> Ordering {
    (a as u128 * of_b as u128).cmp(&(b as u128 * of_a as u128))
}

/// The shape of the first picture, with one channel only if all are grey.
fn common_shape(first: &Item, items: &[Item]) -> Result<[usize; 3]> {
    let [channels, height, width] = picture::probe(&first.path)?;
    let grey = |item: &Item| picture::probe(&item.path).map(|[channels, ..]| channels == 1);
    let coloured = channels == 3 || !items.par_iter().map(grey).all(|grey| grey.unwrap_or(true));
    Ok([if coloured { 3 } else { 1 }, height, width])
}

#[cfg(test)]
mod tests;
