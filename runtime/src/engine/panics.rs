//! Panics of an engine's own code, turned into errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::thread;

/// How the names of the threads begin that work for a guarded call.
pub(super) const WORKER: &str = "advbnn-worker";

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// The result of `work`, or the message of its panic. Whatever `work` changed must not be
/// used after a panic.
///
/// Standard error stays silent: the message is in the error, and a user takes a panic's
/// own two lines for a crash. Other threads' panics are reported as ever.
pub(super) fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            let worker = thread::current().name().is_some_and(|name| name.starts_with(WORKER));
            if !GUARDED.get() && !worker {
                usual(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_next_call_works() {
        let size = 2;
        let result: Result<(), String> = guard(|| panic!("size {size}"));
        assert_eq!(result, Err("panicked: size 2".to_owned()));
        assert_eq!(guard(|| size), Ok(2));
        assert!(!GUARDED.get());
    }
}
