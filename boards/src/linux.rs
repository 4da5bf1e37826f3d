//! What any Linux board has: Video4Linux cameras. The only room, with `pi`, that names hardware crates.

mod camera;

pub(crate) use camera::V4lCamera;
