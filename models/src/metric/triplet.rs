//! Trains a head by FaceNet's triplet loss (Schroff, Kalenichenko, Philbin 2015, sections 3.1 and 3.2).
//!
//! ```text
//! y = W x / |W x|     loss = mean over (a, p) of [ |y_a - y_p|^2 - |y_a - y_n|^2 + margin ]+   +   decay/2 |W - W0|^2
//!
//! a, p  two embeddings of one person, every ordered pair of a batch
//! n     semi-hard: of the others farther from a than p but within the margin, the nearest; none, and the pair is passed over
//! ```
//!
//! A batch is some people with some embeddings each, and some others: people with only one, and unknown people, who are
//! negatives only. A part of all of them is held out: it says when to stop, what the head is worth, and how near strangers
//! come. All is drawn from the seed. Sums are ndarray's, whose order depends on the processor: the same seed gives the same
//! head on the same kind of machine.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::{Head, Learned, start};
use crate::{
    Error,
    calibrate::Tail,
    classifier::random::Random,
    embedding::{Embedding, check_dimension},
};

/// Fewest people with two templates.
const FEWEST_PEOPLE: usize = 20;
/// Fewest pairs of different people held out: what [`Tail::fit`] takes.
const FEWEST_PAIRS: usize = 500;
/// One in so many is held out.
const HELD_OUT: usize = 4;
/// Most templates held out, as all of them are compared after every epoch.
const MOST_HELD_OUT: usize = 2000;
const MOMENTUM: f64 = 0.9;

/// How to train a head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TripletConfig {
    /// Numbers it gives.
    pub dims: u32,
    /// How much farther, in squared distance, another person has to be; in (0, 4).
    pub margin: f64,
    /// Most passes over the people; 0 keeps the start.
    pub epochs: u32,
    /// Epochs without a better head before training ends.
    pub patience: u32,
    /// People in a batch; 2 or more.
    pub people: u32,
    /// Most embeddings of each; 2 or more.
    pub each: u32,
    /// Negatives besides.
    pub others: u32,
    /// Step length; > 0.
    pub rate: f64,
    /// How strongly weights are drawn back to where they started; 0 or more.
    pub decay: f64,
    /// Power of the variances that the start divides by: 0 for plain principal axes, 0.5 for whitening.
    pub whitening: f64,
    /// Of all random choices.
    pub seed: u64,
}

impl Default for TripletConfig {
    fn default() -> Self {
        TripletConfig {
            dims: 128,
            margin: 0.2,
            epochs: 60,
            patience: 20,
            people: 32,
            each: 4,
            others: 64,
            rate: 0.2,
            decay: 0.05,
            whitening: 0.1,
            seed: 1,
        }
    }
}

impl TripletConfig {
    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`Error::Training`] naming the setting.
    pub fn check(&self) -> Result<(), Error> {
        let between = |v: f64, low: f64, high: f64| v >= low && v < high;
        let rules = [
            (self.dims > 0, "the head must give one number at least"),
            (
                self.margin > 0.0 && self.margin < 4.0,
                "the margin must be above 0 and below 4",
            ),
            (self.epochs <= 10_000, "there can be at most 10000 epochs"),
            (
                self.people >= 2 && self.each >= 2,
                "a batch needs two people with two templates each",
            ),
            (
                self.rate > 0.0 && self.rate <= 10.0,
                "the rate must be above 0 and at most 10",
            ),
            (
                between(self.decay, 0.0, 10.0),
                "the decay must be 0 to below 10",
            ),
            (
                between(self.whitening, 0.0, 1.0),
                "the whitening must be 0 to below 1",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(Error::Training((*why).to_owned())),
            None => Ok(()),
        }
    }
}

/// One pass over the people.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss over all pairs of a person's templates in the batches, without the decay.
    pub loss: f64,
    /// Share of these pairs with a semi-hard negative.
    pub active: f64,
    /// On the people held out, every pair with its nearest negative; the least is best.
    pub held_out_loss: f64,
    /// Share of held-out genuine pairs accepted at [`HeldOut::fmr`].
    pub held_out_tmr: f64,
}

/// What the head is worth, on people it was not trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// People with two templates or more.
    pub people: usize,
    /// All templates held out, those of other and unknown people among them.
    pub templates: usize,
    /// Pairs of templates of one person.
    pub genuine: usize,
    /// Pairs of templates of two people.
    pub impostor: usize,
    /// The false match rate the next two are at: 1e-3 with 10,000 impostor pairs, else 1e-2.
    pub fmr: f64,
    /// Share of genuine pairs accepted, by the network's own embeddings.
    pub tmr_network: f64,
    /// The same by the head's.
    pub tmr_head: f64,
}

