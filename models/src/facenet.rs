//! Face crop -> embedding.
//!
//! Works for any embedder whose manifest names a crop and a space, and for several together: their unit vectors, scaled by
//! the roots of their weights, one after the other, so that the cosine of two such vectors is the weighted mean of the
//! networks' cosines. Finding and cutting the face is `mtcnn`'s and `align`'s work, comparing embeddings `openset`'s.

use std::sync::Arc;

use image::{RgbImage, imageops, imageops::flip_horizontal};
use ndarray::ArrayView4;

use crate::{
    Error,
    align::{Crop, CropSpec},
    embedding::{Embedding, SpaceId, check_dimension},
    metric::Head,
    net::Net,
    openset::Gate,
};

/// One network, or several together, with what they expect and the space they map to.
#[derive(Debug)]
pub struct Embedder {
    parts: Vec<Part>,
    space: SpaceId,
    /// The space of the networks' own output.
    uncentred_space: SpaceId,
    crop: CropSpec,
    dimension: usize,
    /// Runs behind the networks.
    head: Option<Arc<Head>>,
}

/// One network of an embedder; it looks at the view of the same place.
#[derive(Debug)]
pub struct Part {
    /// The network.
    pub net: Net,
    /// Mean unit embedding of a mixed population, one number a dimension, taken off before embeddings are compared; empty
    /// for none.
    pub centre: Vec<f32>,
    /// Its share of the cosine; all shares add up to 1.
    pub weight: f32,
}

impl Embedder {
    /// Puts networks to use, running each once: what does not give one embedding a crop is refused here. `crop` has one
    /// view a network.
    ///
    /// # Errors
    /// [`Error::Network`] if a network does not fit its view, gives anything but one finite row of numbers, or if its
    /// centre is of another dimension.
    pub fn new(parts: Vec<Part>, space: SpaceId, crop: CropSpec) -> Result<Embedder, Error> {
        let unusable = |name: &str, why: String| Error::Network {
            name: name.to_owned(),
            why,
        };
        if parts.is_empty() || parts.len() != crop.views().len() {
            let why = format!("{} networks for {} views", parts.len(), crop.views().len());
            return Err(unusable(space.as_str(), why));
        }
        let mut embedder = Embedder {
            parts,
            uncentred_space: space.uncentred()?,
            space,
            crop,
            dimension: 0,
            head: None,
        };
        for (at, view) in embedder.crop.views().iter().enumerate() {
            let part = &mut embedder.parts[at];
            let grey = RgbImage::from_pixel(view.width, view.height, image::Rgb([127; 3]));
            let tested = raw(&mut part.net, &grey).and_then(|values| {
                // Whatever the weights, the first finite vector must have a direction.
                Embedding::new(embedder.space.clone(), values)
            });
            let tested = tested
                .map_err(|e| unusable(part.net.name(), format!("its self-test failed: {e}")))?;
            let (found, expected) = (part.centre.len(), tested.values().len());
            if found != 0 && found != expected {
                let why = format!("its centre has {found} numbers, its embeddings {expected}");
                return Err(unusable(part.net.name(), why));
            }
            embedder.dimension += expected;
        }
        Ok(embedder)
    }

    /// Puts a head behind the networks: probes and templates are of its space from now on.
    ///
    /// # Errors
    /// [`Error::Space`] if it was made for other networks.
    pub fn with_head(self, head: Arc<Head>) -> Result<Embedder, Error> {
        let learned = head.learned();
        self.space.expect(&learned.base)?;
        check_dimension(&self.space, self.dimension, learned.dims_in as usize)?;
        Ok(Embedder {
            head: Some(head),
            ..self
        })
    }

    /// The embedding space: embeddings of different spaces must never be compared.
    #[must_use]
    pub fn space(&self) -> &SpaceId {
        self.head.as_ref().map_or(&self.space, |head| head.space())
    }

    /// The open-set gate of its space, for few people: as measured, else the default.
    #[must_use]
    pub fn gate(&self) -> Gate {
        let head = self.head.as_ref();
        head.map_or_else(|| Gate::of(&self.space), |head| head.gate())
    }

    /// Numbers in an embedding.
    #[must_use]
    pub fn dimension(&self) -> usize {
        let head = self.head.as_ref();
        head.map_or(self.dimension, |head| head.learned().dims_out as usize)
    }

    /// How crops for [`Embedder::embed`] are cut.
    #[must_use]
    pub fn crop_spec(&self) -> &CropSpec {
        &self.crop
    }

