//! A camera behind a program that writes frames to its standard output, such as `rpicam-vid`.
//!
//! ```text
//! program --stdout--> reader: cut into frames, keep the newest --> newest()
//!         --stderr--> reader: log, keep the last lines         --> the error, when it has ended
//! ```
//!
//! Started when it is wanted, ended when it is silent for too long or no longer wanted, with whatever it has started itself.
//! A daemon that is killed takes it along too: nobody reads its pipe any more, and systemd ends all of a unit.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::facts::{Output, ProgramFacts};
use super::reopening::{Reopening, Shot, Source};
use super::split::Split;
use crate::pixels::{Layout, PixelFormat, Range};
use crate::{Clock, Error};

/// Lines of its standard error that an error repeats.
const LAST_LINES: usize = 4;
/// Bytes of each.
const LINE: u64 = 300;
/// Bytes taken from the pipe at once: what a pipe holds.
const CHUNK: usize = 1 << 16;

pub(crate) fn open(
    facts: &ProgramFacts,
    clock: Arc<dyn Clock>,
) -> Result<Reopening<Program>, Error> {
    let line = facts.command_line();
    let Some(name) = line.first().cloned() else {
        return Err(Error::CameraUnusable {
            device: String::new(),
            problem: "the command is empty".to_string(),
        });
    };
    let (layout, timeout) = (
        layout(facts),
        Duration::from_millis(facts.timeout_ms.into()),
    );
    let open = Box::new(move || Program::start(&line, layout, timeout));
    Ok(Reopening::new(name, facts.rotation_deg, clock, open))
}

fn layout(facts: &ProgramFacts) -> Layout {
    Layout {
        format: match facts.output {
            Output::Mjpg => PixelFormat::Mjpg,
            Output::Yuv420 => PixelFormat::Yuv420,
        },
        range: Range::Full,
        width: facts.width_px,
        height: facts.height_px,
        stride: 0,
    }
}

/// A running program.
pub(crate) struct Program {
    child: Child,
    layout: Layout,
    timeout: Duration,
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    newest: Option<Vec<u8>>,
    /// Nothing comes any more.
    ended: bool,
    /// The last lines of its standard error.
    said: VecDeque<String>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Every change is whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frame(&self, frame: Vec<u8>) {
        self.seen().newest = Some(frame);
        self.changed.notify_all();
    }

    fn said(&self, line: String) {
        let said = &mut self.seen().said;
        if said.len() == LAST_LINES {
            said.pop_front();
        }
        said.push_back(line);
    }

    fn ended(&self) {
        self.seen().ended = true;
        self.changed.notify_all();
    }
}

impl Program {
    fn start(line: &[String], layout: Layout, timeout: Duration) -> Result<Program, String> {
        let (name, args) = line.split_first().ok_or("the command is empty")?;
        let child = Command::new(name)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that it can be ended with everything it has started.
            .process_group(0)
            .spawn()
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => {
                    format!("there is no program {name}: install it (rpicam-vid is in rpicam-apps)")
                }
                _ => e.to_string(),
            })?;
        let mut program = Program {
            child,
            layout,
            timeout,
            shared: Arc::default(),
            readers: vec![],
        };
        program
            .read(Split::of(&layout))
            .map_err(|e| e.to_string())?;
        Ok(program)
    }

    fn read(&mut self, split: Split) -> io::Result<()> {
        let reader = |name: &str, read: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_string()).spawn(read)
        };
        if let Some(stderr) = self.child.stderr.take() {
            let shared = Arc::clone(&self.shared);
            let read = move || listen(stderr, &shared);
            self.readers.push(reader("camera's words", Box::new(read))?);
        }
        if let Some(stdout) = self.child.stdout.take() {
            let shared = Arc::clone(&self.shared);
            let read = move || {
                take_frames(stdout, split, &shared);
                shared.ended();
            };
            self.readers
                .push(reader("camera's frames", Box::new(read))?);
        }
        Ok(())
    }

    /// Ends it, and says how it had ended by itself if it had.
    fn end(&mut self) -> Option<ExitStatus> {
        let by_itself = self.child.try_wait().ok().flatten();
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // A group without anybody left in it needs no signal.
            let _ = kill_process_group(group, Signal::KILL);
        }
        // Killed, it ends.
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        by_itself
    }

    fn words(&self) -> String {
        let said = Vec::from(self.shared.seen().said.clone());
        match said.is_empty() {
            true => String::new(),
            false => format!("; it said: {}", said.join(" | ")),
        }
    }
}

fn take_frames(mut from: impl Read, mut split: Split, shared: &Shared) {
    let mut bytes = vec![0; CHUNK];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => split.push(&bytes[..count], |frame| shared.frame(frame)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn listen(from: impl Read, shared: &Shared) {
    let mut from = BufReader::new(from);
    loop {
        let mut line = vec![];
        match from.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let line = String::from_utf8_lossy(&line).trim().to_string();
                log::debug!("camera: {line}");
                if !line.is_empty() {
                    shared.said(line);
                }
            }
        }
    }
}

