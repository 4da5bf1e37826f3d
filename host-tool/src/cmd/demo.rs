//! `facelatch demo`: a simulated door, set up with shipped photos, and who gets in.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use facelatch_device::Config;
use facelatch_models::{
    classifier::TrainConfig,
    image::decode,
    mtcnn::{Face, main_face},
    zoo::Zoo,
};
use image::{ImageFormat, RgbImage};
use serde::Serialize;

use crate::{
    Error, Exit,
    cli::Global,
    cmd::{
        enroll::enroll,
        pack::{What, gather},
        predict::{encode, judge},
    },
    dataset::Dataset,
    demo::{Entry, Stage, Visit, programme},
    demo_data,
    draw::{Colour, caption, draw},
    embed::{MIN_FACE_PX, Networks, detector_config, photo_bytes},
    home::Home,
    pad::species::Species,
    predict::Judge,
    sealed::{write_atomic, write_shared},
    train::train,
};

/// Whom a visitors' list expects to get in where nobody should.
const NOBODY: &str = "nobody";
/// Who may vouch for newcomers, by id and by photo.
const ADMIN: &str = "eileen_collins";
const ADMIN_PHOTO: &str = "enroll/eileen_collins/astronaut.png";
/// Who is a stranger until enrolled at the door, and called this then.
const NEWCOMER_PHOTO: &str = "biden.jpg";
const NEWCOMER: &str = "joe_biden";

/// Why nobody gets in while faces are locked out.
const LOCKED_OUT: &str = "locked-out";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Starts the door daemon on a simulated board in this process, pairs with it, enrolls two people from shipped photos, trains,
pushes the result over TCP, and lets visitors come whose photos were not enrolled: the enrolled person gets in; a stranger, half
faces, a cat, an empty scene and a dark frame do not. A stranger who tries five times locks faces out for half a minute, for
everybody. Then the button is held, an admin vouches by her face, and the stranger
is enrolled, turning as the light asks, and gets in. Then the door asks for a challenge: a photo held up does not get in, a
rendered head that turns as asked does. Real networks and sockets; simulated camera, relay and time.

With --json prints an object a visitor. Exit code 1: an outcome was not the expected one.

Example: facelatch demo")]
pub struct Args {
    /// Folder for the tagged pictures.
    #[arg(long, value_name = "DIR", default_value = "demo-output")]
    out: PathBuf,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Report(Visit);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let visit = &self.0;
        let who = visit.person.as_deref().unwrap_or("nobody");
        let figure = |value: Option<f32>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        let relay = match visit.relay_ms {
            0 => "off".to_owned(),
            ms => format!("on for {:.1} s", ms as f64 / 1e3),
        };
        write!(
            f,
            "{:5.1} s  {:38} {:24} {:8} {:13} {:>8}  {:>11}  {:13} {:>7}",
            visit.at_ms as f64 / 1e3,
            visit.what,
            visit.photo,
            visit.decision.to_uppercase(),
            if visit.person.is_some() {
                who
            } else {
                visit.reason
            },
            figure(visit.distance),
            figure(visit.probability),
            relay,
            format!("{} ms", visit.latency_ms),
        )?;
        if !visit.expected {
            write!(f, "  NOT AS EXPECTED")?;
        }
        Ok(())
    }
}