/// A trained head with its story.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The head.
    pub head: Head,
    /// What it is worth.
    pub held_out: HeldOut,
    /// The held-out loss where training started.
    pub start_loss: f64,
    /// Epoch by epoch.
    pub curve: Vec<Epoch>,
    /// Which epoch's weights were kept, from 1; 0 for the start.
    pub best_epoch: usize,
    /// People with two templates or more, trained on.
    pub people: usize,
    /// Templates trained on, those of others among them.
    pub templates: usize,
}

/// Trains on labelled embeddings of one space; `None` is somebody unknown, another one each time.
///
/// # Errors
/// [`Error::Training`] for settings out of range, or with how many people or templates are missing; [`Error::Space`] if
/// spaces are mixed.
pub fn fit(
    examples: &[(Option<&str>, &Embedding)],
    config: &TripletConfig,
    mut seen: impl FnMut(&Epoch),
) -> Result<Fitted, Error> {
    config.check()?;
    let Some((_, first)) = examples.first() else {
        return Err(too_few(0, 0));
    };
    let (base, dims_in) = (first.space(), first.values().len());
    let dims = config.dims as usize;
    if dims > dims_in {
        return Err(Error::Training(format!(
            "a head gives at most as many numbers as the network, {dims_in}, not {dims}"
        )));
    }
    for (_, embedding) in examples {
        base.expect(embedding.space())?;
        check_dimension(base, dims_in, embedding.values().len())?;
    }
    let mut random = Random(config.seed);
    let (train, held) = split(examples, &mut random)?;
    let w0 = start::axes(train.x.view(), dims, config.whitening)?;
    let network = held.judge(held.x.view(), config.margin)?;
    let started = held.judge(unit(held.x.dot(&w0.t())).0.view(), config.margin)?;
    let start_loss = started.loss;
    let mut w = w0.clone();
    let mut velocity = Array2::zeros(w.dim());
    let mut best = (0, w.clone(), started);
    let mut curve = vec![];
    for epoch in 1..=config.epochs as usize {
        let (loss, active) = train.pass(&mut w, &w0, &mut velocity, config, &mut random);
        let judged = held.judge(unit(held.x.dot(&w.t())).0.view(), config.margin)?;
        curve.push(Epoch {
            loss,
            active,
            held_out_loss: judged.loss,
            held_out_tmr: judged.tmr,
        });
        seen(&curve[curve.len() - 1]);
        if judged.loss < best.2.loss {
            best = (epoch, w.clone(), judged);
        }
        if epoch - best.0 >= config.patience as usize {
            break;
        }
    }
    let (best_epoch, weights, judged) = best;
    let learned = Learned {
        base: base.clone(),
        dims_in: dims_in as u32,
        dims_out: config.dims,
        weights: weights.iter().map(|&v| v as f32).collect(),
        config: config.clone(),
        strangers: judged.tail,
    };
    Ok(Fitted {
        head: Head::new(learned)?,
        held_out: HeldOut {
            people: held.several(),
            templates: held.who.len(),
            genuine: judged.genuine,
            impostor: judged.impostor,
            fmr: judged.fmr,
            tmr_network: network.tmr,
            tmr_head: judged.tmr,
        },
        start_loss,
        curve,
        best_epoch,
        people: train.several(),
        templates: train.who.len(),
    })
}

/// Embeddings with whose they are; unknown people have numbers of their own, from `known` on.
struct Set {
    x: Array2<f64>,
    who: Vec<usize>,
    known: usize,
}

/// People with two templates are dealt out apart from all others, so that both parts have their share of each.
fn split(
    examples: &[(Option<&str>, &Embedding)],
    random: &mut Random,
) -> Result<(Set, Set), Error> {
    let mut people: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut others: Vec<Vec<usize>> = vec![];
    for (i, (who, _)) in examples.iter().enumerate() {
        match who {
            Some(who) => people.entry(who).or_default().push(i),
            None => others.push(vec![i]),
        }
    }
    let unknown = others.len();
    let (mut several, mut single): (Vec<_>, Vec<_>) =
        people.into_values().partition(|of_one| of_one.len() > 1);
    if several.len() < FEWEST_PEOPLE {
        return Err(too_few(several.len(), 0));
    }
    random.shuffle(&mut several);
    random.shuffle(&mut single);
    random.shuffle(&mut others);
    let mut parts = [vec![], vec![]];
    let mut held_out = 0;
    for group in [&several, &single, &others] {
        let hold = group.len() / HELD_OUT;
        for (i, of_one) in group.iter().enumerate() {
            let held = i < hold && held_out + of_one.len() <= MOST_HELD_OUT;
            held_out += if held { of_one.len() } else { 0 };
            let is_known = !std::ptr::eq(group, &others);
            parts[usize::from(held)].push((is_known, of_one.clone()));
        }
    }
    let [train, held] = parts.map(|part| Set::gather(examples, part));
    let pairs = held.impostors().count();
    if pairs < FEWEST_PAIRS {
        let known = several.iter().chain(&single).map(Vec::len).sum::<usize>();
        return Err(too_few(several.len(), known + unknown));
    }
    Ok((train, held))
}

