//! A reader of FlatBuffers: tables, vectors and numbers, every offset checked before it is followed.
//!
//! `None` is for whatever does not lie within the buffer; nothing here panics, and nothing loops. What the tables mean is
//! `tflite`'s to know. The format: `https://flatbuffers.dev/internals`.

/// A table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
    /// Offsets of its fields, two bytes each.
    fields: &'a [u8],
}

/// A vector of 4-byte elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    buffer: &'a [u8],
    /// Where the elements start.
    at: usize,
    pub(super) len: usize,
}

impl<'a> Table<'a> {
    /// The root of a buffer that names itself `identifier`.
    pub(super) fn root(buffer: &'a [u8], identifier: &[u8; 4]) -> Option<Table<'a>> {
        match buffer.get(4..8)? == identifier {
            true => Table::at(buffer, follow(buffer, 0)?),
            false => None,
        }
    }

    fn at(buffer: &'a [u8], at: usize) -> Option<Table<'a>> {
        let back = i32::from_le_bytes(bytes(buffer, at)?);
        let start = usize::try_from(i64::try_from(at).ok()? - i64::from(back)).ok()?;
        let len = usize::from(u16::from_le_bytes(bytes(buffer, start)?));
        Some(Table {
            buffer,
            at,
            fields: buffer.get(start.checked_add(4)?..start.checked_add(len)?)?,
        })
    }

    /// Where a field lies; `None` if the table has it not, which stands for its default.
    fn field(&self, field: usize) -> Option<usize> {
        let offset = u16::from_le_bytes(bytes(self.fields, field.checked_mul(2)?)?);
        match offset {
            0 => None,
            offset => self.at.checked_add(usize::from(offset)),
        }
    }

    /// A field of one byte; its default if it is not there, `None` if it lies outside.
    pub(super) fn byte(&self, field: usize, default: i8) -> Option<i8> {
        match self.field(field) {
            Some(at) => Some(i8::from_le_bytes(bytes(self.buffer, at)?)),
            None => Some(default),
        }
    }

    /// A field of four bytes, as [`Table::byte`].
    pub(super) fn word(&self, field: usize, default: i32) -> Option<i32> {
        match self.field(field) {
            Some(at) => Some(i32::from_le_bytes(bytes(self.buffer, at)?)),
            None => Some(default),
        }
    }

    /// A table in a field.
    pub(super) fn table(&self, field: usize) -> Option<Table<'a>> {
        Table::at(self.buffer, follow(self.buffer, self.field(field)?)?)
    }

    /// A vector of bytes in a field.
    pub(super) fn bytes(&self, field: usize) -> Option<&'a [u8]> {
        let (at, len) = self.vector(field)?;
        self.buffer.get(at..at.checked_add(len)?)
    }

    /// A vector of tables or 4-byte numbers in a field.
    pub(super) fn words(&self, field: usize) -> Option<Words<'a>> {
        let (at, len) = self.vector(field)?;
        self.buffer.get(at..at.checked_add(len.checked_mul(4)?)?)?;
        Some(Words {
            buffer: self.buffer,
            at,
            len,
        })
    }

    /// Where a vector's elements start, and how many they are said to be.
    fn vector(&self, field: usize) -> Option<(usize, usize)> {
        let at = follow(self.buffer, self.field(field)?)?;
        let len = u32::from_le_bytes(bytes(self.buffer, at)?);
        Some((at.checked_add(4)?, usize::try_from(len).ok()?))
    }
}

impl<'a> Words<'a> {
    /// A number.
    pub(super) fn number(&self, index: usize) -> Option<i32> {
        Some(i32::from_le_bytes(bytes(
            self.buffer,
            self.element(index)?,
        )?))
    }

    /// All numbers.
    pub(super) fn numbers(&self) -> Vec<i32> {
        (0..self.len).map_while(|i| self.number(i)).collect()
    }

    /// A table.
    pub(super) fn table(&self, index: usize) -> Option<Table<'a>> {
        Table::at(self.buffer, follow(self.buffer, self.element(index)?)?)
    }

    fn element(&self, index: usize) -> Option<usize> {
        match index < self.len {
            true => self.at.checked_add(index.checked_mul(4)?),
            false => None,
        }
    }
}

/// Where the offset at `at` leads.
fn follow(buffer: &[u8], at: usize) -> Option<usize> {
    let offset = u32::from_le_bytes(bytes(buffer, at)?);
    at.checked_add(usize::try_from(offset).ok()?)
}

fn bytes<const N: usize>(buffer: &[u8], at: usize) -> Option<[u8; N]> {
    buffer.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand after the format's description.
    ///
    /// ```text
    ///  0 root -> 16 | 4 "TEST" | 8 vtable: 8 bytes, table of 12, field 0 at 4, field 1 at 8 | 16 table: vtable 8 back
    /// 20 field 0: 7 | 24 field 1 -> 28 | 28 vector of 2 | 32 numbers 5, -6
    /// ```
    fn sample() -> Vec<u8> {
        let mut all = Vec::new();
        all.extend(16u32.to_le_bytes());
        all.extend(b"TEST");
        for half in [8u16, 12, 4, 8] {
            all.extend(half.to_le_bytes());
        }
        for word in [8i32, 7, 4, 2, 5, -6] {
            all.extend(word.to_le_bytes());
        }
        all
    }

    #[test]
    fn tables_and_vectors_are_read() {
        let all = sample();
        let root = Table::root(&all, b"TEST").unwrap();
        assert_eq!(root.word(0, 1), Some(7));
        assert_eq!((root.word(2, 1), root.byte(9, -1)), (Some(1), Some(-1)));
        let numbers = root.words(1).unwrap();
        assert_eq!(numbers.numbers(), [5, -6]);
        assert_eq!(numbers.number(2), None);
        assert_eq!(root.bytes(1), Some(&[5u8, 0][..]));
        assert!(root.table(2).is_none() && root.words(2).is_none());
        assert!(Table::root(&all, b"ELSE").is_none());
    }

    #[test]
    fn nothing_outside_the_buffer_is_followed() {
        let all = sample();
        let read_all = |bytes: &[u8]| {
            let root = Table::root(bytes, b"TEST")?;
            let numbers = root.words(1)?;
            let _ = (
                root.bytes(1),
                root.table(0),
                root.table(1),
                numbers.table(0),
            );
            Some((root.word(0, 0)?, numbers.numbers()))
        };
        assert!(read_all(&all).is_some());
        for cut in 0..all.len() {
            assert!(read_all(&all[..cut]).is_none(), "cut at {cut}");
        }
        for at in 0..all.len() {
            for value in 0..=255 {
                let mut changed = all.clone();
                changed[at] = value;
                let _ = read_all(&changed);
            }
        }
    }
}
