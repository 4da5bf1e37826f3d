//! The demo's enrollment: the button is held, an admin looks into the camera, a newcomer does what the light asks for, and
//! the host gives them a name afterwards.

use std::{path::Path, sync::mpsc::RecvTimeoutError, time::Instant};

use facelatch_boards::sim::{Picture, Visitor};
use facelatch_models::mtcnn::Face;
use facelatch_protocol::{DisplayName, Enrollment, EventKind, NotEnrolled, PersonId};
use image::RgbImage;

use super::{ANSWER_PATIENCE, Entry, FRAMES, QUIET, Stage, VISIT_PATIENCE, Visit, millis};
use crate::{Error, client::Client, pad::sitter::Sitter};

/// How long the button is held.
const HELD: std::time::Duration = std::time::Duration::from_millis(1_500);
/// Longest sitting, in frames: the door gives up before.
const SITTING_FRAMES: u32 = 600;

impl Stage {
    /// Has a newcomer enrolled with the button: the entry's photo on a rendered head that turns as the light asks. Then
    /// names them as the entry expects.
    ///
    /// # Errors
    /// [`Error::Demo`] if there is no face in the photo or the door says nothing of it, [`Error::Client`], [`Error::Bug`]
    /// before [`Stage::listen`].
    pub fn enroll(
        &mut self,
        admin: &Path,
        photo: &RgbImage,
        face: &Face,
        entry: &Entry,
    ) -> Result<Visit, Error> {
        let came_at = self.now();
        let first_at = *self.first_at.get_or_insert(came_at);
        let name = entry.photo.display().to_string();
        let newcomer = Sitter::new(photo, face)
            .ok_or_else(|| Error::Demo(format!("{name} shows no face")))?
            .obeying(&self.sim.panel);
        self.sim.panel.press(HELD);
        self.sim.visitors.arrive(Visitor {
            picture: Picture::File(admin.to_path_buf()),
            label: "an admin".to_owned(),
            frames: Some(FRAMES),
            brightness: 1.0,
        });
        self.sim.visitors.arrive(Visitor {
            frames: Some(SITTING_FRAMES),
            ..Visitor::moving("a newcomer", newcomer)
        });
        let enrolled = self.enrolled()?;
        let person = match &enrolled {
            Ok(person) => Some(self.name(person, &entry.expect)?),
            Err(_) => None,
        };
        Ok(Visit {
            photo: name,
            what: entry.what.clone(),
            expected: person.is_some(),
            person,
            decision: if enrolled.is_ok() {
                "enrolled"
            } else {
                "refused"
            },
            reason: enrolled
                .as_ref()
                .map_or_else(NotEnrolled::as_str, |_| "enrolled"),
            distance: None,
            probability: None,
            relay_ms: 0,
            latency_ms: 0,
            at_ms: millis(came_at.saturating_sub(first_at)),
        })
    }

    /// How the enrollment ended, once everybody has gone.
    fn enrolled(&self) -> Result<Result<PersonId, NotEnrolled>, Error> {
        let events = self.events.as_ref();
        let events =
            events.ok_or_else(|| Error::Bug("nobody listens to the demo's door".into()))?;
        let deadline = Instant::now() + VISIT_PATIENCE;
        let mut ended = None;
        while Instant::now() < deadline {
            match events.recv_timeout(QUIET) {
                Ok(event) => match event.kind {
                    EventKind::Enrollment(Enrollment::Done { person, .. }) => {
                        ended = Some(Ok(person));
                    }
                    EventKind::Enrollment(Enrollment::Refused(why)) => ended = Some(Err(why)),
                    EventKind::Fault(text) => {
                        return Err(Error::Demo(format!("the door failed: {text}")));
                    }
                    _ => {}
                },
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Demo("the door went away".into()));
                }
                Err(RecvTimeoutError::Timeout) => match ended.take() {
                    Some(ended) if self.sim.visitors.left() == 0 => return Ok(ended),
                    undecided => ended = undecided,
                },
            }
        }
        Err(Error::Demo("nobody was enrolled or refused in time".into()))
    }

    fn name(&self, person: &PersonId, id: &str) -> Result<String, Error> {
        let credentials = self.credentials.as_ref();
        let credentials = credentials
            .ok_or_else(|| Error::Bug("nobody is paired with the demo's door".into()))?;
        let bug = |why| Error::Bug(format!("the newcomer's id {why}"));
        let to = PersonId::parse(id).map_err(bug)?;
        let name = DisplayName::parse(id).map_err(bug)?;
        let mut client = Client::connect(&self.target(), credentials, ANSWER_PATIENCE)?;
        client.person_rename(person.clone(), to, name)?;
        client.goodbye()?;
        Ok(id.to_owned())
    }
}
