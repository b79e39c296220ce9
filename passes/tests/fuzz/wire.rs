//! Edits numbers where a protobuf file has them.

use std::ops::Range;

use fastrand::Rng;

/// Gives some varints (values, lengths, tags) other values of as many bytes, so that the
/// messages around them stay whole.
pub(crate) fn edit(file: &mut [u8], rng: &mut Rng) {
    let mut found = Vec::new();
    varints(file, 0, 0, &mut found);
    for _ in 0..rng.usize(1..4) {
        let Some(range) = rng.choice(&found) else { return };
        let bytes = &mut file[range.clone()];
        let last = bytes.len() - 1;
        let fill = *rng.choice(&[0, 1, 0x3f, 0x7f]).unwrap_or(&0);
        let random = rng.bool();
        for (i, byte) in bytes.iter_mut().enumerate() {
            let value = if random { rng.u8(..0x80) } else { fill };
            *byte = value | if i < last { 0x80 } else { 0 };
        }
    }
}

/// Finds the varints of a message and of what may be messages in it; false if it is none.
fn varints(bytes: &[u8], offset: usize, depth: usize, found: &mut Vec<Range<usize>>) -> bool {
    let (mut at, before) = (0, found.len());
    while at < bytes.len() {
        let Some((key, key_end)) = varint(bytes, at) else { return undo(found, before) };
        found.push(offset + at..offset + key_end);
        let Some((value, end)) = (match key & 7 {
            0 | 2 => varint(bytes, key_end),
            1 => Some((0, key_end + 8)),
            5 => Some((0, key_end + 4)),
            _ => None,
        }) else {
            return undo(found, before);
        };
        at = end;
        if key & 7 == 0 || key & 7 == 2 {
            found.push(offset + key_end..offset + end);
        }
        if key & 7 == 2 {
            let length = usize::try_from(value).unwrap_or(usize::MAX);
            let Some(content) = end.checked_add(length).and_then(|stop| bytes.get(end..stop))
            else {
                return undo(found, before);
            };
            if depth < 8 && content.len() < 4096 || depth < 2 {
                varints(content, offset + end, depth + 1, found);
            }
            at = end + length;
        }
    }
    at == bytes.len() || undo(found, before)
}

fn undo(found: &mut Vec<Range<usize>>, before: usize) -> bool {
    found.truncate(before);
    false
}

fn varint(bytes: &[u8], start: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.get(start..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, start + i + 1));
        }
    }
    None
}
