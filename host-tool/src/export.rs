//! The formats of an exported dataset: what other programs read. Pure: values in, bytes out. Called by `cmd/export.rs`.

use std::fmt::Write as _;

/// A matrix as a NumPy file: NPY 1.0, little-endian float32, row major, `[rows, dims]`.
///
/// ```text
/// "\x93NUMPY" 1 0 | header length u16 | {'descr': '<f4', ...} spaces "\n" | values        header ends at a multiple of 64
/// ```
#[must_use]
pub fn npy(rows: &[&[f32]]) -> Vec<u8> {
    let dims = rows.first().map_or(0, |row| row.len());
    let shape = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {dims}), }}",
        rows.len()
    );
    const PREFIX: usize = 10;
    let length = (PREFIX + shape.len() + 1).next_multiple_of(64) - PREFIX;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    // Two numbers of at most 20 digits each: the header is 128 bytes at most.
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    bytes.extend_from_slice(shape.as_bytes());
    bytes.resize(PREFIX + length - 1, b' ');
    bytes.push(b'\n');
    bytes.extend(
        rows.iter()
            .flat_map(|row| row.iter())
            .flat_map(|v| v.to_le_bytes()),
    );
    bytes
}

/// A table as CSV (RFC 4180), with its heading; cells are quoted where they must be.
#[must_use]
pub fn csv(columns: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = String::new();
    for row in std::iter::once(columns.to_vec()).chain(rows) {
        for (i, cell) in row.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = match cell.contains([',', '"', '\n', '\r']) {
                true => write!(text, "{comma}\"{}\"", cell.replace('"', "\"\"")),
                false => write!(text, "{comma}{cell}"),
            };
        }
        text += "\r\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_laid_out_as_numpy_says() {
        let bytes = npy(&[&[1.0, -2.0, 0.5], &[0.0, 3.0, 4.0]]);
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&bytes[10..10 + length]).expect("text");
        assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"));
        assert!(header.ends_with(" \n"));
        let values: Vec<f32> = bytes[10 + length..]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert_eq!(values, [1.0, -2.0, 0.5, 0.0, 3.0, 4.0]);
        assert_eq!(npy(&[]).len(), 128);
    }

    #[test]
    fn cells_that_would_break_a_table_are_quoted() {
        let columns = ["person".to_owned(), "photo".to_owned()];
        let rows = [vec!["a, \"b\"".to_owned(), "1.jpg".to_owned()]];
        assert_eq!(
            csv(&columns, rows.into_iter()),
            "person,photo\r\n\"a, \"\"b\"\"\",1.jpg\r\n"
        );
    }
}
