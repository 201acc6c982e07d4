//! What calls of one process share: built once, by whoever comes first, while the others wait.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::CallError;

type Shared = Arc<dyn Any + Send + Sync>;
type Slot = Arc<Mutex<Option<Shared>>>;

static SLOTS: LazyLock<Mutex<HashMap<String, Slot>>> = LazyLock::new(Mutex::default);

/// The value under `key`, built now if nobody has. A build that failed is tried again by the next who asks.
pub(crate) fn get_or_build<T: Send + Sync + 'static>(
    key: &str,
    build: impl FnOnce() -> Result<T, CallError>,
) -> Result<Arc<T>, CallError> {
    let slot = SLOTS.lock().unwrap_or_else(PoisonError::into_inner).entry(key.to_owned()).or_default().clone();
    // A build that panicked left the slot empty, so a poisoned lock holds nothing broken.
    let mut value = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let shared = match &*value {
        Some(shared) => shared.clone(),
        None => {
            let built: Shared = Arc::new(build()?);
            value.insert(built).clone()
        }
    };
    let wrong_type = |_| CallError::failed(format!("the shared value `{key}` was built with another type")).permanent();
    shared.downcast::<T>().map_err(wrong_type)
}
