//! Face crop -> embedding.
//!
//! Works for any embedder whose manifest names a crop and a space; FaceNet is the one that ships. Finding and cutting
//! the face is `mtcnn`'s and `align`'s work, comparing embeddings `openset`'s.

use image::{RgbImage, imageops::flip_horizontal};
use ndarray::ArrayView4;

use crate::{
    Error,
    align::{Crop, CropSpec},
    embedding::{Embedding, SpaceId},
    net::Net,
};

/// An embedding network with what it expects and the space it maps to.
#[derive(Debug)]
pub struct Embedder {
    net: Net,
    space: SpaceId,
    /// The space of the network's own output.
    uncentred_space: SpaceId,
    crop: CropSpec,
    /// Mean embedding, taken off before embeddings are compared; empty for none.
    centre: Vec<f32>,
    dimension: usize,
}

impl Embedder {
    /// Puts a network to use, running it once: what does not give one embedding a crop is refused here.
    ///
    /// `centre` is the mean unit embedding of a mixed population, one number a dimension; empty for none.
    ///
    /// # Errors
    /// [`Error::Network`] if the network does not fit the crop, gives anything but one finite row of numbers, or if the
    /// centre is of another dimension.
    pub fn new(
        net: Net,
        space: SpaceId,
        crop: CropSpec,
        centre: Vec<f32>,
    ) -> Result<Embedder, Error> {
        let uncentred_space = space.uncentred()?;
        let mut embedder = Embedder {
            net,
            space,
            uncentred_space,
            crop,
            centre,
            dimension: 0,
        };
        let (w, h) = (embedder.crop.width, embedder.crop.height);
        let grey = Crop(RgbImage::from_pixel(w, h, image::Rgb([127; 3])));
        let values = embedder.raw(&grey).map_err(|e| Error::Network {
            name: embedder.net.name().to_owned(),
            why: format!("its self-test failed: {e}"),
        })?;
        embedder.dimension = values.len();
        if !embedder.centre.is_empty() && embedder.centre.len() != values.len() {
            let (found, expected) = (embedder.centre.len(), values.len());
            return Err(Error::Network {
                name: embedder.net.name().to_owned(),
                why: format!("its centre has {found} numbers, its embeddings {expected}"),
            });
        }
        Ok(embedder)
    }

    /// The embedding space: embeddings of different spaces must never be compared.
    #[must_use]
    pub fn space(&self) -> &SpaceId {
        &self.space
    }

    /// Numbers in an embedding.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How crops for [`Embedder::embed`] are cut.
    #[must_use]
    pub fn crop_spec(&self) -> &CropSpec {
        &self.crop
    }

    /// Embeds one crop of the size [`Embedder::crop_spec`] says: the network's unit vector, less the centre, scaled to
    /// unit length again.
    ///
    /// # Errors
    /// [`Error::Inference`] if the crop is of another size or the network fails.
    pub fn embed(&mut self, crop: &Crop) -> Result<Embedding, Error> {
        let unit = self.embed_uncentred(crop)?.into_values();
        self.centred(unit)
    }

    /// Embeds the crop and its mirror image and averages: twice the work, steadier templates.
    ///
    /// # Errors
    /// As for [`Embedder::embed`].
    pub fn embed_template(&mut self, crop: &Crop) -> Result<Embedding, Error> {
        let plain = self.embed_uncentred(crop)?;
        let mirrored = self.embed_uncentred(&Crop(flip_horizontal(&crop.0)))?;
        let pairs = plain.values().iter().zip(mirrored.values());
        self.centred(pairs.map(|(a, b)| (a + b) / 2.0).collect())
    }

    /// The network's own output scaled to unit length, as other programs that run the same network give it. It is of
    /// another space than [`Embedder::space`]: [`SpaceId::uncentred`].
    ///
    /// # Errors
    /// As for [`Embedder::embed`].
    pub fn embed_uncentred(&mut self, crop: &Crop) -> Result<Embedding, Error> {
        Embedding::new(self.uncentred_space.clone(), self.raw(crop)?)
    }

    fn centred(&self, mut unit: Vec<f32>) -> Result<Embedding, Error> {
        for (value, centre) in unit.iter_mut().zip(&self.centre) {
            *value -= centre;
        }
        Embedding::new(self.space.clone(), unit)
    }

    fn raw(&mut self, Crop(crop): &Crop) -> Result<Vec<f32>, Error> {
        let failed = |net: &Net, why: String| Error::Inference {
            name: net.name().to_owned(),
            why,
        };
        let (w, h) = crop.dimensions();
        if (w, h) != (self.crop.width, self.crop.height) {
            let expected = (self.crop.width, self.crop.height);
            let why = format!("the crop is {w} x {h}, not {} x {}", expected.0, expected.1);
            return Err(failed(&self.net, why));
        }
        let shape = (1, h as usize, w as usize, 3);
        let pixels = ArrayView4::from_shape(shape, crop.as_raw())
            .map_err(|e| failed(&self.net, e.to_string()))?;
        let outputs = self.net.run(pixels)?;
        match outputs.first().map(|o| (o.shape(), o.iter())) {
            Some(([1, n], values))
                if *n > 0
                    && (self.dimension == 0 || self.dimension == *n)
                    && values.clone().all(|v| v.is_finite()) =>
            {
                Ok(values.copied().collect())
            }
            Some((shape, _)) => {
                let why = format!("its first output, {shape:?}, is not one finite embedding");
                Err(failed(&self.net, why))
            }
            None => Err(failed(&self.net, "it has no output".to_owned())),
        }
    }
}
