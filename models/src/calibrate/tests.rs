//! Calibration against synthetic people, whose true rates can be measured on as many strangers as it takes.

use super::*;

const DIMENSION: usize = 40;

/// SplitMix64, for synthetic faces.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn vector(&mut self) -> Vec<f32> {
        let normal = |random: &mut Random| (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0;
        (0..DIMENSION).map(|_| normal(self) as f32).collect()
    }

    /// Photos of one more person: cosine about 0.7 between two of them.
    fn person(&mut self, photos: usize) -> Vec<Embedding> {
        let face = self.vector();
        let photo = |random: &mut Random| {
            let noise = random.vector();
            let values = face.iter().zip(noise).map(|(f, n)| f + 0.65 * n);
            Embedding::new(space(), values.collect()).unwrap()
        };
        (0..photos).map(|_| photo(self)).collect()
    }

    fn gallery(&mut self, people: usize, photos: usize) -> Vec<(String, Embedding)> {
        let person = |i| {
            let templates = self.person(photos);
            templates.into_iter().map(move |t| (format!("p{i:03}"), t))
        };
        (0..people).flat_map(person).collect()
    }
}

fn space() -> SpaceId {
    SpaceId::parse("s").unwrap()
}

/// The tail of these synthetic people, one photo against one.
fn tail() -> Tail {
    let mut random = Random(7);
    let faces: Vec<Embedding> = (0..700).flat_map(|_| random.person(1)).collect();
    let mut distances = vec![];
    for (i, a) in faces.iter().enumerate() {
        distances.extend(faces[..i].iter().map(|b| a.distance(b).unwrap()));
    }
    Tail::fit(&distances).unwrap()
}

fn at(degrees: f32) -> Embedding {
    let (y, x) = degrees.to_radians().sin_cos();
    Embedding::new(space(), vec![x, y]).unwrap()
}

/// A wide-open gate: what is tightened, the calibration tightens.
fn gate() -> Gate {
    Gate {
        max_distance: 1.0,
        ..Gate::default()
    }
}

#[test]
fn the_predicted_interval_covers_the_rate_of_synthetic_strangers() {
    let tail = tail();
    let mut random = Random(1);
    let strangers: Vec<Embedding> = (0..4000).flat_map(|_| random.person(1)).collect();
    let (mut covered, mut measured_covered, mut tried, mut over) = (0, 0, 0, 0);
    for people in [5, 10, 30] {
        for _ in 0..8 {
            let gallery = random.gallery(people, 3);
            let calibration =
                Calibration::new(&space(), tail.clone(), 0.01, &gallery, &[]).unwrap();
            let mut roster = Roster::new(space(), &gallery).unwrap();
            let thresholds = calibration.thresholds(&gallery, &gate()).unwrap();
            let gate = calibration.apply(&mut roster, &gallery, &gate()).unwrap();
            let predicted = calibration.predict(&thresholds);
            assert!(predicted.interval_95[1] <= 0.01, "{predicted:?}");
            // The classifier's part is played by a coin that lets half of them pass.
            let passes = |s: &Embedding, random: &mut Random| {
                roster.judge(s, None, &gate).unwrap().outcome.is_ok() && random.next() & 1 == 0
            };
            let accepted = strangers.iter().filter(|s| passes(s, &mut random)).count();
            let rate = accepted as f64 / strangers.len() as f64;
            let within = |[low, high]: [f64; 2]| usize::from(low <= rate && rate <= high);
            covered += within(predicted.interval_95);
            measured_covered += within(predicted.measured_interval_95(strangers.len()));
            over += usize::from(rate > 0.01);
            tried += 1;
        }
    }
    assert!(covered * 10 >= tried * 9, "{covered} of {tried}");
    assert!(
        measured_covered * 10 >= tried * 9,
        "{measured_covered} of {tried}"
    );
    assert_eq!(over, 0, "of {tried}");
}

#[test]
fn the_operators_own_pairs_move_the_population() {
    let mut random = Random(3);
    let gallery = random.gallery(20, 3);
    let strangers: Vec<Embedding> = (0..200).flat_map(|_| random.person(1)).collect();
    let honest = tail();
    // A prior from people much less alike: the same quantiles, farther apart.
    let mut unlike = honest.clone();
    unlike.body.iter_mut().for_each(|(_, d)| *d += 0.1);
    let learned = |tail: &Tail, strangers: &[Embedding]| {
        let made = Calibration::new(&space(), tail.clone(), 0.002, &gallery, strangers).unwrap();
        made.population
    };
    let usual = learned(&honest, &strangers);
    assert!((0.5..2.0).contains(&usual.mean), "{usual:?}");
    let alike = learned(&unlike, &strangers);
    assert!(alike.mean > 2.0 * usual.mean, "{alike:?} {usual:?}");
    // More photos of strangers, more certainty.
    assert!(usual.shape > learned(&honest, &[]).shape);
    // Ten photos of one stranger are not ten strangers.
    let one: Vec<Embedding> = random.person(10);
    assert!(learned(&honest, &one).expected < learned(&honest, &strangers[..10]).expected);
}

