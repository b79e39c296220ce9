//! Values that live in an engine between runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use graphs::{DType, Tensor};

use super::{Feed, onnxruntime, tract};
use crate::install::Provider;
use crate::{Error, Result};

/// Values by name, in the engine's own buffers: parameters, running statistics,
/// optimizer moments, the images under attack. All programs of an engine read and write
/// the same state, so that each value exists once.
#[derive(Debug)]
pub struct State {
    home: Home,
    /// No buffer is written to again once it is here, so states may share them.
    buffers: BTreeMap<String, Arc<Buffer>>,
}

/// Whose buffers a state holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    Tract,
    OnnxRuntime(Provider),
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Home::Tract => f.write_str(tract::NAME),
            Home::OnnxRuntime(provider) => write!(f, "{} on {provider}", onnxruntime::NAME),
        }
    }
}

/// One value in the buffer of an engine.
#[derive(Debug)]
pub(super) enum Buffer {
    Tract(tract::Value),
    OnnxRuntime(onnxruntime::Value),
}

impl Buffer {
    /// Element type, if it is one of ONNX's, and shape.
    pub(super) fn fact(&self) -> (Option<DType>, Vec<usize>) {
        match self {
            Buffer::Tract(value) => tract::fact(value),
            Buffer::OnnxRuntime(value) => onnxruntime::fact(value),
        }
    }

    pub(super) fn tract(&self) -> Result<&tract::Value> {
        match self {
            Buffer::Tract(value) => Ok(value),
            Buffer::OnnxRuntime(_) => Err(foreign(onnxruntime::NAME, tract::NAME)),
        }
    }

    pub(super) fn onnxruntime(&self) -> Result<&onnxruntime::Value> {
        match self {
            Buffer::OnnxRuntime(value) => Ok(value),
            Buffer::Tract(_) => Err(foreign(tract::NAME, onnxruntime::NAME)),
        }
    }

    fn floats(&self) -> Result<&[f32], String> {
        match self {
            Buffer::Tract(value) => tract::floats(value),
            Buffer::OnnxRuntime(value) => onnxruntime::floats(value),
        }
    }

    /// The value of ONNX Runtime, if it is one.
    pub(super) fn into_onnxruntime(self) -> Option<onnxruntime::Value> {
        match self {
            Buffer::OnnxRuntime(value) => Some(value),
            Buffer::Tract(_) => None,
        }
    }

    /// A copy on the host; `name` is for the error.
    pub(super) fn download(&self, name: &str) -> Result<Tensor> {
        let tensor = match self {
            Buffer::Tract(value) => tract::download(value),
            Buffer::OnnxRuntime(value) => onnxruntime::download(value),
        };
        tensor.map_err(|reason| Error::Output { name: name.to_owned(), reason })
    }
}

impl State {
    pub(super) fn empty(home: Home) -> State {
        State { home, buffers: BTreeMap::new() }
    }

    /// Copies a tensor into the engine under `name`, in place of what was there.
    ///
    /// # Errors
    /// When the engine has no such element type or no memory for it.
    pub fn put(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let feed = Feed::tensor(name, tensor);
        let buffer = match self.home {
            Home::Tract => Buffer::Tract(tract::upload(&feed)?),
            Home::OnnxRuntime(provider) => {
                Buffer::OnnxRuntime(onnxruntime::upload(&feed, provider)?)
            }
        };
        self.set(name, buffer);
        Ok(())
    }

    /// Another state with the same values, which are not copied: from then on each of the
    /// two changes alone.
    pub fn share(&self) -> State {
        State { home: self.home, buffers: self.buffers.clone() }
    }

    /// Takes the value of that name from `other`, without a copy, in place of its own;
    /// does nothing if `other` has none.
    pub(crate) fn adopt(&mut self, name: &str, other: &State) {
        self.adopt_from(name, other, name);
    }

    /// The same with the value that `other` calls `from`.
    pub(crate) fn adopt_from(&mut self, name: &str, other: &State, from: &str) {
        if let Some(buffer) = other.buffers.get(from) {
            self.buffers.insert(name.to_owned(), Arc::clone(buffer));
        }
    }

    /// A copy of the value on the host; `None` if there is none of that name.
    ///
    /// # Errors
    /// When the value is not of one of ONNX's numeric types, or the device fails.
    pub fn get(&self, name: &str) -> Result<Option<Tensor>> {
        self.buffers.get(name).map(|buffer| buffer.download(name)).transpose()
    }

    /// The elements of a float32 value, where they are in the host's memory.
    ///
    /// # Errors
    /// When there is no value of that name, or it is of another type or on a device.
    pub(crate) fn floats(&self, name: &str) -> Result<&[f32]> {
        let error = |reason: String| Error::Output { name: name.to_owned(), reason };
        let buffer =
            self.buffers.get(name).ok_or_else(|| error("it is not in the state".to_owned()))?;
        buffer.floats().map_err(error)
    }

    /// Removes a value; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.buffers.remove(name).is_some()
    }

    /// Whether there is a value of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.buffers.contains_key(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.buffers.keys().map(String::as_str)
    }

    pub(super) fn buffer(&self, name: &str) -> Option<&Buffer> {
        self.buffers.get(name).map(Arc::as_ref)
    }

    /// Puts a buffer in place of the one of that name, which it returns if no other state
    /// shares it.
    pub(super) fn set(&mut self, name: &str, buffer: Buffer) -> Option<Buffer> {
        let old = self.buffers.insert(name.to_owned(), Arc::new(buffer));
        old.and_then(|old| Arc::try_unwrap(old).ok())
    }

    /// Checks that the buffers are of the engine that is about to run.
    pub(super) fn check_home(&self, home: Home) -> Result<()> {
        if self.home == home { Ok(()) } else { Err(foreign(self.home, home)) }
    }
}

fn foreign(state: impl fmt::Display, engine: impl fmt::Display) -> Error {
    Error::Program(format!("it runs on {engine}, but the state is of {state}"))
}