fn too_few(several: usize, templates: usize) -> Error {
    // With 34 templates of different people held out there are 561 pairs.
    let wanted = 34 * HELD_OUT;
    let found = match several < FEWEST_PEOPLE {
        true => format!("{several} people have two photos or more"),
        false => format!("{templates} photos are too few to measure it on a quarter of them"),
    };
    Error::Training(format!(
        "a triplet head needs {FEWEST_PEOPLE} people with two photos or more, and about {wanted} photos in all (strangers' in \
         none/ count): {found}"
    ))
}

/// How a set does in some space.
struct Judged {
    loss: f64,
    fmr: f64,
    tmr: f64,
    genuine: usize,
    impostor: usize,
    tail: Tail,
}

impl Set {
    fn gather(examples: &[(Option<&str>, &Embedding)], mut part: Vec<(bool, Vec<usize>)>) -> Set {
        part.sort_by_key(|(is_known, _)| !is_known);
        let known = part.iter().filter(|(is_known, _)| *is_known).count();
        let dim = examples.first().map_or(0, |(_, e)| e.values().len());
        let (mut rows, mut who) = (vec![], vec![]);
        for (person, (_, of_one)) in part.iter().enumerate() {
            for &i in of_one {
                rows.extend(examples[i].1.values().iter().map(|&v| f64::from(v)));
                who.push(person);
            }
        }
        let x = Array2::from_shape_vec((who.len(), dim), rows).unwrap_or_default();
        Set { x, who, known }
    }

    /// Rows of each person.
    fn people(&self) -> Vec<Vec<usize>> {
        let count = self.who.last().map_or(0, |last| last + 1);
        let mut people = vec![vec![]; count];
        for (row, &person) in self.who.iter().enumerate() {
            people[person].push(row);
        }
        people
    }

    fn several(&self) -> usize {
        self.people().iter().filter(|rows| rows.len() > 1).count()
    }

    /// Pairs of rows of two people; two unknown ones may be one.
    fn impostors(&self) -> impl Iterator<Item = (usize, usize)> {
        let other = |&(i, j): &(usize, usize)| {
            self.who[i] != self.who[j] && self.who[i].min(self.who[j]) < self.known
        };
        (0..self.who.len())
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .filter(other)
    }

    /// Of unit rows `y`, one for each of `x`.
    fn judge(&self, y: ArrayView2<f64>, margin: f64) -> Result<Judged, Error> {
        let cosines = y.dot(&y.t());
        let n = self.who.len();
        let mut genuine = vec![];
        let (mut loss, mut pairs) = (0.0, 0usize);
        for a in 0..n {
            let others = (0..n).filter(|&k| self.who[k] != self.who[a]);
            let nearest = others.map(|k| cosines[[a, k]]).fold(-1.0, f64::max);
            for p in (0..n).filter(|&p| p != a && self.who[p] == self.who[a]) {
                // Squared distances of unit vectors are 2 - 2 cos.
                loss += (2.0 * (nearest - cosines[[a, p]]) + margin).max(0.0);
                pairs += 1;
                if p < a {
                    genuine.push(1.0 - cosines[[a, p]]);
                }
            }
        }
        let impostor = self
            .impostors()
            .map(|(i, j)| (1.0 - cosines[[i, j]]) as f32);
        let mut impostor: Vec<f32> = impostor.collect();
        let tail = Tail::fit(&impostor).ok_or_else(|| {
            Error::Training("the people held out are too much alike to be measured on".to_owned())
        })?;
        let fmr = if impostor.len() >= 10_000 { 1e-3 } else { 1e-2 };
        let rank = (fmr * impostor.len() as f64) as usize;
        let (_, &mut threshold, _) = impostor.select_nth_unstable_by(rank, f32::total_cmp);
        let accepted = genuine
            .iter()
            .filter(|&&d| d < f64::from(threshold))
            .count();
        Ok(Judged {
            loss: loss / pairs.max(1) as f64,
            fmr,
            tmr: accepted as f64 / genuine.len().max(1) as f64,
            genuine: genuine.len(),
            impostor: impostor.len(),
            tail,
        })
    }

