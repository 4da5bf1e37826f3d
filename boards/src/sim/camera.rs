//! The replay camera: photos of a folder, then visitors that are sent to it, each held for a number of frames.
//!
//! ```text
//! folder or visitors:   [ photo, frames_per_photo x ] [ gap, gap_frames x ] [ photo ... ] ... end
//! clock:                |<- frame_interval_ms between any two frames ->|
//! ```
//!
//! A slow reader loses no frames here (unlike with a real camera): each photo is shown for its count, later.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use image::{DynamicImage, RgbImage};

use super::photo;
use super::strikes::{Harm, Part, Strikes};
use super::visitors::{Moving, Next, Picture, Skipped, Visitor, Visitors};
use super::{Faults, photo::wall};
use crate::replay::{self, AtEnd, Gap, ReplayFacts, Scene};
use crate::{Camera, Capture, Clock, Error, Frame};

pub(crate) struct ReplayCamera {
    facts: ReplayFacts,
    faults: Faults,
    strikes: Strikes,
    clock: Arc<dyn Clock>,
    visitors: Visitors,
    /// The whole folder, to start again from.
    scenes: Vec<Scene>,
    /// What is left of it.
    folder: VecDeque<Visitor>,
    /// Whether any photo of the folder was shown since its start: a loop of bad photos must end.
    any_shown: bool,
    stage: Stage,
    wall: RgbImage,
    /// When the last frame was taken.
    last: Option<Duration>,
    frames: u64,
}

/// What stands in front of the camera.
enum Stage {
    Empty,
    Showing {
        image: RgbImage,
        label: String,
        left: u32,
    },
    Moving {
        who: Moving,
        brightness: f32,
        label: String,
        left: u32,
    },
    Gap {
        left: u32,
    },
}

