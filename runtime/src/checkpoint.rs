//! Tensors and where a run stands, in one safetensors file that any tool can read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use graphs::{DType, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::whole_file::write_whole;
use crate::{Error, Result};

/// The metadata key of [`Header`].
const KEY: &str = "advbnn";
/// Counts up when older versions could misread a file.
const FORMAT: u32 = 1;

/// What stands beside the tensors, as JSON.
#[derive(Serialize, Deserialize)]
struct Header<R> {
    format: u32,
    /// CRC-32C of the tensors' bytes in the order of the file.
    checksum: u32,
    run: R,
}

/// Writes tensors, and as `run` where the run stands, whole or not at all.
///
/// # Errors
/// When a tensor has a type that safetensors lacks, or the file cannot be written; an
/// older file at `path` is then unharmed.
pub fn write<R: Serialize>(path: &Path, tensors: &BTreeMap<String, Tensor>, run: &R) -> Result<()> {
    let mut tensors: Vec<(&String, &Tensor)> = tensors.iter().collect();
    // Wide types first keeps every tensor aligned.
    tensors.sort_by_key(|(_, tensor)| Reverse(tensor.dtype().bits()));
    let bytes = || tensors.iter().map(|(_, tensor)| tensor.bytes());
    let checksum = bytes().fold(0, |crc, bytes| crc32c::crc32c_append(crc, bytes));
    let header = header(&tensors, &Header { format: FORMAT, checksum, run })
        .map_err(|reason| Error::file(path, reason))?;
    write_whole(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        bytes().try_for_each(|bytes| file.write_all(bytes))
    })
}

fn header<R: Serialize>(tensors: &[(&String, &Tensor)], header: &R) -> Result<Vec<u8>, String> {
    let mut end = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for &(name, tensor) in tensors {
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        let dtype =
            stored(dtype).ok_or_else(|| format!("`{name}` is {dtype}, which cannot be saved"))?;
        let start = end;
        end += tensor.bytes().len();
        infos.push((name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) }));
    }
    let header = serde_json::to_string(header).map_err(|error| error.to_string())?;
    let metadata = HashMap::from([(KEY.to_owned(), header)]);
    let metadata = Metadata::new(Some(metadata), infos).map_err(|error| error.to_string())?;
    let mut text = serde_json::to_vec(&metadata).map_err(|error| error.to_string())?;
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// When the file is missing, damaged, of a newer version, or no checkpoint.
pub fn read<R: DeserializeOwned>(path: &Path) -> Result<(BTreeMap<String, Tensor>, R)> {
    let failed = |reason: String| Error::file(path, reason);
    let damaged = |reason: String| {
        failed(format!("this is no checkpoint, or a damaged one: {reason}; use another one"))
    };
    let bytes = fs::read(path).map(Bytes::from).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("there is no such checkpoint".to_owned()),
        _ => failed(format!("cannot be read: {error}")),
    })?;
    let (_, metadata) =
        SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let header = header.ok_or_else(|| damaged(format!("it has no metadata `{KEY}`")))?;
    check_format(header).map_err(failed)?;
    let header: Header<R> =
        serde_json::from_str(header).map_err(|error| damaged(error.to_string()))?;

    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    let mut checksum = 0;
    for name in metadata.offset_keys() {
        let view = file.tensor(&name).map_err(|error| damaged(error.to_string()))?;
        checksum = crc32c::crc32c_append(checksum, view.data());
        let dtype = DTYPES.iter().find(|(_, stored)| *stored == view.dtype());
        let (dtype, _) =
            dtype.ok_or_else(|| damaged(format!("`{name}` is of type {}", view.dtype())))?;
        let data = bytes.slice_ref(view.data());
        tensors.insert(name, Tensor::from_bytes(*dtype, view.shape().to_vec(), data)?);
    }
    if checksum != header.checksum {
        return Err(damaged("its checksum is wrong".to_owned()));
    }
    Ok((tensors, header.run))
}

fn check_format(header: &str) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    match serde_json::from_str(header) {
        Ok(Version { format }) if format > FORMAT => Err(format!(
            "the checkpoint has format {format}, and this version reads {FORMAT}; update it"
        )),
        _ => Ok(()),
    }
}

const DTYPES: [(DType, Dtype); 13] = [
    (DType::F32, Dtype::F32),
    (DType::F64, Dtype::F64),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I8, Dtype::I8),
    (DType::I16, Dtype::I16),
    (DType::I32, Dtype::I32),
    (DType::I64, Dtype::I64),
    (DType::U8, Dtype::U8),
    (DType::U16, Dtype::U16),
    (DType::U32, Dtype::U32),
    (DType::U64, Dtype::U64),
    (DType::Bool, Dtype::BOOL),
];

fn stored(dtype: DType) -> Option<Dtype> {
    DTYPES.iter().find(|(ours, _)| *ours == dtype).map(|(_, stored)| *stored)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tensors() -> BTreeMap<String, Tensor> {
        BTreeMap::from([
            ("odd".to_owned(), Tensor::vector(&[1u8, 2, 3])),
            ("steps".to_owned(), Tensor::vector(&[7i64])),
            ("weight".to_owned(), Tensor::new(&[2, 1], vec![0.5f32, f32::MIN_POSITIVE]).unwrap()),
        ])
    }

    #[test]
    fn tensors_and_position_round_trip_and_any_reader_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        write(&path, &tensors(), &41u64).unwrap();
        assert_eq!(read::<u64>(&path).unwrap(), (tensors(), 41));
        let bytes = fs::read(&path).unwrap();
        assert_eq!(SafeTensors::deserialize(&bytes).unwrap().len(), 3);
        write(&path, &tensors(), &41u64).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "the same state makes the same file");
    }

    #[test]
    fn every_damage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        write(&path, &tensors(), &41u64).unwrap();
        let good = fs::read(&path).unwrap();
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(read::<u64>(&path).is_err(), "cut to {length} bytes");
        }
        let data = good.len() - 19;
        for position in data..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(&path, bad).unwrap();
            let error = read::<u64>(&path).unwrap_err().to_string();
            assert!(error.contains("checksum"), "{error}");
        }
        let text = String::from_utf8_lossy(&good[8..data]).replace("format\\\":1", "format\\\":9");
        let mut newer = good[..8].to_vec();
        newer.extend(text.bytes().chain(good[data..].iter().copied()));
        fs::write(&path, newer).unwrap();
        let error = read::<u64>(&path).unwrap_err().to_string();
        assert!(error.contains("has format 9"), "{error}");
        fs::remove_file(&path).unwrap();
        assert!(read::<u64>(&path).unwrap_err().to_string().contains("no such checkpoint"));
    }

    #[test]
    fn other_safetensors_files_are_no_checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.safetensors");
        let view = safetensors::tensor::TensorView::new(Dtype::U8, vec![1], &[3]).unwrap();
        fs::write(&path, safetensors::serialize([("a", view)], None).unwrap()).unwrap();
        assert!(read::<u64>(&path).unwrap_err().to_string().contains("no metadata"));
    }
}
