//! Whether anything moves in front of the door: an idle one looks at a small grey picture instead of searching for faces.
//!
//! ```text
//! Frame -> small (80 x 60 cells) --differs from what is usual there?--> search faces for a while
//!                                --nobody in sight, nothing differs---> wait, but search now and then
//! ```
//!
//! What is usual follows each frame slowly, so that daylight wakes nobody and a lamp for a few seconds only. Somebody who
//! stands still becomes usual too: whom the detector has found is followed at every frame (`busy`), and whom it has not is
//! looked for every [`Rules::look_every`]. Pure: pictures and time are arguments. Called by `run`.

use std::time::Duration;

use image::RgbImage;

/// Cells of the small picture.
pub const COLUMNS: usize = 80;
/// See [`COLUMNS`].
pub const ROWS: usize = 60;

/// How fast what is usual follows what is seen: two thirds of the way in this time.
const SETTLES: Duration = Duration::from_secs(4);
/// Pixels of a cell that are looked at, along each side at most.
const SAMPLES: usize = 4;

/// When frames are searched for faces; from `device.toml`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// If not, every frame is searched.
    pub enabled: bool,
    /// A cell moves if its luma, 0 to 255, is this far from what is usual there.
    pub luma_change: f32,
    /// This share of all cells, 0 to 1, has to move.
    pub cells_share: f32,
    /// Frames are searched for this long after something has moved.
    pub awake: Duration,
    /// A frame is searched at least this often.
    pub look_every: Duration,
}

/// The luma of a frame in `ROWS` rows of `COLUMNS` cells, each 0 to 255.
#[derive(Debug, Clone, PartialEq)]
pub struct Small(Vec<f32>);

/// What is usual in front of the door, and when something last was not.
#[derive(Debug)]
pub struct Motion {
    rules: Rules,
    usual: Option<Small>,
    /// When `usual` last followed.
    followed: Duration,
    moved: Option<Duration>,
    searched: Option<Duration>,
}

impl Motion {
    /// Awake: it has seen nothing yet.
    #[must_use]
    pub fn new(rules: Rules) -> Motion {
        Motion {
            rules,
            usual: None,
            followed: Duration::ZERO,
            moved: None,
            searched: None,
        }
    }

    /// Whether this frame is to be searched for faces. `busy`: it is in any case, somebody is in sight.
    pub fn must_search(&mut self, frame: &RgbImage, busy: bool, now: Duration) -> bool {
        if !self.rules.enabled {
            return true;
        }
        if self.moves(Small::of(frame), now) {
            self.moved = Some(now);
        }
        let within =
            |since: Option<Duration>, limit| since.is_some_and(|at| now.saturating_sub(at) < limit);
        let must = busy
            || within(self.moved, self.rules.awake)
            || !within(self.searched, self.rules.look_every);
        if must {
            self.searched = Some(now);
        }
        must
    }

    /// Somebody else stands there, whatever the picture says.
    pub fn wake(&mut self, now: Duration) {
        self.moved = Some(now);
    }

    /// Whether enough cells differ from what is usual, which then follows this picture.
    fn moves(&mut self, small: Small, now: Duration) -> bool {
        let Some(usual) = &mut self.usual else {
            self.usual = Some(small);
            self.followed = now;
            return true;
        };
        let passed = now.saturating_sub(self.followed).as_secs_f32();
        self.followed = now;
        // First-order lag; a long pause is one step all the way.
        let step = 1.0 - (-passed / SETTLES.as_secs_f32()).exp();
        let mut moving = 0u16;
        for (usual, seen) in usual.0.iter_mut().zip(&small.0) {
            let off = seen - *usual;
            moving += u16::from(off.abs() >= self.rules.luma_change);
            *usual += step * off;
        }
        f32::from(moving) >= self.rules.cells_share * (COLUMNS * ROWS) as f32
    }
}

impl Small {
    /// A frame's small picture, of every few pixels. A frame smaller than the picture fills it with repeats.
    #[must_use]
    pub fn of(frame: &RgbImage) -> Small {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let mut cells = vec![0.0; COLUMNS * ROWS];
        if width == 0 || height == 0 {
            return Small(cells);
        }
        let (columns, across) = (bounds::<COLUMNS>(width), width.div_ceil(COLUMNS * SAMPLES));
        let (rows, down) = (bounds::<ROWS>(height), height.div_ceil(ROWS * SAMPLES));
        for (row, cells) in rows.iter().zip(cells.chunks_exact_mut(COLUMNS)) {
            let mut seen = 0u32;
            let mut sums = [0u32; COLUMNS];
            for y in (row.0..row.1).step_by(down) {
                seen += 1;
                let line = &frame.as_raw()[y * width * 3..][..width * 3];
                for (column, sum) in columns.iter().zip(&mut sums) {
                    *sum += luma(&line[column.0 * 3..column.1 * 3], across);
                }
            }
            for ((cell, sum), column) in cells.iter_mut().zip(sums).zip(&columns) {
                let pixels = seen * (column.1 - column.0).div_ceil(across) as u32;
                *cell = sum as f32 / (4 * pixels) as f32;
            }
        }
        Small(cells)
    }
}

/// Where each of `N` cells begins and ends on a side of so many pixels; each has one pixel at least.
fn bounds<const N: usize>(side: usize) -> [(usize, usize); N] {
    std::array::from_fn(|i| {
        let start = (i * side / N).min(side - 1);
        (start, ((i + 1) * side / N).max(start + 1))
    })
}

/// Four times the luma of every so many pixels, summed; green counts twice.
fn luma(pixels: &[u8], every: usize) -> u32 {
    let four = |p: &[u8; 3]| u32::from(p[0]) + 2 * u32::from(p[1]) + u32::from(p[2]);
    pixels
        .as_chunks::<3>()
        .0
        .iter()
        .step_by(every)
        .map(four)
        .sum()
}

#[cfg(test)]
mod tests;
