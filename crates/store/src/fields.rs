//! Fixed-size little-endian fields, read without a panic whatever the bytes are.

/// The fields that are left.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes; `None` once there are fewer.
    pub fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    /// The next u32.
    pub fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    /// The next u64.
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_then_end() {
        let mut fields = Fields(&[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(fields.u32(), Some(1));
        assert_eq!(fields.u64(), Some(2));
        assert_eq!(fields.u32(), None);
        assert_eq!(fields.bytes::<1>(), Some([9]));
        assert_eq!(fields.bytes::<1>(), None);
    }
}
