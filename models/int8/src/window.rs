//! Where the window of a convolution or pool goes. Shared by the reference, the plan's checks and the runner.

use serde::{Deserialize, Serialize};

use crate::Error;

/// Where a window goes: its size, its steps, and how far it reaches over the picture's edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Rows and columns, at least 1.
    pub size: [usize; 2],
    /// Steps down and right, at least 1.
    pub strides: [usize; 2],
    /// Rows above, columns left, rows below, columns right; each less than the window.
    pub pads: [usize; 4],
}

impl Window {
    /// Height and width of the output.
    ///
    /// # Errors
    /// [`Error::Geometry`] for a window that cannot be used, [`Error::Input`] for an input smaller than it.
    pub fn output(&self, input: [usize; 3]) -> Result<[usize; 2], Error> {
        if self.size.contains(&0) || self.strides.contains(&0) {
            return Err(Error::Geometry("window or stride of 0"));
        }
        let [top, left, bottom, right] = self.pads;
        if top.max(bottom) >= self.size[0] || left.max(right) >= self.size[1] {
            return Err(Error::Geometry("padding as large as the window"));
        }
        let extent = |length: usize, pads: usize, size: usize, stride: usize| {
            let spare = length.checked_add(pads)?.checked_sub(size)?;
            (length > 0).then_some(spare / stride + 1)
        };
        let h = extent(input[0], top + bottom, self.size[0], self.strides[0]);
        let w = extent(input[1], left + right, self.size[1], self.strides[1]);
        match (h, w) {
            (Some(h), Some(w)) => Ok([h, w]),
            (_, _) => Err(Error::Input { found: input }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_counted() {
        struct Case(
            [usize; 2],
            [usize; 2],
            [usize; 4],
            [usize; 3],
            Option<[usize; 2]>,
        );
        #[rustfmt::skip]
        let cases = [
            Case([3, 3], [2, 2], [0; 4], [160, 160, 3], Some([79, 79])),
            Case([3, 3], [1, 1], [1; 4], [17, 17, 8], Some([17, 17])),
            Case([1, 7], [1, 1], [0, 3, 0, 3], [8, 8, 1], Some([8, 8])),
            Case([2, 2], [2, 2], [0, 0, 1, 1], [5, 5, 1], Some([3, 3])),
            Case([3, 3], [1, 1], [0; 4], [2, 9, 1], None),
            Case([3, 3], [1, 1], [2; 4], [0, 9, 1], None),
        ];
        for Case(size, strides, pads, input, expected) in cases {
            let window = Window {
                size,
                strides,
                pads,
            };
            assert_eq!(
                window.output(input).ok(),
                expected,
                "{window:?} on {input:?}"
            );
        }
    }
}
