//! The lists of a COCO file, their entries not joined yet.

use std::marker::PhantomData;

use serde::de::{self, DeserializeOwned, MapAccess};
use serde_json::value::RawValue;
use sonotune_base::{
    ImageId, Segmentation,
    json::{Integer, Number, Text},
};

use super::{Bbox, Fields, Flag, Manner, Pair, PixelSpacing};

/// What a COCO file is read from, for messages.
pub const FILE: &str =
    "a COCO file: an object with the lists `images`, `annotations`, `categories`";

/// What one kind of reader makes of a COCO file beyond the keys that all share.
pub trait Reader: Sized {
    /// Height or width of an image.
    type Side: DeserializeOwned;
    type CategoryId: DeserializeOwned;
    /// `segmentation`, `null` included.
    type Mask: DeserializeOwned;
    /// Other keys of the file; `()` passes over them, here and below.
    type OfFile: Fields;
    type OfImage: Fields;
    type OfAnnotation: Fields;
    type OfCategory: Fields;
    const MANNER: Manner;

    /// Checks a category while its line is known.
    ///
    /// # Errors
    /// Says what it lacks.
    fn check(_: &Category<Self>) -> Result<(), &'static str> {
        Ok(())
    }
}

/// Reads what training and scoring use, and nothing else; category ids are of type `C`.
pub struct Plain<C>(PhantomData<C>);

impl<C: DeserializeOwned> Reader for Plain<C> {
    type Side = Integer;
    type CategoryId = C;
    type Mask = Segmentation;
    type OfFile = ();
    type OfImage = ImageKeys;
    type OfAnnotation = ();
    type OfCategory = ();
    const MANNER: Manner = Manner::Strict;
}

/// Keys of an image beyond COCO's.
#[derive(Default)]
pub struct ImageKeys {
    /// Which frame of a clip, unread: for an ordinary image it says where that comes from, in any form.
    pub frame: Option<Box<RawValue>>,
}

impl Fields for ImageKeys {
    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "frame" => {
                self.frame = Some(pair.unknown()?);
                Ok(())
            }
            _ => pair.skip(),
        }
    }
}

/// A COCO file. A list is `None` if the file lacks it, which [`Manner::Strict`] refuses.
pub struct File<R: Reader> {
    pub images: Option<Vec<Image<R>>>,
    pub annotations: Option<Vec<Annotation<R>>>,
    pub categories: Option<Vec<Category<R>>>,
    pub rest: R::OfFile,
}

/// An entry of `images`.
pub struct Image<R: Reader> {
    pub id: Option<ImageId>,
    pub file_name: Option<Text>,
    pub height: Option<R::Side>,
    pub width: Option<R::Side>,
    pub pixel_spacing: Option<PixelSpacing>,
    pub rest: R::OfImage,
}

/// An entry of `annotations`.
pub struct Annotation<R: Reader> {
    pub id: Option<ImageId>,
    pub image_id: Option<ImageId>,
    pub category_id: Option<R::CategoryId>,
    pub bbox: Option<Bbox>,
    pub area: Option<Number>,
    pub iscrowd: Option<Flag>,
    pub segmentation: Option<R::Mask>,
    pub rest: R::OfAnnotation,
}

/// An entry of `categories`.
pub struct Category<R: Reader> {
    pub id: Option<R::CategoryId>,
    pub name: Option<Text>,
    pub rest: R::OfCategory,
}

/// Derived, `Default` would be asked of ids and masks as well.
macro_rules! empty {
    ($entry:ident { $($field:ident),* }) => {
        impl<R: Reader> Default for $entry<R> {
            fn default() -> Self {
                Self { $($field: Default::default()),* }
            }
        }
    };
}
empty!(File { images, annotations, categories, rest });
empty!(Image { id, file_name, height, width, pixel_spacing, rest });
empty!(Annotation { id, image_id, category_id, bbox, area, iscrowd, segmentation, rest });
empty!(Category { id, name, rest });

impl<R: Reader> Fields for File<R> {
    const EXPECTED: &'static str = FILE;
    const MANNER: Manner = R::MANNER;

    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "images" => pair.list(&mut self.images),
            "annotations" => pair.list(&mut self.annotations),
            "categories" => pair.list(&mut self.categories),
            _ => self.rest.take(pair),
        }
    }

    fn finish<E: de::Error>(&self) -> Result<(), E> {
        match self {
            _ if R::MANNER == Manner::Tolerant => Ok(()),
            Self { images: None, .. } => Err(E::missing_field("images")),
            Self { annotations: None, .. } => Err(E::missing_field("annotations")),
            Self { categories: None, .. } => Err(E::missing_field("categories")),
            _ => Ok(()),
        }
    }
}

impl<R: Reader> Fields for Image<R> {
    const EXPECTED: &'static str = "an object with `id`, `file_name`, `height`, `width`";
    const MANNER: Manner = R::MANNER;

    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "id" => pair.fill(&mut self.id),
            "file_name" => pair.fill(&mut self.file_name),
            "height" => pair.fill(&mut self.height),
            "width" => pair.fill(&mut self.width),
            PixelSpacing::KEY => pair.fill(&mut self.pixel_spacing),
            _ => self.rest.take(pair),
        }
    }
}

impl<R: Reader> Fields for Annotation<R> {
    const EXPECTED: &'static str = "an object with `image_id`, `category_id`, `bbox`";
    const MANNER: Manner = R::MANNER;

    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "id" => pair.fill(&mut self.id),
            "image_id" => pair.fill(&mut self.image_id),
            "category_id" => pair.fill(&mut self.category_id),
            "bbox" => pair.fill(&mut self.bbox),
            "area" => pair.fill(&mut self.area),
            "iscrowd" => pair.fill(&mut self.iscrowd),
            "segmentation" => pair.put(&mut self.segmentation),
            _ => self.rest.take(pair),
        }
    }
}

impl<R: Reader> Fields for Category<R> {
    const EXPECTED: &'static str = "an object with `id` and `name`";
    const MANNER: Manner = R::MANNER;

    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "id" => pair.fill(&mut self.id),
            "name" => pair.fill(&mut self.name),
            _ => self.rest.take(pair),
        }
    }

    fn finish<E: de::Error>(&self) -> Result<(), E> {
        R::check(self).map_err(E::custom)
    }
}

impl Fields for () {
    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        pair.skip()
    }
}