#[test]
fn thresholds_tighten_with_people_templates_and_target() {
    let calibration = |target| {
        let made = Calibration::new(&space(), tail(), target, &[], &[]);
        made.unwrap()
    };
    let usual = calibration(0.002);
    let mut before = f32::INFINITY;
    for people in [1, 2, 5, 10, 20, 50, 100, 1000] {
        let distance = usual.max_distance(&vec![3; people]);
        assert!(
            distance < before && distance > 0.0,
            "{people}: {distance} {before}"
        );
        before = distance;
    }
    assert!(usual.max_distance(&[5; 10]) < usual.max_distance(&[1; 10]));
    assert!(calibration(0.0005).max_distance(&[3; 10]) < usual.max_distance(&[3; 10]));
    assert!(calibration(0.02).max_distance(&[3; 10]) > usual.max_distance(&[3; 10]));
    // What the gate forbids stays forbidden.
    let narrow = Gate {
        max_distance: 0.01,
        ..Gate::default()
    };
    let people = [("ann".to_owned(), at(0.0))];
    let limits = usual.thresholds(&people, &narrow).unwrap();
    assert_eq!(
        (limits.max_distance, limits.people[0].max_distance),
        (0.01, 0.01)
    );
}

#[test]
fn look_alikes_get_nearer_thresholds_and_nobody_else_does() {
    // 25 degrees are a distance of 0.094, 20 of 0.060.
    let people: Vec<_> = [
        ("ann", 0.0),
        ("bob", 25.0),
        ("cid", 120.0),
        ("cid", 130.0),
        ("dan", 240.0),
    ]
    .map(|(who, degrees)| (who.to_owned(), at(degrees)))
    .to_vec();
    let stranger = [at(150.0)];
    let mut wide = tail();
    wide.body = vec![(1e-3, 0.5), (1e-4, 0.4)];
    let made = Calibration::new(&space(), wide, 0.01, &people, &stranger).unwrap();
    let gate = Gate {
        min_margin: 0.05,
        ..gate()
    };
    let limits = made.thresholds(&people, &gate).unwrap();
    let of = |who: &str| limits.people.iter().find(|l| l.person == who).unwrap();
    for (who, other) in [("ann", "bob"), ("bob", "ann")] {
        let limit = of(who);
        let near = limit.look_alike.as_ref().unwrap();
        assert_eq!(near.person.as_deref(), Some(other));
        assert!((limit.max_distance - 0.0437).abs() < 1e-3, "{limit:?}");
    }
    let near = of("cid").look_alike.as_ref().unwrap();
    assert_eq!(near.person, None, "a stranger at 20 degrees");
    assert!((of("cid").max_distance - 0.0103).abs() < 1e-3);
    assert_eq!(of("dan").look_alike, None);
    assert_eq!(of("dan").max_distance, limits.max_distance);

    // A template that is no longer there takes its stranger with it.
    let without: Vec<_> = people
        .iter()
        .filter(|p| p.1 != at(130.0))
        .cloned()
        .collect();
    let without = made.thresholds(&without, &gate).unwrap();
    let cid = without.people.iter().find(|l| l.person == "cid").unwrap();
    assert!(
        (cid.max_distance - 0.084).abs() < 1e-3,
        "30 degrees from the other: {cid:?}"
    );
    let twice = [("ann", 0.0), ("eve", 0.0)].map(|(who, d)| (who.to_owned(), at(d)));
    let twice = made.thresholds(&twice, &gate).unwrap();
    assert!(
        twice.people.iter().all(|l| l.max_distance == 0.0),
        "{twice:?}"
    );
}

#[test]
fn it_survives_storage_and_damage_is_refused() {
    let people = [("ann".to_owned(), at(0.0))];
    let made = Calibration::new(&space(), tail(), 0.002, &people, &[at(20.0)]).unwrap();
    let bytes = postcard::to_allocvec(&made).unwrap();
    assert_eq!(Calibration::from_bytes(&bytes), Some(made.clone()));
    assert_eq!(Calibration::from_bytes(&bytes[1..]), None);
    assert_eq!(
        Calibration::from_bytes(&[bytes.as_slice(), &[0]].concat()),
        None
    );
    assert!(!bytes.windows(3).any(|w| w == b"ann"), "it names nobody");
    type Damage = fn(&mut Calibration);
    let cases: [(&str, Damage); 6] = [
        ("no target", |c| c.target_fpir = 0.0),
        ("target above all", |c| c.target_fpir = 0.6),
        ("no number", |c| c.target_fpir = f64::NAN),
        ("no population", |c| c.population.mean = 0.0),
        ("endless spread", |c| c.population.shape = f64::INFINITY),
        ("a stranger nowhere", |c| c.strangers[0].distance = f32::NAN),
    ];
    for (name, damage) in cases {
        let mut damaged = made.clone();
        damage(&mut damaged);
        assert!(
            matches!(damaged.validate(), Err(Error::Calibration(_))),
            "{name}"
        );
        let bytes = postcard::to_allocvec(&damaged).unwrap();
        assert_eq!(Calibration::from_bytes(&bytes), None, "{name}");
    }
    let other = SpaceId::parse("t").unwrap();
    assert!(matches!(
        Calibration::new(&other, tail(), 0.002, &people, &[]),
        Err(Error::Space { .. })
    ));
}
