//! What a program is made for.

/// What runs a program. The forms of gradients, and of some operators, are chosen by what
/// was measured there; all of them compute the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Platform {
    /// Not known: forms that are good on most.
    #[default]
    Any,
    /// ONNX Runtime's own kernels on the CPU.
    OnnxRuntime,
    /// OpenVINO's CPU plugin behind ONNX Runtime.
    OpenVino,
}

impl Platform {
    /// Whether the runtime draws the weights of attacks and predictions: where they are in the
    /// host's memory, one pass makes noise and weights together.
    pub fn draws_on_host(self) -> bool {
        match self {
            Platform::Any => false,
            Platform::OnnxRuntime | Platform::OpenVino => true,
        }
    }
}

/// The batch size of a program, and what is going to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// Images, N.
    pub batch: usize,
    /// What runs it.
    pub platform: Platform,
}

impl From<usize> for Build {
    fn from(batch: usize) -> Build {
        Build { batch, platform: Platform::Any }
    }
}