impl ReplayCamera {
    pub(crate) fn open(
        facts: ReplayFacts,
        faults: Faults,
        strikes: Strikes,
        clock: Arc<dyn Clock>,
        visitors: Visitors,
    ) -> Result<ReplayCamera, Error> {
        let scenes = match &facts.folder {
            Some(folder) => replay::scenes(folder)?,
            None => Vec::new(),
        };
        Ok(ReplayCamera {
            wall: wall(facts.width_px, facts.height_px),
            folder: play(&scenes),
            scenes,
            facts,
            faults,
            strikes,
            clock,
            visitors,
            any_shown: false,
            stage: Stage::Empty,
            last: None,
            frames: 0,
        })
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.facts.frame_interval_ms))
    }

    /// Lets one frame interval pass since the last frame and says when that is.
    fn tick(&mut self) -> Duration {
        let due = self
            .last
            .map_or(Duration::ZERO, |last| last + self.interval());
        self.clock.wait_until(due);
        let now = self.clock.now();
        self.last = Some(now);
        now
    }

    /// The next frame of what is on stage, or `None` if the stage is empty.
    fn show(&mut self) -> Option<Capture> {
        let (image, label) = match &mut self.stage {
            Stage::Empty => return None,
            Stage::Showing { image, label, left } => {
                *left -= 1;
                let frame = (image.clone(), Some(label.clone()));
                if *left == 0 {
                    self.stage = Stage::Gap {
                        left: self.facts.gap_frames,
                    };
                }
                frame
            }
            Stage::Moving {
                who,
                brightness,
                label,
                left,
            } => {
                let (width, height) = (self.facts.width_px, self.facts.height_px);
                let image = (*left > 0).then(|| who.next()).flatten();
                let Some(image) = image else {
                    self.stage = Stage::Gap {
                        left: self.facts.gap_frames,
                    };
                    return self.show();
                };
                *left -= 1;
                let image = photo::fit(DynamicImage::ImageRgb8(image), width, height);
                let frame = photo::lit(image.into_rgb8(), *brightness);
                (frame, Some(label.clone()))
            }
            Stage::Gap { left: 0 } => {
                self.stage = Stage::Empty;
                self.visitors.left_the_stage();
                return None;
            }
            Stage::Gap { left } => {
                *left -= 1;
                match self.facts.gap {
                    Gap::Wall => (self.wall.clone(), None),
                    Gap::Nothing => {
                        self.tick();
                        return Some(Capture::Waiting);
                    }
                }
            }
        };
        let at = self.tick();
        Some(Capture::Frame(Frame { image, at, label }))
    }

    fn damaged(&self, frame: u64) -> Error {
        Error::FrameDamaged {
            device: self.describe(),
            frame,
            problem: "injected fault".to_string(),
        }
    }

    /// Brings the next visitor on stage, or says why there is none.
    fn fill_stage(&mut self) -> Result<Option<Capture>, Error> {
        if let Some(visitor) = self.folder.pop_front() {
            self.any_shown |= self.enter(visitor);
            return Ok(None);
        }
        if !self.scenes.is_empty() && self.facts.at_end == AtEnd::Loop {
            return self.start_again();
        }
        let stop = !self.scenes.is_empty() && self.facts.at_end == AtEnd::Stop;
        let patience = if stop {
            Duration::ZERO
        } else {
            self.interval()
        };
        match self.visitors.next(patience) {
            Next::Visitor(visitor) => {
                if !self.enter(visitor) {
                    self.visitors.left_the_stage();
                }
                Ok(None)
            }
            Next::Finished => Ok(Some(Capture::Ended)),
            Next::Nobody if stop => Ok(Some(Capture::Ended)),
            Next::Nobody => {
                // Real time has passed; a manual clock follows it, so that an idle door's clock does not stand still.
                self.tick();
                Ok(Some(Capture::Waiting))
            }
        }
    }

    fn start_again(&mut self) -> Result<Option<Capture>, Error> {
        if !self.any_shown {
            return Err(Error::CameraLost {
                device: self.describe(),
                problem: "not one photo of the folder can be shown".to_string(),
            });
        }
        self.any_shown = false;
        self.folder = play(&self.scenes);
        Ok(None)
    }

    /// Opens a visitor's picture and puts it on stage; a bad one is reported and skipped.
    fn enter(&mut self, visitor: Visitor) -> bool {
        let (width, height) = (self.facts.width_px, self.facts.height_px);
        let image = match visitor.picture {
            Picture::Pixels(image) => {
                photo::fit(DynamicImage::ImageRgb8(image), width, height).into_rgb8()
            }
            Picture::Moving(who) => {
                self.stage = Stage::Moving {
                    who,
                    brightness: visitor.brightness,
                    label: visitor.label,
                    left: visitor.frames.unwrap_or(u32::MAX),
                };
                return true;
            }
            Picture::File(path) => match photo::open(&path, width, height) {
                Ok(image) => image,
                Err(problem) => {
                    self.visitors.skip(Skipped {
                        photo: path,
                        problem,
                    });
                    return false;
                }
            },
        };
        self.stage = Stage::Showing {
            image: photo::lit(image, visitor.brightness),
            label: visitor.label,
            left: visitor.frames.unwrap_or(self.facts.frames_per_photo).max(1),
        };
        true
    }
}

fn play(scenes: &[Scene]) -> VecDeque<Visitor> {
    let visitor = |scene: &Scene| {
        let photo = Visitor::photo(&scene.photo);
        Visitor {
            label: scene.label.clone().unwrap_or(photo.label.clone()),
            frames: scene.frames,
            brightness: scene.brightness,
            ..photo
        }
    };
    scenes.iter().map(visitor).collect()
}

impl Camera for ReplayCamera {
    fn next(&mut self) -> Result<Capture, Error> {
        let this = self.frames;
        if self.faults.camera_lost_at_frame.is_some_and(|n| this >= n) {
            return Err(Error::CameraLost {
                device: self.describe(),
                problem: format!("injected fault at frame {this}"),
            });
        }
        match self.strikes.meet(Part::Camera) {
            Some(Harm::Damage) => return Err(self.damaged(this)),
            Some(Harm::Fail | Harm::Panic | Harm::Hang) => {
                return Err(Error::CameraLost {
                    device: self.describe(),
                    problem: "injected fault".to_string(),
                });
            }
            None => {}
        }
        loop {
            if let Some(capture) = self.show() {
                if matches!(capture, Capture::Frame(_)) {
                    self.frames += 1;
                    if self.faults.damaged_frames.contains(&this) {
                        return Err(self.damaged(this));
                    }
                }
                return Ok(capture);
            }
            if let Some(capture) = self.fill_stage()? {
                return Ok(capture);
            }
        }
    }

