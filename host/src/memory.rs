//! The memory limit of one instance, over everything it can grow.

use wasmtime::ResourceLimiter;

/// Bytes that one table element is charged.
const TABLE_ELEMENT_BYTES: usize = 16;

/// Meters linear memories and tables together against one limit.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    limit_bytes: usize,
    used_bytes: usize,
    refused: bool,
}

impl MemoryMeter {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        let limit_bytes = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        Self { limit_bytes, used_bytes: 0, refused: false }
    }

    /// Whether the guest ever asked for more than it may have.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// The limit, in bytes.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes as u64
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let used = self.used_bytes.saturating_add(desired.saturating_sub(current));
        self.refused |= used > self.limit_bytes;
        if used > self.limit_bytes {
            return false;
        }
        self.used_bytes = used;
        true
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self
            .grow(current.saturating_mul(TABLE_ELEMENT_BYTES), desired.saturating_mul(TABLE_ELEMENT_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_memories_and_tables_together() {
        let mut meter = MemoryMeter::new(1_000);
        assert!(meter.memory_growing(0, 600, None).unwrap());
        assert!(meter.table_growing(0, 20, None).unwrap());
        assert!(!meter.refused());
        assert!(!meter.memory_growing(600, 900, None).unwrap());
        assert!(meter.refused());
        assert!(meter.memory_growing(600, 680, None).unwrap());
    }
}