    /// One pass over all people with two rows or more: mean loss, and the share of pairs with a negative.
    fn pass(
        &self,
        w: &mut Array2<f64>,
        w0: &Array2<f64>,
        velocity: &mut Array2<f64>,
        config: &TripletConfig,
        random: &mut Random,
    ) -> (f64, f64) {
        let (mut several, mut single): (Vec<_>, Vec<_>) =
            self.people().into_iter().partition(|rows| rows.len() > 1);
        random.shuffle(&mut several);
        let batches = several.len().div_ceil(config.people as usize).max(1);
        let size = several.len().div_ceil(batches).max(1);
        let (mut loss, mut active, mut pairs) = (0.0, 0, 0);
        for people in several.chunks_mut(size) {
            let mut rows = vec![];
            for person in people {
                random.shuffle(person);
                rows.extend(person.iter().take(config.each as usize));
            }
            random.shuffle(&mut single);
            rows.extend(single.iter().take(config.others as usize).flatten());
            let who: Vec<usize> = rows.iter().map(|&row| self.who[row]).collect();
            let step = step(w, self.x.select(Axis(0), &rows).view(), &who, config.margin);
            loss += step.loss;
            active += step.active;
            pairs += step.pairs;
            let drawn = (&*w - w0) * config.decay;
            *velocity = &*velocity * MOMENTUM + step.gradient + drawn;
            w.scaled_add(-config.rate, velocity);
        }
        let pairs = pairs.max(1) as f64;
        (loss / pairs, active as f64 / pairs)
    }
}

/// What one batch says.
struct Step {
    /// Summed over the pairs.
    loss: f64,
    /// Pairs with a semi-hard negative.
    active: usize,
    pairs: usize,
    /// Of the mean loss over the pairs, by the weights.
    gradient: Array2<f64>,
}

fn step(w: &Array2<f64>, x: ArrayView2<f64>, who: &[usize], margin: f64) -> Step {
    let (y, lengths) = unit(x.dot(&w.t()));
    let cosines = y.dot(&y.t());
    let n = who.len();
    // The loss of a triplet is 2 (y_a . y_n - y_a . y_p) + margin: its gradient by Y is 2 M Y, M symmetric.
    let mut m = Array2::<f64>::zeros((n, n));
    let (mut loss, mut active, mut pairs) = (0.0, 0, 0);
    for a in 0..n {
        for p in (0..n).filter(|&p| p != a && who[p] == who[a]) {
            pairs += 1;
            let positive = cosines[[a, p]];
            let semi_hard = |&k: &usize| {
                let negative = cosines[[a, k]];
                who[k] != who[a] && negative < positive && 2.0 * (positive - negative) < margin
            };
            let nearest = (0..n)
                .filter(semi_hard)
                .max_by(|&i, &j| cosines[[a, i]].total_cmp(&cosines[[a, j]]));
            let Some(k) = nearest else {
                continue;
            };
            active += 1;
            loss += 2.0 * (cosines[[a, k]] - positive) + margin;
            for (i, j, sign) in [(a, k, 1.0), (k, a, 1.0), (a, p, -1.0), (p, a, -1.0)] {
                m[[i, j]] += sign;
            }
        }
    }
    // Through the scaling to unit length only what is across y counts, divided by the length.
    let mut across = m.dot(&y) * (2.0 / pairs.max(1) as f64);
    for ((mut g, y), length) in across.rows_mut().into_iter().zip(y.rows()).zip(&lengths) {
        let along = g.dot(&y);
        g.scaled_add(-along, &y);
        g /= *length;
    }
    Step {
        loss,
        active,
        pairs,
        gradient: across.t().dot(&x),
    }
}

