//! A serial cable between two pseudo-terminals, with the noise that is wanted.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use facelatch_host::connect::Target;
use serialport::{SerialPort, TTYPort};

/// A serial cable: two pseudo-terminals, joined.
pub(crate) struct Wire {
    ends: [TTYPort; 2],
    passed: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// `disturb` is given how many bytes passed before in this direction, and the next ones.
    pub(crate) fn new(disturb: impl Fn(usize, Vec<u8>) -> Vec<u8> + Copy + Send + 'static) -> Wire {
        let [(near_a, far_a), (near_b, far_b)] = [(); 2].map(|()| TTYPort::pair().unwrap());
        let passed = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let copy = |mut from: TTYPort, mut to: TTYPort| {
            let (passed, stop) = (Arc::clone(&passed), Arc::clone(&stop));
            thread::spawn(move || {
                let mut buffer = [0; 256];
                let mut this_way = 0;
                while !stop.load(Ordering::Relaxed) {
                    match from.read(&mut buffer) {
                        Ok(len) => {
                            let bytes = disturb(this_way, buffer[..len].to_vec());
                            this_way += len;
                            passed.fetch_add(len, Ordering::Relaxed);
                            to.write_all(&bytes).unwrap();
                        }
                        Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                        Err(_) => return,
                    }
                }
            })
        };
        let threads = vec![
            copy(
                near_a.try_clone_native().unwrap(),
                near_b.try_clone_native().unwrap(),
            ),
            copy(near_b, near_a),
        ];
        let mut ends = [far_a, far_b];
        ends.iter_mut()
            .for_each(|end| end.set_timeout(Duration::from_millis(20)).unwrap());
        Wire {
            ends,
            passed,
            stop,
            threads,
        }
    }

    /// The door's end, for one door.
    pub(crate) fn door_end(&self) -> TTYPort {
        let mut end = self.ends[0].try_clone_native().unwrap();
        end.set_timeout(Duration::from_millis(20)).unwrap();
        end
    }

    pub(crate) fn host_end(&self) -> Target {
        self.ends[1].name().unwrap().parse().unwrap()
    }

    /// Bytes that passed, both ways together.
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}
