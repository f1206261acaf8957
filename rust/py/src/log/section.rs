//! The critical section of an object: without a GIL nobody else changes it meanwhile; with one this is nothing.

use super::object::Object;

/// Runs `body` inside the object's critical section.
///
/// # Safety
/// A living object; the caller is attached to the interpreter.
#[cfg(Py_GIL_DISABLED)]
#[inline(always)]
pub unsafe fn within<T>(object: Object, body: impl FnOnce() -> T) -> T {
    use pyo3::ffi::{PyCriticalSection, PyCriticalSection_Begin, PyCriticalSection_End};
    use std::mem::MaybeUninit;

    struct End(*mut PyCriticalSection);
    impl Drop for End {
        fn drop(&mut self) {
            // SAFETY: begun below, in the frame that this guard does not outlive.
            unsafe { PyCriticalSection_End(self.0) }
        }
    }

    // Stays where it is: the interpreter keeps its address until the end.
    let mut section = MaybeUninit::<PyCriticalSection>::zeroed();
    // SAFETY: as promised by the caller; the section lives until the guard below has ended it.
    unsafe { PyCriticalSection_Begin(section.as_mut_ptr(), object) };
    let _end = End(section.as_mut_ptr());
    body()
}

/// Runs `body`: the GIL is held.
///
/// # Safety
/// As without a GIL.
#[cfg(not(Py_GIL_DISABLED))]
#[inline(always)]
pub unsafe fn within<T>(_object: Object, body: impl FnOnce() -> T) -> T {
    body()
}
