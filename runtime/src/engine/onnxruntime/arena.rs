//! One arena for all sessions of a process.

use ort::AsPointer;
use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};

/// Gives the environment an arena of host memory, which sessions share that ask for it: what one
/// program of a training step needed is there for the next.
///
/// # Errors
/// When the library refuses.
pub(super) fn share(environment: &Environment) -> ort::Result<()> {
    let info =
        MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
    // SAFETY: both pointers are of live values; the call keeps neither the description nor the
    // null configuration, which stands for the default one.
    #[allow(unsafe_code)]
    unsafe {
        let register = ort::api().CreateAndRegisterAllocator;
        ort::Error::result_from_status(register(
            environment.ptr().cast_mut(),
            info.ptr(),
            std::ptr::null(),
        ))
    }
}
