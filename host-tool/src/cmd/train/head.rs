//! The head that `facelatch train --metric` makes, and what is said about it.

use std::fmt;

use facelatch_models::{
    embedding::Embedding,
    metric::{Epoch, Fitted, HeldOut, TripletConfig, fit},
};
use serde::Serialize;

use crate::{
    Error,
    home::{Home, Person},
    progress::Progress,
    report::percent,
};

/// So much less of the genuine pairs accepted is worth a warning.
const NOTICEABLE: f64 = 0.005;

/// How the training of a head went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadReport {
    /// How it was trained.
    pub config: TripletConfig,
    /// People with two templates or more, trained on.
    pub people: usize,
    /// Templates trained on.
    pub templates: usize,
    /// On the people left out.
    pub held_out: HeldOut,
    /// The held-out loss before the first epoch.
    pub start_loss: f64,
    /// The epoch whose weights were kept; 0 for the start.
    pub best_epoch: usize,
    /// Epoch by epoch.
    pub curve: Vec<Epoch>,
    /// Largest distance of its gate for few people: measured on the people left out.
    pub max_distance: f32,
}

impl From<&Fitted> for HeadReport {
    fn from(fitted: &Fitted) -> HeadReport {
        HeadReport {
            config: fitted.head.learned().config.clone(),
            people: fitted.people,
            templates: fitted.templates,
            held_out: fitted.held_out.clone(),
            start_loss: fitted.start_loss,
            best_epoch: fitted.best_epoch,
            curve: fitted.curve.clone(),
            max_distance: fitted.head.gate().max_distance,
        }
    }
}

impl HeadReport {
    /// Whether people it was not trained on are recognised noticeably worse than without it.
    #[must_use]
    pub fn does_harm(&self) -> bool {
        self.held_out.tmr_head < self.held_out.tmr_network - NOTICEABLE
    }
}

impl fmt::Display for HeadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = &self.held_out;
        writeln!(
            f,
            "head to {} numbers trained on {} people and {} templates; epoch {} of {} kept",
            self.config.dims,
            self.people,
            self.templates,
            self.best_epoch,
            self.curve.len()
        )?;
        writeln!(
            f,
            "on {} other people ({} genuine and {} impostor pairs): TMR at FMR {} {} by the network, {} behind the head",
            held.people,
            held.genuine,
            held.impostor,
            held.fmr,
            percent(held.tmr_network),
            percent(held.tmr_head)
        )?;
        writeln!(
            f,
            "its gate, as measured on them: distance at most {:.3}; doors get the head with the next bundle, and people \
             enrolled at a door have to be enrolled there again",
            self.max_distance
        )
    }
}

/// Trains a head on everybody kept in a workspace, and keeps nothing.
///
/// # Errors
/// [`Error::NotReady`] if somebody's templates were made behind another head; [`Error::Models`] if people or templates are
/// too few, with how many are needed.
pub(super) fn train_head(home: &Home, config: &TripletConfig) -> Result<Fitted, Error> {
    let (people, none) = (home.people()?, home.none()?);
    head_may_go(home, &people)?;
    let mut known: Vec<(Option<String>, Embedding)> = vec![];
    for person in &people {
        for template in &person.templates {
            known.push((Some(person.id.to_string()), template.embedding()?));
        }
    }
    for template in &none {
        known.push((None, template.embedding()?));
    }
    let examples: Vec<_> = known.iter().map(|(who, e)| (who.as_deref(), e)).collect();
    let progress = Progress::new("training the head", config.epochs.into(), "epochs");
    let fitted = fit(&examples, config, |_| progress.advance(1));
    progress.finish();
    Ok(fitted?)
}

/// Whether the head there is can go without taking anybody with it.
///
/// # Errors
/// [`Error::NotReady`] if somebody was enrolled at a door behind it.
pub(super) fn head_may_go(home: &Home, people: &[Person]) -> Result<(), Error> {
    let Some(head) = home.head()? else {
        return Ok(());
    };
    let behind = |person: &&Person| person.templates.iter().any(|t| t.space == *head.space());
    match people.iter().find(behind) {
        None => Ok(()),
        Some(person) => Err(Error::NotReady(format!(
            "{} was enrolled at a door behind the head there is now, which nothing else can take over: enroll them again \
             from photos, or remove them with `facelatch people remove`",
            person.id
        ))),
    }
}

#[cfg(test)]
mod tests {
    use facelatch_models::{classifier::TrainConfig, embedding::SpaceId};
    use facelatch_protocol::{DisplayName, PersonId};

    use super::*;
    use crate::{home::Template, train::train};

    const DIM: usize = 24;