/// Runs the verb.
///
/// # Errors
/// Photos or networks that are missing, a door that does not start or fails, pictures that cannot be written.
pub fn run(global: &Global, args: &Args) -> anyhow::Result<Exit> {
    let folder = demo_data::folder()?;
    let visitors = programme(&folder)?;
    let zoo = global.zoo()?;
    let scratch = tempfile::tempdir().map_err(Error::storage("create", std::env::temp_dir()))?;
    let home = Home::new(&scratch.path().join("home"));

    global
        .format()
        .say("enrolling two people from shipped photos, and training")?;
    let enrolled = enroll(
        &Dataset::open(&folder.join("enroll"))?,
        &zoo,
        &home,
        detector_config(MIN_FACE_PX),
    )?;
    let people: Vec<_> = enrolled.people.iter().map(|p| p.person.as_str()).collect();
    let (trained, _) = train(&home.people()?, &home.none()?, &TrainConfig::default())?;
    home.put_trained(&trained)?;
    write_atomic(
        &home.policy_path(),
        format!("zone = \"UTC\"\n[people.{ADMIN}]\nadmin = true\n").as_bytes(),
    )?;
    let (bundle, packed) =
        gather(&home, &What::default(), |space| global.zoo_of(space))?.sign(&home, 0)?;
    let bundle_file = scratch.path().join("demo.flb");
    write_atomic(&bundle_file, &bundle)?;

    global
        .format()
        .say("starting a door on the simulated board")?;
    let door = scratch.path().join("door");
    let mut stage = Stage::start(&door, zoo.dir())?;
    let target = stage.target();
    let mut client = stage.pair(&home)?;
    client.push(&bundle_file, |_, _| {}).map_err(Error::from)?;
    client.goodbye().map_err(Error::from)?;
    global.format().say(&format!(
        "pushed {} and {} bytes to {target}; here come the visitors\n\n  {:6} {:38} {:24} {:22} {:>8}  {:>11}  {:13} {:>7}",
        people.join(", "),
        packed.bytes,
        "time",
        "who",
        "photo",
        "decision",
        "distance",
        "probability",
        "relay",
        "latency"
    ))?;

    stage.listen()?;
    let mut pictures = Pictures::new(&zoo, judge(&home)?)?;
    let mut all_expected = true;
    for entry in &visitors {
        let visit = stage.show(&folder, entry)?;
        pictures.write(&folder, entry, &visit, &args.out)?;
        all_expected &= visit.expected;
        global.format().print(&Report(visit))?;
    }
    global
        .format()
        .say("\na stranger tries again and again; faces are locked out for half a minute")?;
    for (wait, locked_out, entry) in attempts(&visitors) {
        stage.wait(wait);
        let mut visit = stage.show(&folder, &entry)?;
        visit.expected &= (visit.reason == LOCKED_OUT) == locked_out;
        pictures.write(&folder, &entry, &visit, &args.out)?;
        all_expected &= visit.expected;
        global.format().print(&Report(visit))?;
    }
    global
        .format()
        .say("\nthe button is held; an admin vouches, and a stranger turns as the light asks")?;
    if let Some([sitting, later]) = newcomer(&visitors) {
        let photo = pictures.photo(&folder, &sitting)?;
        let face = pictures.main_face(&photo)?;
        let visit = stage.enroll(&folder.join(ADMIN_PHOTO), &photo, &face, &sitting)?;
        for (entry, visit) in [(&sitting, visit), (&later, stage.show(&folder, &later)?)] {
            pictures.write(&folder, entry, &visit, &args.out)?;
            all_expected &= visit.expected;
            global.format().print(&Report(visit))?;
        }
    }
    global
        .format()
        .say("\nfrom here on the door asks whoever it knows to turn their head")?;
    let mut stage = stage.challenging(&door, zoo.dir())?;
    for (species, entry) in challenged(&visitors) {
        let photo = pictures.photo(&folder, &entry)?;
        let face = pictures.main_face(&photo)?;
        let visit = stage.act(&photo, &face, species, &entry)?;
        pictures.write(&folder, &entry, &visit, &args.out)?;
        all_expected &= visit.expected;
        global.format().print(&Report(visit))?;
    }
    stage.stop()?;
    global.format().say(&format!(
        "\n{}; tagged pictures are in {}",
        if all_expected {
            "every visitor was treated as expected"
        } else {
            "NOT every visitor was treated as expected"
        },
        args.out.display()
    ))?;
    Ok(if all_expected { Exit::Done } else { Exit::No })
}

/// A stranger who tries as often as the door allows, and whoever is known meanwhile and later: how long after the visit
/// before, and whether the door is locked out.
fn attempts(visitors: &[Entry]) -> Vec<(Duration, bool, Entry)> {
    let find = |is: &dyn Fn(&Entry) -> bool| visitors.iter().find(|entry| is(entry));
    let stranger = find(&|entry| entry.photo == Path::new(NEWCOMER_PHOTO));
    let (Some(stranger), Some(known)) = (stranger, find(&|entry| entry.expect != NOBODY)) else {
        return vec![];
    };
    let rules = Config::default().lockout();
    let named = |what: String, expect: &str, entry: &Entry| Entry {
        what,
        expect: expect.to_owned(),
        ..entry.clone()
    };
    let tries = (1..=rules.denials).map(|n| {
        let what = format!("the stranger, attempt {n}");
        (Duration::ZERO, false, named(what, NOBODY, stranger))
    });
    let meanwhile = named("an enrolled person meanwhile".to_owned(), NOBODY, known);
    let later = named("the same, when it is over".to_owned(), &known.expect, known);
    tries
        .chain([
            (Duration::ZERO, true, meanwhile),
            (rules.first, false, later),
        ])
        .collect()
}

