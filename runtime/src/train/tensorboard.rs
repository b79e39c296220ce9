//! TensorBoard's event files: protobuf messages in TensorFlow's record framing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::{Error, Result};

/// tensorflow/core/util/event.proto, the fields that scalars need.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

/// tensorflow/core/framework/summary.proto
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.START`: TensorBoard drops what earlier files say of this step and later.
const START: i32 = 1;

/// Writes one event file.
pub(super) struct Writer {
    file: File,
}

impl Writer {
    /// A new event file in `folder` for a run that goes on after `step`.
    pub(super) fn create(folder: &Path, step: u64) -> Result<Writer> {
        let failed = |error: io::Error| Error::file(folder, format!("cannot be written: {error}"));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let seconds = now() as u64;
        // TensorBoard reads a run's files in the order of their names.
        let file = (0u32..)
            .map(|n| folder.join(format!("events.out.tfevents.{seconds:010}.{n:03}.advbnn")))
            .map(|path| OpenOptions::new().append(true).create_new(true).open(path))
            .find(|file| !matches!(file, Err(e) if e.kind() == io::ErrorKind::AlreadyExists));
        let file = file.unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()));
        let mut writer = Writer { file: file.map_err(failed)? };
        let version = Some("brain.Event:2".to_owned());
        writer.write(Event { file_version: version, ..Event::default() }).map_err(failed)?;
        let session_log = Some(SessionLog { status: START });
        let first = (step + 1) as i64;
        writer.write(Event { step: first, session_log, ..Event::default() }).map_err(failed)?;
        Ok(writer)
    }

    /// Adds scalars, named by their tags, at `step`.
    pub(super) fn scalars(&mut self, step: u64, scalars: Vec<(String, f64)>) -> io::Result<()> {
        let scalar = |(tag, value)| Scalar { tag, simple_value: Some(value as f32) };
        let summary = Some(Summary { value: scalars.into_iter().map(scalar).collect() });
        self.write(Event { step: step as i64, summary, ..Event::default() })
    }

    fn write(&mut self, event: Event) -> io::Result<()> {
        let event = Event { wall_time: now(), ..event };
        self.file.write_all(&record(&event.encode_to_vec()))
    }
}

/// Length, masked CRC of the length, data, masked CRC of the data; little-endian.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

/// CRC-32C turned and shifted, so that the CRC of data that holds CRCs stays useful
/// (tensorflow/core/lib/hash/crc32c.h).
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What `RecordWriter.write(b"abc")` of TensorBoard's Python package writes.
    #[test]
    fn records_are_framed_as_tensorboard_does() {
        let expected = b"\x03\0\0\0\0\0\0\0\xb0\x99\x49\x0eabc\x6e\x57\xf1\x21";
        assert_eq!(record(b"abc"), expected);
    }

    #[test]
    fn events_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path(), 4).unwrap();
        writer.scalars(5, vec![("loss".to_owned(), 0.25)]).unwrap();
        Writer::create(folder.path(), 5).unwrap();
        let mut paths: Vec<_> =
            folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert_eq!(paths.len(), 2, "a resumed run never writes into an old file");
        let bytes = std::fs::read(&paths[0]).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while let Some((length, _)) = rest.split_first_chunk::<8>() {
            let length = u64::from_le_bytes(*length) as usize;
            let data = &rest[12..12 + length];
            assert_eq!(record(data), rest[..length + 16]);
            events.push(Event::decode(data).unwrap());
            rest = &rest[length + 16..];
        }
        let [version, start, loss] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(version.file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((start.step, &start.session_log), (5, &Some(SessionLog { status: START })));
        let value = Scalar { tag: "loss".to_owned(), simple_value: Some(0.25) };
        assert_eq!((loss.step, loss.summary.clone().unwrap().value), (5, vec![value]));
    }
}