    fn describe(&self) -> String {
        let size = format!("{}x{}", self.facts.width_px, self.facts.height_px);
        match &self.facts.folder {
            Some(folder) => format!("replay of {}, {size}", folder.display()),
            None => format!("replay of visitors, {size}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::ManualClock;
    use crate::{BoardFile, CameraFacts};

    struct Stand {
        camera: ReplayCamera,
        visitors: Visitors,
        clock: ManualClock,
    }

    fn stand(change: impl FnOnce(&mut ReplayFacts, &mut Faults)) -> Stand {
        let CameraFacts::Replay(mut facts) = BoardFile::named("sim").expect("built in").camera
        else {
            panic!("sim has a replay camera");
        };
        facts.frame_interval_ms = 100;
        facts.frames_per_photo = 2;
        facts.gap_frames = 1;
        let mut faults = Faults::default();
        change(&mut facts, &mut faults);
        let (visitors, clock) = (Visitors::default(), ManualClock::starting_at(0));
        let camera = ReplayCamera::open(
            facts,
            faults,
            Strikes::default(),
            Arc::new(clock.clone()),
            visitors.clone(),
        )
        .expect("opens");
        Stand {
            camera,
            visitors,
            clock,
        }
    }

    /// A folder with two good photos and two bad ones between them.
    fn photos() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in ["a.png", "d.png"] {
            RgbImage::new(8, 6)
                .save(dir.path().join(name))
                .expect("a small photo");
        }
        std::fs::write(dir.path().join("b.png"), b"not a photo").expect("a small file");
        std::fs::write(dir.path().join("c.jpg"), b"").expect("an empty file");
        dir
    }

    /// `a@0` is a frame labelled a at 0 ms, `-@100` one of the wall; `.`, `end`, `damaged` and `lost` are what they say.
    fn play(stand: &mut Stand, count: usize) -> Vec<String> {
        (0..count)
            .map(|_| match stand.camera.next() {
                Ok(Capture::Frame(frame)) => {
                    format!(
                        "{}@{}",
                        frame.label.as_deref().unwrap_or("-"),
                        frame.at.as_millis()
                    )
                }
                Ok(Capture::Waiting) => ".".to_string(),
                Ok(Capture::Ended) => "end".to_string(),
                Err(Error::FrameDamaged { frame, .. }) => format!("damaged {frame}"),
                Err(Error::CameraLost { .. }) => "lost".to_string(),
                Err(other) => other.to_string(),
            })
            .collect()
    }

    #[test]
    fn a_folder_plays_as_told_and_bad_photos_are_skipped_and_reported() {
        struct Case {
            name: &'static str,
            at_end: AtEnd,
            gap: Gap,
            want: &'static [&'static str],
        }
        let cases = [
            Case {
                name: "stop, wall between",
                at_end: AtEnd::Stop,
                gap: Gap::Wall,
                want: &[
                    "a@0", "a@100", "-@200", "d@300", "d@400", "-@500", "end", "end",
                ],
            },
            Case {
                name: "stop, nothing between",
                at_end: AtEnd::Stop,
                gap: Gap::Nothing,
                want: &["a@0", "a@100", ".", "d@300", "d@400", ".", "end"],
            },
            Case {
                name: "loop",
                at_end: AtEnd::Loop,
                gap: Gap::Wall,
                want: &[
                    "a@0", "a@100", "-@200", "d@300", "d@400", "-@500", "a@600", "a@700",
                ],
            },
            Case {
                name: "wait",
                at_end: AtEnd::Wait,
                gap: Gap::Wall,
                want: &["a@0", "a@100", "-@200", "d@300", "d@400", "-@500", ".", "."],
            },
        ];
        let mut failures = Vec::new();
        for case in cases {
            let dir = photos();
            let mut stand = stand(|facts, _| {
                facts.folder = Some(dir.path().to_path_buf());
                facts.at_end = case.at_end;
                facts.gap = case.gap;
            });
            let got = play(&mut stand, case.want.len());
            if got != case.want {
                failures.push(format!("{}: {got:?}", case.name));
            }
            let skipped: Vec<_> = stand
                .visitors
                .skipped()
                .iter()
                .map(|s| s.photo.file_name().map(ToOwned::to_owned))
                .collect();
            let want = [Some("b.png".into()), Some("c.jpg".into())];
            if skipped != want {
                failures.push(format!("{}: skipped {skipped:?}", case.name));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn a_loop_of_nothing_but_bad_photos_is_a_lost_camera() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("a.png"), b"not a photo").expect("a small file");
        let mut stand = stand(|facts, _| {
            facts.folder = Some(dir.path().to_path_buf());
            facts.at_end = AtEnd::Loop;
        });
        assert_eq!(play(&mut stand, 1), ["lost"]);
    }

    #[test]
    fn visitors_arrive_one_after_the_other() {
        let mut stand = stand(|_, _| {});
        let image = RgbImage::from_pixel(4, 4, image::Rgb([100, 50, 200]));
        let visitor = |label: &str, frames, brightness| Visitor {
            picture: Picture::Pixels(image.clone()),
            label: label.to_string(),
            frames,
            brightness,
        };
        stand.visitors.arrive(visitor("eve", None, 1.0));
        stand
            .visitors
            .arrive(Visitor::photo("/nonexistent/photo.png"));
        stand.visitors.arrive(visitor("adam", Some(1), 0.5));
        assert_eq!(stand.visitors.left(), 3);
        assert_eq!(
            play(&mut stand, 4),
            ["eve@0", "eve@100", "-@200", "adam@300"]
        );
        assert_eq!(stand.visitors.left(), 1, "the gap belongs to the visitor");
        assert_eq!(play(&mut stand, 2), ["-@400", "."]);
        assert_eq!(stand.visitors.left(), 0);
        assert!(stand.visitors.wait_until_shown(Duration::ZERO));
        assert_eq!(stand.visitors.skipped().len(), 1);

        stand.clock.advance(Duration::from_secs(10));
        stand.visitors.arrive(visitor("night", Some(1), 0.5));
        match stand.camera.next().expect("a frame") {
            Capture::Frame(frame) => {
                assert!(frame.at >= Duration::from_secs(10));
                assert_eq!(frame.image.get_pixel(0, 0).0, [50, 25, 100]);
            }
            other => panic!("{other:?}"),
        }
        stand.visitors.finish();
        assert_eq!(play(&mut stand, 2)[1], "end");
    }

    #[test]
    fn somebody_who_moves_makes_each_frame_when_it_is_asked_for() {
        let mut stand = stand(|_, _| {});
        let person = |frames| {
            let mut grey = 0;
            let moving = Moving::new(move || {
                grey += 10;
                (grey <= 30).then(|| RgbImage::from_pixel(4, 4, image::Rgb([grey; 3])))
            });
            Visitor {
                picture: Picture::Moving(moving),
                label: "ada".to_string(),
                frames,
                brightness: 2.0,
            }
        };
        stand.visitors.arrive(person(None));
        stand.visitors.arrive(person(Some(1)));
        for grey in [20, 40, 60] {
            match stand.camera.next().expect("a frame") {
                Capture::Frame(frame) => {
                    assert_eq!(frame.image.get_pixel(0, 0).0, [grey; 3]);
                    assert_eq!(frame.label.as_deref(), Some("ada"));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(play(&mut stand, 3), ["-@300", "ada@400", "-@500"]);
    }

    #[test]
    fn faults_come_when_told() {
        let dir = photos();
        let mut stand = stand(|facts, faults| {
            facts.folder = Some(dir.path().to_path_buf());
            faults.damaged_frames = vec![1];
            faults.camera_lost_at_frame = Some(3);
        });
        assert_eq!(
            play(&mut stand, 5),
            ["a@0", "damaged 1", "-@200", "lost", "lost"]
        );
    }
}
