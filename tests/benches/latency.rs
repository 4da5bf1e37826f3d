//! How much hostile peers slow the door down: frames judged a second and decision latency with and without an attack, in
//! turn, in one run. A report, no test: `cargo bench -p facelatch-tests --bench latency`.
//!
//! The attackers run on the same machine as the door, with a share of its processors: a real attacker's share is less.

#[path = "../../device/tests/far_end/mod.rs"]
mod far_end;
#[path = "../tests/bad_peer/stage.rs"]
#[allow(dead_code, reason = "the test uses more of it")]
mod stage;

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use facelatch_protocol::{
    Envelope, EventKind, Request, Response,
    session::{Purpose, Sealed},
};

use self::{
    far_end::{HELLO, connect},
    stage::{End, Stage},
};

/// Rounds of each kind.
const ROUNDS: usize = 5;
/// Decisions in each.
const DECISIONS: usize = 20;

struct Measured {
    frames_a_second: f64,
    latency_ms: f64,
}

fn main() {
    // `cargo test --benches` passes this: there is nothing to be tested.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let stage = Stage::start();
    let mut watch = Watch::start(&stage);
    let mut rounds = vec![];
    watch.measure();
    for _ in 0..ROUNDS {
        let calm = watch.measure();
        let attack = Attack::start(&stage);
        let attacked = watch.measure();
        let sent = attack.stop();
        println!(
            "calm {:.1} frames/s, {:.2} ms; under {sent} hostile acts {:.1} frames/s, {:.2} ms",
            calm.frames_a_second, calm.latency_ms, attacked.frames_a_second, attacked.latency_ms
        );
        rounds.push((
            attacked.latency_ms / calm.latency_ms,
            calm.frames_a_second / attacked.frames_a_second,
        ));
    }
    let median = |mut ratios: Vec<f64>| {
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    println!(
        "median ratio of latency {:.3}, of time between frames {:.3}; peak memory {} kB; latch moved {} times",
        median(rounds.iter().map(|(latency, _)| *latency).collect()),
        median(rounds.iter().map(|(_, frames)| *frames).collect()),
        stage.peak_memory_kb(),
        stage.unlocked()
    );
}

/// Two sessions that stand before anybody attacks.
struct Watch {
    status: End,
    events: End,
}

impl Watch {
    fn start(stage: &Stage) -> Watch {
        let mut events = stage.operator();
        events.send(Request::EventsSubscribe { from_seq: 0 });
        Watch {
            status: stage.operator(),
            events,
        }
    }

    /// Watches until some decisions were made.
    fn measure(&mut self) -> Measured {
        let before = self.frames();
        let began = Instant::now();
        let mut latencies = vec![];
        while latencies.len() < DECISIONS {
            if let Response::Event(event) = self.events.reply().body
                && let EventKind::Decision { latency_ms, .. } = event.kind
            {
                latencies.push(f64::from(latency_ms));
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let frames = self.frames() - before;
        Measured {
            frames_a_second: frames as f64 / seconds,
            latency_ms: latencies.iter().sum::<f64>() / latencies.len() as f64,
        }
    }

    fn frames(&mut self) -> u64 {
        match self.status.ask(Request::Status) {
            Response::Status(status) => status.frames,
            other => panic!("{other:?}"),
        }
    }
}

/// Peers that do what they should not, as fast as they can, until stopped.
struct Attack {
    stop: Arc<AtomicBool>,
    acts: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Attack {
    fn start(stage: &Stage) -> Attack {
        let (stop, acts) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let address = stage.door.address();
        let threads = [handshake, sealed_noise, half_open].map(|act| {
            let (stop, acts) = (Arc::clone(&stop), Arc::clone(&acts));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut end = connect(address);
                    act(&mut end);
                    acts.fetch_add(1, Ordering::Relaxed);
                    // As fast as it pleases, but from one machine: about a thousand a second each.
                    thread::sleep(Duration::from_millis(1));
                }
            })
        });
        Attack {
            stop,
            acts,
            threads: threads.into(),
        }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.acts.load(Ordering::Relaxed)
    }
}

/// Every write may fail: the door hangs up as soon as it has heard enough.
fn handshake(end: &mut far_end::FarEnd<TcpStream>) {
    let message = [9; 96].into_iter().collect();
    let purpose = Purpose::Session;
    let _ = end.write(1, HELLO);
    let _ = end.write(2, Envelope::Handshake { purpose, message });
    let _ = end.try_clear(Duration::from_millis(100));
}

fn sealed_noise(end: &mut far_end::FarEnd<TcpStream>) {
    let bytes = [7; 3_000].into_iter().collect();
    let _ = end.write(0, Envelope::Sealed(Sealed { nonce: 0, bytes }));
    let _ = end.stream.write_all(&[7; 20_000]);
}

fn half_open(end: &mut far_end::FarEnd<TcpStream>) {
    let _ = end.stream.write_all(&[9, 1, 2]);
    thread::sleep(Duration::from_millis(50));
}
