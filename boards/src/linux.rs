//! What any Linux board has: the GPIO character device, Video4Linux cameras. The only room, with `pi`, that names hardware
//! crates.

#[cfg(feature = "v4l")]
mod camera;
#[cfg(feature = "gpio")]
mod gpio;

#[cfg(feature = "v4l")]
pub(crate) use camera::{open as v4l_camera, survey};
#[cfg(feature = "gpio")]
pub(crate) use gpio::{ChipLines, Holder};
