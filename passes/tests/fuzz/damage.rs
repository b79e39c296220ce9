//! Ways to damage a file.

use fastrand::Rng;

use crate::seeds::Seeds;
use crate::{structure, wire};

/// A file with one to four kinds of damage, now and then none.
pub(crate) fn damaged(seeds: &Seeds, rng: &mut Rng) -> Vec<u8> {
    let mut file = seed(seeds, rng).clone();
    for _ in 0..rng.usize(..3) {
        match rng.usize(..8) {
            0 => flip(&mut file, rng),
            1 => file.truncate(rng.usize(..=file.len())),
            2 => splice(&mut file, seed(seeds, rng), rng),
            3 => repeat(&mut file, rng),
            4 => wire::edit(&mut file, rng),
            _ => structure::change(&mut file, seeds, rng),
        }
    }
    file
}

fn seed<'s>(seeds: &'s Seeds, rng: &mut Rng) -> &'s Vec<u8> {
    let of = if rng.bool() { &seeds.models } else { &seeds.calls };
    &of[rng.usize(..of.len())]
}

/// Changes some bits or bytes.
fn flip(file: &mut [u8], rng: &mut Rng) {
    for _ in 0..rng.usize(1..8) {
        // The start of a file is where the fewest bytes are elements of tensors.
        let end = if rng.bool() { file.len() } else { file.len().min(600) };
        if end > 0 {
            let at = rng.usize(..end);
            file[at] = if rng.bool() { file[at] ^ (1 << rng.u32(..8)) } else { rng.u8(..) };
        }
    }
}

fn part(length: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let start = rng.usize(..=length);
    start..length.min(start + rng.usize(..200))
}

/// Puts a part of another file in the place of a part of this one.
fn splice(file: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    let (here, there) = (part(file.len(), rng), part(other.len(), rng));
    file.splice(here, other[there].iter().copied());
}

/// Says a part of the file several times.
fn repeat(file: &mut Vec<u8>, rng: &mut Rng) {
    let part = part(file.len(), rng);
    let copy = file[part.clone()].repeat(rng.usize(1..20));
    file.splice(part.end..part.end, copy);
}