    /// Embeds one crop of the size [`Embedder::crop_spec`] says: each network's unit vector, less the centre, scaled to
    /// unit length again.
    ///
    /// # Errors
    /// [`Error::Inference`] if the crop is of another size or a network fails.
    pub fn embed(&mut self, crop: &Crop) -> Result<Embedding, Error> {
        let space = self.space.clone();
        let embedding = self.joined(space, crop, |part, view, space| {
            let unit = part.unit(view, space)?;
            part.centred(unit, space)
        })?;
        self.mapped(embedding)
    }

    /// Embeds the crop and its mirror image and averages: twice the work, steadier templates.
    ///
    /// # Errors
    /// As for [`Embedder::embed`].
    pub fn embed_template(&mut self, crop: &Crop) -> Result<Embedding, Error> {
        let space = self.space.clone();
        let embedding = self.joined(space, crop, |part, view, space| {
            let plain = part.unit(view, space)?;
            let mirrored = part.unit(&flip_horizontal(view), space)?;
            let pairs = plain.iter().zip(&mirrored);
            part.centred(pairs.map(|(a, b)| (a + b) / 2.0).collect(), space)
        })?;
        self.mapped(embedding)
    }

    /// The networks' own output scaled to unit length, as other programs that run the same networks give it. It is of
    /// another space than [`Embedder::space`]: [`SpaceId::uncentred`].
    ///
    /// # Errors
    /// As for [`Embedder::embed`].
    pub fn embed_uncentred(&mut self, crop: &Crop) -> Result<Embedding, Error> {
        let space = self.uncentred_space.clone();
        self.joined(space, crop, |part, view, space| {
            Embedding::new(space.clone(), raw(&mut part.net, view)?)
        })
    }

    fn mapped(&self, embedding: Embedding) -> Result<Embedding, Error> {
        match &self.head {
            Some(head) => head.apply(&embedding),
            None => Ok(embedding),
        }
    }

    /// Has every network embed its view and joins what they give; of one alone, as it is.
    fn joined(
        &mut self,
        space: SpaceId,
        Crop(crop): &Crop,
        mut embed: impl FnMut(&mut Part, &RgbImage, &SpaceId) -> Result<Embedding, Error>,
    ) -> Result<Embedding, Error> {
        let expected = (self.crop.width(), self.crop.height());
        let (w, h) = crop.dimensions();
        if (w, h) != expected {
            let why = format!("the crop is {w} x {h}, not {} x {}", expected.0, expected.1);
            return Err(failed(&self.parts[0].net, why));
        }
        if let [part] = &mut self.parts[..] {
            return embed(part, crop, &space);
        }
        let mut all = Vec::with_capacity(self.dimension);
        for (part, region) in self.parts.iter_mut().zip(self.crop.regions()) {
            // Views start at the top, so none lies above it.
            let (top, w, h) = (region.y as u32, region.w, region.h);
            let view = imageops::crop_imm(crop, 0, top, w, h).to_image();
            let root = part.weight.sqrt();
            let unit = embed(part, &view, &space)?.into_values();
            all.extend(unit.into_iter().map(|v| v * root));
        }
        if all.len() != self.dimension {
            let why = format!("{} numbers, not {}", all.len(), self.dimension);
            return Err(failed(&self.parts[0].net, why));
        }
        Embedding::new(space, all)
    }
}

impl Part {
    fn unit(&mut self, view: &RgbImage, space: &SpaceId) -> Result<Vec<f32>, Error> {
        let values = raw(&mut self.net, view)?;
        Ok(Embedding::new(space.clone(), values)?.into_values())
    }

    fn centred(&self, mut unit: Vec<f32>, space: &SpaceId) -> Result<Embedding, Error> {
        for (value, centre) in unit.iter_mut().zip(&self.centre) {
            *value -= centre;
        }
        Embedding::new(space.clone(), unit)
    }
}

fn raw(net: &mut Net, view: &RgbImage) -> Result<Vec<f32>, Error> {
    let (w, h) = view.dimensions();
    let shape = (1, h as usize, w as usize, 3);
    let pixels = ArrayView4::from_shape(shape, view.as_raw());
    let pixels = pixels.map_err(|e| failed(net, e.to_string()))?;
    let outputs = net.run(pixels)?;
    match outputs.first().map(|o| (o.shape(), o.iter())) {
        Some(([1, n], values)) if *n > 0 && values.clone().all(|v| v.is_finite()) => {
            Ok(values.copied().collect())
        }
        Some((shape, _)) => {
            let why = format!("its first output, {shape:?}, is not one finite embedding");
            Err(failed(net, why))
        }
        None => Err(failed(net, "it has no output".to_owned())),
    }
}

fn failed(net: &Net, why: String) -> Error {
    Error::Inference {
        name: net.name().to_owned(),
        why,
    }
}