/// Rows scaled to length 1, and what the lengths were; a row of zeros stays.
fn unit(mut rows: Array2<f64>) -> (Array2<f64>, Vec<f64>) {
    let mut lengths = Vec::with_capacity(rows.nrows());
    for mut row in rows.rows_mut() {
        let length = row.dot(&row).sqrt().max(f64::MIN_POSITIVE);
        row /= length;
        lengths.push(length);
    }
    (rows, lengths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::SpaceId;

    /// People whose photos differ from each other most in the last dimensions, which say nothing of them.
    fn examples(people: usize, each: usize, strangers: usize) -> Vec<(Option<String>, Embedding)> {
        const DIM: usize = 24;
        let space = SpaceId::parse("test-24-0").unwrap();
        let mut random = Random(3);
        let mut all = vec![];
        let mut add = |who: Option<String>, photos| {
            let person: Vec<f64> = (0..DIM / 2).map(|_| random.normal()).collect();
            for _ in 0..photos {
                let own = person.iter().map(|v| (v + 0.3 * random.normal()) as f32);
                let own: Vec<f32> = own.collect();
                let noise = (0..DIM / 2).map(|_| random.normal() as f32);
                let values = own.into_iter().chain(noise.collect::<Vec<_>>()).collect();
                all.push((who.clone(), Embedding::new(space.clone(), values).unwrap()));
            }
        };
        (0..people).for_each(|i| add(Some(format!("p{i:03}")), each));
        (0..strangers).for_each(|_| add(None, 1));
        all
    }

    fn config() -> TripletConfig {
        TripletConfig {
            dims: 12,
            decay: 0.0,
            ..TripletConfig::default()
        }
    }

    fn fitted(
        all: &[(Option<String>, Embedding)],
        config: &TripletConfig,
    ) -> Result<Fitted, Error> {
        let examples: Vec<_> = all.iter().map(|(who, e)| (who.as_deref(), e)).collect();
        fit(&examples, config, |_| ())
    }

    #[test]
    fn what_tells_people_apart_is_learned_and_holds_for_others() {
        let all = examples(60, 4, 20);
        let fitted = fitted(&all, &config()).unwrap();
        let held = &fitted.held_out;
        assert_eq!((held.people, held.templates, held.genuine), (15, 65, 90));
        assert!(held.tmr_head > held.tmr_network + 0.2, "{held:?}");
        let (first, last) = (fitted.curve[0], fitted.curve[fitted.curve.len() - 1]);
        assert!(last.loss < first.loss, "{first:?} {last:?}");
        let best = fitted.curve[fitted.best_epoch - 1];
        assert!(best.held_out_loss < fitted.start_loss);
        assert!(
            fitted
                .curve
                .iter()
                .all(|e| e.held_out_loss >= best.held_out_loss)
        );
        assert_eq!(best.held_out_tmr, held.tmr_head);
        assert!(fitted.curve.len() <= fitted.best_epoch + config().patience as usize);
    }

    #[test]
    fn a_seed_gives_the_same_head_again() {
        let all = examples(24, 4, 60);
        let quick = TripletConfig {
            epochs: 3,
            ..config()
        };
        let first = fitted(&all, &quick).unwrap();
        assert_eq!(fitted(&all, &quick).unwrap(), first);
        let other = TripletConfig { seed: 2, ..quick };
        assert_ne!(
            fitted(&all, &other).unwrap().head.space(),
            first.head.space()
        );
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let all = examples(6, 3, 4);
        let rows: Vec<f64> = all
            .iter()
            .flat_map(|(_, e)| e.values())
            .map(|&v| f64::from(v))
            .collect();
        let x = Array2::from_shape_vec((all.len(), 24), rows).unwrap();
        let who: Vec<usize> = (0..18).map(|i| i / 3).chain(6..10).collect();
        let mut random = Random(9);
        let w = Array2::from_shape_fn((5, 24), |_| random.normal());
        let at = |w: &Array2<f64>| step(w, x.view(), &who, 0.5);
        let here = at(&w);
        assert!(here.active > 5, "{} active", here.active);
        for (i, j) in [(0, 0), (1, 7), (2, 13), (4, 23), (3, 18)] {
            let h = 1e-6;
            let moved = |by| {
                let mut w = w.clone();
                w[[i, j]] += by;
                at(&w).loss / here.pairs as f64
            };
            let found = (moved(h) - moved(-h)) / (2.0 * h);
            let expected = here.gradient[[i, j]];
            assert!(
                (found - expected).abs() < 1e-6,
                "{i},{j}: {found} {expected}"
            );
        }
    }

    #[test]
    fn too_little_to_learn_from_is_said_in_numbers() {
        struct Case(usize, usize, usize, &'static str);
        let cases = [
            Case(0, 0, 0, "0 people"),
            Case(19, 4, 100, "20 people with two photos or more"),
            Case(40, 1, 0, "0 people have two"),
            Case(20, 2, 0, "40 photos are too few"),
        ];
        for Case(people, each, strangers, says) in cases {
            let why = fitted(&examples(people, each, strangers), &config())
                .unwrap_err()
                .to_string();
            assert!(why.contains(says), "{people} x {each}: {why}");
        }
        let all = examples(40, 4, 0);
        for (dims, says) in [
            (25, "at most as many numbers as the network, 24"),
            (0, "one number at least"),
        ] {
            let why = fitted(&all, &TripletConfig { dims, ..config() })
                .unwrap_err()
                .to_string();
            assert!(why.contains(says), "{why}");
        }
    }
}
