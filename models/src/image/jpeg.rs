//! Is a JPEG file whole? The decoder fills what is missing with grey; a lock must not look at grey.
//!
//! Walks the markers (ITU-T T.81, annex B) from start to end of image; called by `decode` before decoding.

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

/// `Err` with the reason if the bytes end before the end-of-image marker.
pub(super) fn check_complete(bytes: &[u8]) -> Result<(), String> {
    let cut = || format!("the JPEG is cut off after {} bytes", bytes.len());
    // The format was recognised by these two bytes.
    let mut at = 2;
    loop {
        let marker = next_marker(bytes, at).ok_or_else(cut)?;
        at = marker.end;
        match marker.code {
            END_OF_IMAGE => return Ok(()),
            // Restart markers and TEM stand alone; anything else has a length, which counts itself.
            0x01 | 0xd0..=0xd8 => {}
            code => {
                let length = bytes.get(at..at + 2).ok_or_else(cut)?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                if length < 2 {
                    return Err(format!("the JPEG is damaged near byte {at}"));
                }
                at += length;
                if at > bytes.len() {
                    return Err(cut());
                }
                if code == START_OF_SCAN {
                    at = scan_end(bytes, at);
                }
            }
        }
    }
}

struct Marker {
    code: u8,
    end: usize,
}

/// The next marker at or after `at`; bytes between segments and fill bytes are skipped, as decoders do.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<Marker> {
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xff)?;
        while *bytes.get(at)? == 0xff {
            at += 1;
        }
        let code = bytes[at];
        at += 1;
        if code != 0 {
            return Some(Marker { code, end: at });
        }
    }
}

/// Where entropy-coded data ends: at the first marker that is neither a stuffed zero nor a restart.
fn scan_end(bytes: &[u8], start: usize) -> usize {
    let scan = &bytes[start..];
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
    start + scan.windows(2).position(ends).unwrap_or(scan.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_walked() {
        struct Case {
            name: &'static str,
            body: &'static [u8],
            whole: bool,
        }
        let cases = [
            Case {
                name: "end only",
                body: b"\xff\xd9",
                whole: true,
            },
            Case {
                name: "nothing",
                body: b"",
                whole: false,
            },
            Case {
                name: "half a marker",
                body: b"\xff",
                whole: false,
            },
            Case {
                name: "fill bytes",
                body: b"\xff\xff\xff\xd9",
                whole: true,
            },
            Case {
                name: "segment",
                body: b"\xff\xe0\0\x04ab\xff\xd9",
                whole: true,
            },
            Case {
                name: "end inside a segment",
                body: b"\xff\xe0\0\x06ab\xff\xd9",
                whole: false,
            },
            Case {
                name: "segment without length",
                body: b"\xff\xe0\0",
                whole: false,
            },
            Case {
                name: "length under two",
                body: b"\xff\xe0\0\x01\xff\xd9",
                whole: false,
            },
            Case {
                name: "scan",
                body: b"\xff\xda\0\x02abc\xff\xd9",
                whole: true,
            },
            Case {
                name: "scan with stuffing",
                body: b"\xff\xda\0\x02a\xff\0\xd9\xff\xd9",
                whole: true,
            },
            Case {
                name: "stuffing is no end",
                body: b"\xff\xda\0\x02a\xff\0\xd9",
                whole: false,
            },
            Case {
                name: "restarts",
                body: b"\xff\xda\0\x02a\xff\xd0b\xff\xd7c\xff\xd9",
                whole: true,
            },
            Case {
                name: "scan cut",
                body: b"\xff\xda\0\x02abc\xff",
                whole: false,
            },
            Case {
                name: "two scans",
                body: b"\xff\xda\0\x02a\xff\xc4\0\x02\xff\xda\0\x02b\xff\xd9",
                whole: true,
            },
            Case {
                name: "second scan cut",
                body: b"\xff\xda\0\x02a\xff\xc4\0\x02\xff\xda\0\x02b",
                whole: false,
            },
        ];
        for case in cases {
            let bytes = [b"\xff\xd8", case.body].concat();
            assert_eq!(check_complete(&bytes).is_ok(), case.whole, "{}", case.name);
        }
    }
}
