//! NumPy's array files: a magic string, a version, the length of a header, the header as a
//! Python dictionary of `descr`, `fortran_order` and `shape`, and then the elements.
//! Described at <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::Read;

/// A header longer than this describes no array of images.
const LONGEST_HEADER: usize = 1 << 16;

/// What the elements of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

/// An array's header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
}

impl Element {
    fn parse(descr: &str) -> Option<Element> {
        // `=` would be the writer's own byte order; NumPy never writes it.
        let (order, kind) = descr.split_at_checked(1)?;
        Some(match (order, kind) {
            ("|" | "<", "u1") => Element::U8,
            ("|" | "<", "i1") => Element::I8,
            ("<", "u2") => Element::U16,
            ("<", "i2") => Element::I16,
            ("<", "u4") => Element::U32,
            ("<", "i4") => Element::I32,
            ("<", "u8") => Element::U64,
            ("<", "i8") => Element::I64,
            ("<", "f2") => Element::F16,
            ("<", "f4") => Element::F32,
            ("<", "f8") => Element::F64,
            _ => return None,
        })
    }

    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        match self {
            Element::U8 | Element::I8 => 1,
            Element::U16 | Element::I16 | Element::F16 => 2,
            Element::U32 | Element::I32 | Element::F32 => 4,
            Element::U64 | Element::I64 | Element::F64 => 8,
        }
    }

    /// Whether it is a floating-point number.
    pub(super) fn is_float(self) -> bool {
        matches!(self, Element::F16 | Element::F32 | Element::F64)
    }

    /// The float in `bytes`, which are [`Element::size`] many; `None` for integers.
    pub(super) fn float(self, bytes: &[u8]) -> Option<f64> {
        Some(match self {
            Element::F16 => half::f16::from_le_bytes(bytes.try_into().ok()?).to_f64(),
            Element::F32 => f64::from(f32::from_le_bytes(bytes.try_into().ok()?)),
            Element::F64 => f64::from_le_bytes(bytes.try_into().ok()?),
            _ => return None,
        })
    }

    /// The integer in `bytes`, which are [`Element::size`] many; `None` for floats and
    /// beyond 64 bits with a sign.
    pub(super) fn integer(self, bytes: &[u8]) -> Option<i64> {
        Some(match self {
            Element::U8 => i64::from(*bytes.first()?),
            Element::I8 => i64::from(i8::from_le_bytes(bytes.try_into().ok()?)),
            Element::U16 => i64::from(u16::from_le_bytes(bytes.try_into().ok()?)),
            Element::I16 => i64::from(i16::from_le_bytes(bytes.try_into().ok()?)),
            Element::U32 => i64::from(u32::from_le_bytes(bytes.try_into().ok()?)),
            Element::I32 => i64::from(i32::from_le_bytes(bytes.try_into().ok()?)),
            Element::U64 => i64::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()?,
            Element::I64 => i64::from_le_bytes(bytes.try_into().ok()?),
            _ => return None,
        })
    }
}

impl Header {
    /// Reads up to the first element.
    ///
    /// # Errors
    /// Says what is wrong: no NumPy array, a version or element that is not known, Fortran
    /// order, or a truncated or malformed header.
    pub(super) fn read(reader: &mut impl Read) -> Result<Header, String> {
        let truncated = |error: std::io::Error| format!("the header cannot be read: {error}");
        let mut start = [0; 8];
        reader.read_exact(&mut start).map_err(truncated)?;
        let length = match start {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _] => {
                let mut length = [0; 2];
                reader.read_exact(&mut length).map_err(truncated)?;
                usize::from(u16::from_le_bytes(length))
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _] => {
                let mut length = [0; 4];
                reader.read_exact(&mut length).map_err(truncated)?;
                u32::from_le_bytes(length) as usize
            }
            _ => return Err("not a NumPy array of version 1 to 3".to_owned()),
        };
        if length > LONGEST_HEADER {
            return Err(format!("a header of {length} bytes is none"));
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(truncated)?;
        Header::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Result<Header, String> {
        let field = |key: &str| {
            let after = text.split_once(key).map(|(_, after)| after);
            after.ok_or_else(|| format!("the header lacks {key}"))
        };
        let descr = field("'descr':")?;
        let descr = descr.trim_start().strip_prefix('\'').and_then(|text| text.split_once('\''));
        let Some((descr, _)) = descr else {
            return Err("its elements are records; give one plain array".to_owned());
        };
        let element = Element::parse(descr).ok_or_else(|| {
            format!("elements `{descr}`; use little-endian integers, or floats of 16 to 64 bits")
        })?;
        if !field("'fortran_order':")?.trim_start().starts_with("False") {
            return Err("its elements are in Fortran order; save np.ascontiguousarray(...)".into());
        }
        let shape = field("'shape':")?.trim_start().strip_prefix('(');
        let Some((shape, _)) = shape.and_then(|text| text.split_once(')')) else {
            return Err("the header's shape is no tuple".to_owned());
        };
        let dimensions = shape.split(',').map(str::trim).filter(|part| !part.is_empty());
        let shape: Option<Vec<usize>> = dimensions.map(|part| part.parse().ok()).collect();
        let shape = shape.ok_or("the header's shape has a dimension that is no size")?;
        Ok(Header { element, shape })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(version: u8, text: &str) -> Vec<u8> {
        let mut file = b"\x93NUMPY".to_vec();
        file.extend([version, 0]);
        match version {
            1 => file.extend((text.len() as u16).to_le_bytes()),
            _ => file.extend((text.len() as u32).to_le_bytes()),
        }
        file.extend(text.as_bytes());
        file
    }

    #[test]
    fn headers_of_all_versions_are_read() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }     \n";
        for version in 1..=3 {
            let header = Header::read(&mut file(version, text).as_slice()).unwrap();
            assert_eq!(header, Header { element: Element::F32, shape: vec![2, 3, 4] });
        }
        let one = "{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }\n";
        assert_eq!(Header::read(&mut file(1, one).as_slice()).unwrap().shape, [5]);
    }

    #[test]
    fn elements_keep_their_value() {
        assert_eq!(Element::F16.float(&half::f16::from_f32(0.5).to_le_bytes()), Some(0.5));
        assert_eq!(Element::F64.float(&0.25f64.to_le_bytes()), Some(0.25));
        assert_eq!(Element::I16.integer(&(-3i16).to_le_bytes()), Some(-3));
        assert_eq!(Element::U64.integer(&u64::MAX.to_le_bytes()), None);
        assert_eq!(Element::U8.integer(&[200]), Some(200));
    }

    #[test]
    fn defects_are_named() {
        let header = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")
        };
        for (content, expected) in [
            (file(1, &header("'<U5'", "False", "(2,)")), "elements `<U5`"),
            (file(1, &header("'>f4'", "False", "(2,)")), "elements `>f4`"),
            (file(1, &header("[('a', '<f4')]", "False", "(2,)")), "records"),
            (file(1, &header("'<f4'", "True", "(2,)")), "Fortran order"),
            (file(1, &header("'<f4'", "False", "(-2,)")), "no size"),
            (file(1, &header("'<f4'", "False", "2")), "no tuple"),
            (file(1, "{}"), "lacks 'descr':"),
            (file(4, ""), "not a NumPy array"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "is none"),
            (file(1, &header("'<f4'", "False", "(2,)"))[..20].to_vec(), "cannot be read"),
            (Vec::new(), "cannot be read"),
        ] {
            let error = Header::read(&mut content.as_slice()).unwrap_err();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