/// The stranger, being enrolled and then coming back.
fn newcomer(visitors: &[Entry]) -> Option<[Entry; 2]> {
    let is_it = |entry: &&Entry| entry.photo == Path::new(NEWCOMER_PHOTO);
    let stranger = visitors.iter().find(is_it)?;
    let entry = |what: &str| Entry {
        what: what.to_owned(),
        expect: NEWCOMER.to_owned(),
        ..stranger.clone()
    };
    Some([
        entry("the stranger, enrolled at the door"),
        entry("the stranger, who is none now"),
    ])
}

/// A print of the first enrolled visitor, and a head with the same face.
fn challenged(visitors: &[Entry]) -> Vec<(Species, Entry)> {
    let Some(person) = visitors.iter().find(|entry| entry.expect != NOBODY) else {
        return vec![];
    };
    let entry = |what: &str, expect: &str| Entry {
        what: what.to_owned(),
        expect: expect.to_owned(),
        photo: Path::new("..").join(demo_data::HEAD_PHOTO),
        ..person.clone()
    };
    vec![
        (
            Species::Still,
            entry("a photo of an enrolled person, held up", NOBODY),
        ),
        (
            Species::LiveTurning,
            entry("a rendered head that turns as asked", &person.expect),
        ),
    ]
}

/// Draws what the host makes of a visitor's photo, and what the door decided, into a copy.
struct Pictures {
    networks: Networks,
    judge: Judge,
    written: usize,
}

impl Pictures {
    fn new(zoo: &Zoo, judge: Judge) -> Result<Pictures, Error> {
        let networks = Networks::load(zoo, detector_config(MIN_FACE_PX))?;
        Ok(Pictures {
            networks,
            judge,
            written: 0,
        })
    }

    fn photo(&self, folder: &Path, entry: &Entry) -> Result<RgbImage, Error> {
        let path = folder.join("visitors").join(&entry.photo);
        let bytes = photo_bytes(&path)?;
        Ok(decode(&bytes, &path.display().to_string())?)
    }

    fn main_face(&mut self, photo: &RgbImage) -> Result<Face, Error> {
        let faces = self.networks.detector.detect(photo)?;
        let face = main_face(&faces, photo).cloned();
        face.ok_or_else(|| Error::Demo("a visitor's photo shows no face".into()))
    }

    fn write(
        &mut self,
        folder: &Path,
        entry: &Entry,
        visit: &Visit,
        out: &Path,
    ) -> Result<(), Error> {
        let mut photo = darkened(self.photo(folder, entry)?, entry.brightness);
        let verdicts = self.judge.photo(&mut self.networks, &photo)?;
        let tags: Vec<_> = verdicts
            .iter()
            .map(|(face, verdict)| verdict.tag(face))
            .collect();
        draw(&mut photo, &tags);
        let colour = if visit.person.is_some() {
            Colour::Green
        } else {
            Colour::Red
        };
        let who = visit.person.as_deref().unwrap_or(visit.reason);
        caption(
            &mut photo,
            &[format!("door: {} {who}", visit.decision)],
            colour,
        );
        self.written += 1;
        let stem = entry
            .photo
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let name = format!("{:02}-{stem}-{}.jpg", self.written, visit.decision);
        write_shared(&out.join(name), &encode(&photo, ImageFormat::Jpeg)?)
    }
}

fn darkened(mut photo: RgbImage, brightness: f32) -> RgbImage {
    if brightness != 1.0 {
        // A float outside a byte's range saturates.
        photo
            .iter_mut()
            .for_each(|value| *value = (f32::from(*value) * brightness).round() as u8);
    }
    photo
}