    /// Numbers in -1 to 1 from a counter.
    fn number(of: u64) -> f32 {
        let mixed = of.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
        mixed as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn template(person: u64, photo: u64) -> Template {
        let at =
            |i: u64| number(person * 1000 + i) + 0.4 * number(person * 1000 + 100 * photo + i + 50);
        let values = Embedding::new(
            SpaceId::parse("test-24-0").expect("a space"),
            (1..=DIM as u64).map(at).collect(),
        );
        let values = values.expect("a vector");
        Template {
            space: values.space().clone(),
            values: values.into_values(),
            photo_sha256: [person as u8; 32],
            origin: format!("{photo}.jpg"),
        }
    }

    fn person(number: u64, templates: Vec<Template>) -> Person {
        Person {
            id: PersonId::parse(&format!("p{number}")).expect("an id"),
            name: DisplayName::parse("P").expect("a name"),
            created_unix_ms: 1,
            templates,
        }
    }

    fn workspace() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home::new(folder.path());
        for i in 0..40 {
            let templates = (1..=4).map(|photo| template(i, photo)).collect();
            home.put_person(&person(i, templates)).expect("writable");
        }
        home.put_none(&vec![template(99, 1)]).expect("writable");
        (folder, home)
    }

    fn config() -> TripletConfig {
        TripletConfig {
            dims: 16,
            epochs: 3,
            ..TripletConfig::default()
        }
    }

    #[test]
    fn a_head_comes_and_goes_and_the_networks_templates_stay() {
        let (_folder, home) = workspace();
        let before = home.people().expect("sound");
        let fitted = train_head(&home, &config()).expect("people enough");
        home.put_head(Some(&fitted.head)).expect("writable");
        let behind = home.enrolled().expect("one space");
        let spaces = behind
            .people
            .iter()
            .flat_map(|p| &p.templates)
            .chain(&behind.none);
        assert!(
            spaces
                .clone()
                .all(|t| t.space == *fitted.head.space() && t.values.len() == 16)
        );
        assert_eq!(home.people().expect("sound"), before);
        assert_eq!(
            home.space().expect("sound"),
            Some(before[0].templates[0].space.clone())
        );

        let (trained, _) =
            train(&behind.people, &behind.none, &TrainConfig::Centroid).expect("trainable");
        home.put_trained(&trained).expect("writable");
        home.current_classifier(&behind.people).expect("current");
        home.put_head(None).expect("removable");
        let bare = home.enrolled().expect("one space");
        assert_eq!((&bare.people, &bare.head), (&before, &None));
        let stale = home
            .current_classifier(&bare.people)
            .expect_err("of another space");
        assert!(stale.to_string().contains("facelatch train"), "{stale}");
        home.put_head(None).expect("nothing to remove");
    }

    #[test]
    fn what_a_door_made_behind_the_head_stays_and_bars_another_head() {
        let (_folder, home) = workspace();
        let fitted = train_head(&home, &config()).expect("people enough");
        home.put_head(Some(&fitted.head)).expect("writable");
        let at_door = template(77, 1)
            .behind(&fitted.head)
            .expect("of the network");
        home.put_person(&person(77, vec![at_door.clone()]))
            .expect("writable");
        let behind = home.enrolled().expect("one space");
        let kept = behind
            .people
            .iter()
            .find(|p| &*p.id == "p77")
            .expect("kept");
        assert_eq!(kept.templates, [at_door]);

        let barred = train_head(&home, &config())
            .expect_err("cannot be mapped back")
            .to_string();
        assert!(
            barred.contains("p77") && barred.contains("again"),
            "{barred}"
        );
        let other = TripletConfig {
            seed: 2,
            ..config()
        };
        home.remove_person(&person(77, vec![]).id)
            .expect("removable");
        let other = train_head(&home, &other).expect("people enough");
        let lost = template(77, 1).behind(&other.head).expect("of the network");
        home.put_person(&person(77, vec![lost])).expect("writable");
        let lost = home.enrolled().expect_err("of another head").to_string();
        assert!(lost.contains("p77 was enrolled at a door"), "{lost}");
    }

    #[test]
    fn a_head_that_does_harm_is_told() {
        let (_folder, home) = workspace();
        let mut report = HeadReport::from(&train_head(&home, &config()).expect("people enough"));
        report.held_out.tmr_network = 0.9;
        for (head, harm) in [(0.95, false), (0.896, false), (0.89, true)] {
            report.held_out.tmr_head = head;
            assert_eq!(report.does_harm(), harm, "{head}");
        }
        let said = report.to_string();
        assert!(
            said.contains("90.00 % by the network, 89.00 % behind"),
            "{said}"
        );
    }
}
