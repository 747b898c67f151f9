//! The memory limit of a broker instance.

use wasmtime::{ResourceLimiter, Result};

/// Counts and bounds the linear memory of all modules of an instance together.
#[derive(Debug)]
pub(crate) struct Limits {
    max_bytes: usize,
    bytes: usize,
}

impl Limits {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, bytes: 0 }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.bytes.saturating_add(desired.saturating_sub(current));
        if total > self.max_bytes {
            return Ok(false);
        }
        self.bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }
}

/// The guest's function tables; they do not grow while it runs.
const MAX_TABLE_ELEMENTS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_bounded_together() {
        let mut limits = Limits::new(100);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(!limits.memory_growing(0, 41, None).unwrap());
        assert!(limits.memory_growing(60, 100, None).unwrap());
        assert_eq!(limits.memory_bytes(), 100);
    }
}
