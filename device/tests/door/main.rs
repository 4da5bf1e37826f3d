//! A whole door on the simulated board with the networks that ship: visitors, faults, requests and bundles.
//! Time is the manual clock, moved by the frames; nothing here waits for it.

mod calibration;
mod enrolling;
#[path = "../far_end/mod.rs"]
mod far_end;
mod faults;
mod guard;
mod heads;
mod host;
mod latch;
mod lockout;
mod motion;
mod pairing;
mod policy;
mod process;
mod reasons;
mod requests;
mod second;
mod several;
mod stage;
mod supervised;
mod updates;
mod visits;
