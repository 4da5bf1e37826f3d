//! The one packing of weights, for every instruction set.
//!
//! ```text
//! from  [cout][kh][kw][cin]                          as ONNX has them, channels last
//! to    [cout / 16][quads][16][4]                    a quad is 4 input bytes that are multiplied at once
//!
//!        64 bytes, one quad of a group:  n0: k0 k1 k2 k3 | n1: k0 k1 k2 k3 | ... | n15: k0 k1 k2 k3
//!        VNNI: one vector, times 4 activations in every lane.   SDOT: 4 vectors of 4 channels.   SMULL, AVX2: the same.
//! ```
//!
//! Quads run over the taps' runs (see `network::Taps`); what pads a run or a group is 0.

use crate::network::{GROUP, QUAD, Taps};

/// Bytes of one quad of one group.
pub(crate) const LINE: usize = GROUP * QUAD;

/// Weights of one of a convolution's outputs, `[cout][kh][kw][cin]`, appended in packed form.
pub(crate) fn pack(
    weights: &[i8],
    [kh, kw]: [usize; 2],
    cin: usize,
    taps: &Taps,
    out: &mut Vec<i8>,
) {
    let rows: Vec<&[i8]> = weights.chunks_exact(kh * kw * cin).collect();
    for group in rows.chunks(GROUP) {
        let start = out.len();
        out.resize(start + taps.all_quads() * LINE, 0);
        let lines = &mut out[start..];
        for (n, row) in group.iter().enumerate() {
            for (tap, channels) in row.chunks_exact(cin).enumerate() {
                let (run, column) = (tap / taps.columns, tap % taps.columns);
                for (c, &w) in channels.iter().enumerate() {
                    let k = run * taps.quads * QUAD + column * taps.stride + c;
                    lines[k / QUAD * LINE + n * QUAD + k % QUAD] = w;
                }
            }
        }
    }
}

/// Sum and sum of magnitudes of a group's weights by channel, over packed lines; `None` if one is -128.
pub(crate) fn sums(lines: &[u8]) -> Option<([i32; GROUP], [i32; GROUP])> {
    let (mut sum, mut magnitude) = ([0i32; GROUP], [0i32; GROUP]);
    // Lane by lane in 16 bits, which 255 lines cannot overflow, so that the compiler uses whole vectors.
    for lines in lines.chunks(255 * LINE) {
        let (mut some, mut many, mut least) = ([0i16; LINE], [0i16; LINE], [0i8; LINE]);
        for line in lines.chunks_exact(LINE) {
            for i in 0..LINE {
                let w = i16::from(line[i].cast_signed());
                some[i] += w;
                many[i] += w.abs();
                least[i] = least[i].min(line[i].cast_signed());
            }
        }
        if least.contains(&i8::MIN) {
            return None;
        }
        for i in 0..LINE {
            sum[i / QUAD] += i32::from(some[i]);
            magnitude[i / QUAD] += i32::from(many[i]);
        }
    }
    Some((sum, magnitude))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Window;

    const WINDOW: Window = Window {
        size: [2, 2],
        strides: [1, 1],
        pads: [0; 4],
    };

    #[test]
    fn taps_of_a_whole_tensor_run_along_a_row() {
        // 3 channels packed: two columns are 6 bytes, 2 quads.
        let taps = Taps::new(&WINDOW, 3, 3);
        let (runs, columns, quads) = (taps.runs, taps.columns, taps.quads);
        assert_eq!((runs, columns, quads), (2, 2, 2));
        let weights: Vec<i8> = (1..=24).collect();
        let mut lines = Vec::new();
        pack(&weights, [2, 2], 3, &taps, &mut lines);
        assert_eq!(lines.len(), 4 * LINE);
        // Channel 0: row 0 is 1..=6, row 1 is 7..=12.
        let of = |n: usize| -> Vec<i8> {
            let quads = lines.chunks_exact(LINE);
            quads.flat_map(|l| l[n * QUAD..][..QUAD].to_vec()).collect()
        };
        assert_eq!(of(0), [1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0]);
        assert_eq!(of(1)[..4], [13, 14, 15, 16]);
        assert!(of(2).iter().all(|&w| w == 0));
    }

    #[test]
    fn taps_of_some_channels_are_one_run_each() {
        let taps = Taps::new(&WINDOW, 16, 48);
        assert_eq!((taps.runs, taps.columns, taps.quads), (4, 1, 4));
        let weights: Vec<i8> = (0..64).collect();
        let mut lines = Vec::new();
        pack(&weights, [2, 2], 16, &taps, &mut lines);
        let of_0: Vec<i8> = lines
            .chunks_exact(LINE)
            .flat_map(|l| l[..QUAD].to_vec())
            .collect();
        assert_eq!(of_0, weights);
    }

    #[test]
    fn sums_are_by_channel_and_find_the_forbidden_weight() {
        let mut lines = vec![(-127i8).cast_unsigned(); 600 * LINE];
        lines[5] = 100;
        let (sum, magnitude) = sums(&lines).unwrap();
        assert_eq!(sum[0], -127 * 2400);
        assert_eq!(sum[1], -127 * 2399 + 100);
        assert_eq!(magnitude[1], 127 * 2399 + 100);
        lines[599 * LINE] = 0x80;
        assert_eq!(sums(&lines), None);
    }
}