impl Source for Program {
    fn newest(&mut self, raw: &mut Vec<u8>) -> Result<Shot, String> {
        let shared = Arc::clone(&self.shared);
        let nothing_new = |seen: &mut Seen| seen.newest.is_none() && !seen.ended;
        let waited = shared
            .changed
            .wait_timeout_while(shared.seen(), self.timeout, nothing_new);
        let (mut seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (newest, ended) = (seen.newest.take(), seen.ended);
        drop(seen);
        if let Some(frame) = newest {
            *raw = frame;
            return Ok(Shot::Whole);
        }
        if !ended {
            return Err(format!("no frame within the time-out{}", self.words()));
        }
        let how = match self.end() {
            Some(status) => format!("the program has ended, {status}"),
            None => "the program has closed its output".to_string(),
        };
        Err(format!("{how}{}", self.words()))
    }

    fn layout(&self) -> Layout {
        self.layout
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use image::{ImageFormat, Rgb, RgbImage};
    use rustix::process::test_kill_process_group;

    use super::*;
    use crate::{Camera, Capture, SystemClock};

    const DEADLINE: Duration = Duration::from_secs(60);

    /// A shell as the camera: `$frames` is a file of three frames, black, grey, white.
    fn camera(
        folder: &Path,
        output: Output,
        script: &str,
        timeout: Duration,
    ) -> Reopening<Program> {
        let frames = folder.join("frames");
        let mut bytes = vec![];
        for light in [0, 128, 255] {
            match output {
                Output::Mjpg => {
                    let image = RgbImage::from_pixel(64, 16, Rgb([light; 3]));
                    let mut jpeg = io::Cursor::new(vec![]);
                    image
                        .write_to(&mut jpeg, ImageFormat::Jpeg)
                        .expect("to memory");
                    bytes.extend(jpeg.into_inner());
                }
                Output::Yuv420 => {
                    bytes.extend([light; 64 * 16]);
                    bytes.extend([128; 64 * 16 / 2]);
                }
            }
        }
        std::fs::write(&frames, bytes).expect("a small file");
        let script = format!("frames={}; {script}", frames.display());
        let facts = ProgramFacts {
            command: ["sh", "-c", &script].map(str::to_string).to_vec(),
            output,
            width_px: 64,
            height_px: 16,
            frames_per_second: 10,
            timeout_ms: u32::try_from(timeout.as_millis()).expect("short"),
            rotation_deg: super::super::facts::Rotation::None,
            exposure_us: None,
        };
        open(&facts, Arc::new(SystemClock::new())).expect("a command")
    }

    fn light(camera: &mut impl Camera) -> Result<u8, String> {
        match camera.next() {
            Ok(Capture::Frame(frame)) => Ok(frame.image.get_pixel(1, 1).0[0]),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Until a frame is as light as this one: which of them are overtaken is the scheduler's affair.
    fn until_light(camera: &mut impl Camera, want: u8) {
        let began = Instant::now();
        while light(camera) != Ok(want) {
            assert!(began.elapsed() < DEADLINE, "never {want}");
        }
    }

    #[test]
    fn the_newest_frame_is_given_and_a_program_that_ends_is_started_again() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for output in [Output::Mjpg, Output::Yuv420] {
            let script = "cat $frames; echo the sensor has gone >&2; exit 3";
            let mut camera = camera(dir.path(), output, script, DEADLINE);
            until_light(&mut camera, 255);
            let gone = light(&mut camera).expect_err("it has ended");
            for part in ["camera sh is gone", "exit status: 3", "the sensor has gone"] {
                assert!(gone.contains(part), "{gone}");
            }
            until_light(&mut camera, 255);
        }
    }

    #[test]
    fn a_frame_that_was_begun_is_none() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let script = "head -c 100 $frames; exit 0";
        let mut camera = camera(dir.path(), Output::Yuv420, script, DEADLINE);
        let gone = light(&mut camera).expect_err("no frame");
        assert!(gone.contains("is gone"), "{gone}");
    }

    #[test]
    fn a_silent_program_is_gone_with_what_it_said() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let script = "echo no cameras available >&2; exec sleep 1000";
        let mut camera = camera(dir.path(), Output::Mjpg, script, Duration::from_millis(300));
        let began = Instant::now();
        loop {
            let gone = light(&mut camera).expect_err("no frame");
            assert!(gone.contains("no frame within the time-out"), "{gone}");
            // On a busy machine the shell may not have spoken in time.
            if gone.contains("it said: no cameras available") {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{gone}");
        }
    }

    #[test]
    fn it_is_ended_with_what_it_started_when_nobody_wants_it_any_more() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let script = "sleep 1000 & cat $frames; wait";
        let mut camera = camera(dir.path(), Output::Mjpg, script, DEADLINE);
        until_light(&mut camera, 255);
        let group = camera.source_for_tests().child.id();
        let group = Pid::from_raw(i32::try_from(group).expect("a pid")).expect("not 0");
        assert!(test_kill_process_group(group).is_ok());
        drop(camera);
        // The last of them may still have to be buried.
        let began = Instant::now();
        while test_kill_process_group(group).is_ok() {
            assert!(began.elapsed() < DEADLINE, "still there");
            thread::yield_now();
        }
    }

    #[test]
    fn a_program_that_is_not_installed_is_named() {
        let facts = ProgramFacts {
            command: vec!["no-such-camera-program".to_string()],
            output: Output::Mjpg,
            width_px: 64,
            height_px: 16,
            frames_per_second: 10,
            timeout_ms: 100,
            rotation_deg: super::super::facts::Rotation::None,
            exposure_us: None,
        };
        let mut camera = open(&facts, Arc::new(SystemClock::new())).expect("a command");
        let gone = light(&mut camera).expect_err("no such program");
        assert!(
            gone.contains("no program no-such-camera-program: install it"),
            "{gone}"
        );
    }
}
