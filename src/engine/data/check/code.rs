//! The kinds of findings: their names are stable, scripts may go by them.

use std::fmt;

use serde::{Serialize, Serializer};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Training or evaluation would stop, learn something wrong, or score something wrong.
    Fault,
    /// Can be meant so, but seldom is.
    Doubt,
}

macro_rules! codes {
    ($($name:ident $text:literal $severity:ident $meaning:literal $remedy:literal;)*) => {
        /// A kind of finding, in the order of reports.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// In kebab case; never changes its meaning.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What it is, in words.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do about it.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

codes! {
    UnreadableAnnotations "unreadable-annotations" Fault
        "an annotation file, list or folder cannot be read at all"
        "copy or export it again; if it is not there, correct dataset.root or the split's path";
    CannotOpen "cannot-open" Fault
        "the split cannot be opened, for a reason that no other finding tells"
        "do what the message says";
    MalformedEntry "malformed-entry" Fault
        "an entry lacks a key, or a value has the wrong type"
        "write the entry as COCO has it, or leave it out";
    BadNumber "bad-number" Fault
        "a number that is not finite, negative, or zero where it must not be"
        "correct the number, or leave the key out: box and area are then computed from the mask";
    DuplicateImageId "duplicate-image-id" Fault
        "two images have the same id, so annotations cannot be told apart"
        "give each image an id of its own, in its annotations too";
    DuplicateAnnotationId "duplicate-annotation-id" Fault
        "two annotations have the same id"
        "number the annotations anew (`sonotune data filter` does on writing)";
    UnknownImage "unknown-image" Fault
        "an annotation of an image that the file does not list"
        "list the image, or leave the annotation out; spell ids alike, as number or as text";
    UnknownCategory "unknown-category" Fault
        "an annotation or label of a category that is not listed"
        "list the category, or correct the annotation";
    DuplicateCategory "duplicate-category" Fault
        "two categories have the same id or name"
        "keep one of them, and point the annotations to it";
    CategoriesDiffer "categories-differ" Fault
        "the splits, or split and config, do not have the same categories"
        "use the same names in every split; what is not wanted goes into dataset.ignore_categories";
    DuplicateFile "duplicate-file" Fault
        "the same image file is listed twice in one split"
        "list it once, with all of its objects";
    PathOutsideRoot "path-outside-root" Doubt
        "an image's path leaves the dataset's folder"
        "move the image below dataset.root, or set dataset.root higher";
    MissingImage "missing-image" Fault
        "an image's file is not there"
        "put it there, or correct `file_name`, dataset.root or dataset.images";
    EmptyFile "empty-file" Fault
        "an image's file has no bytes"
        "copy it again, or leave the image out";
    NotAnImage "not-an-image" Fault
        "an image's file holds something else"
        "replace it; PNG, JPEG, BMP, TIFF and WebP can be read, whatever the file is called";
    UnreadableImage "unreadable-image" Fault
        "an image's file is truncated, damaged, or of a kind that cannot be decoded"
        "copy or export it again, or leave the image out";
    SizeMismatch "size-mismatch" Fault
        "an image has another size than its annotations say"
        "annotate this very file, or scale image or annotations to each other";
    ExifRotated "exif-rotated" Fault
        "EXIF turns the image by a quarter, and the annotations are of the other way"
        "set preprocess.exif to what the annotation tool did, or store the pixels upright without the tag";
    ExifOrientation "exif-orientation" Doubt
        "EXIF turns or mirrors the image, and its size cannot tell which way it was annotated"
        "look at it with its masks (`sonotune data stats --out`); best store the pixels upright without the tag";
    ConstantImage "constant-image" Doubt
        "all pixels of an image are equal"
        "leave it out, or export it again";
    BadPolygon "bad-polygon" Fault
        "a polygon with fewer than three points, or an odd count of coordinates"
        "leave the polygon out, or write it as [[x0, y0, x1, y1, x2, y2, ...], ...]";
    BadRle "bad-rle" Fault
        "run lengths that are malformed, or do not add up to their size"
        "encode the mask again";
    MaskSize "mask-size" Fault
        "run lengths of another size than their image"
        "encode the mask at the size of its image, as [height, width]";
    EmptyMask "empty-mask" Fault
        "an object's mask has no pixel in the image"
        "leave the object out, or draw its mask again";
    MaskBeyondFrame "mask-beyond-frame" Doubt
        "a polygon reaches beyond its image; what is outside is cut off"
        "check that polygon and image belong together and are of one scale";
    BoxBeyondFrame "box-beyond-frame" Doubt
        "a box reaches beyond its image"
        "check that it is [x, y, width, height] in pixels of this image, not [x0, y0, x1, y1]";
    TinyBox "tiny-box" Doubt
        "a box without area, or with a side below one pixel"
        "leave the object out, or draw its box again";
    BoxMaskMismatch "box-mask-mismatch" Doubt
        "a box that is not that of its mask"
        "leave `bbox` out: it is then computed from the mask";
    AreaMismatch "area-mismatch" Doubt
        "an area that is not that of its mask; scores by object size go by it"
        "leave `area` out: it is then computed from the mask";
    DuplicateObject "duplicate-object" Doubt
        "the same object is annotated twice"
        "leave one of the two out";
    ImageWithoutObjects "image-without-objects" Doubt
        "an image without any annotated object"
        "annotate it; if it truly shows nothing, leave it so (dataset.keep_empty)";
    CategoryWithoutObjects "category-without-objects" Doubt
        "a category that has no object or image, where some are to be expected"
        "leave the category out (dataset.ignore_categories), or split the data anew";
    SingleCategory "single-category" Doubt
        "all images have the same class: there is nothing to tell apart"
        "add images of another class";
    ClassImbalance "class-imbalance" Doubt
        "one class is far more frequent than another"
        "gather more of the rare one, or merge or ignore it; judge by the scores per class";
    IdenticalImages "identical-images" Doubt
        "two images of one split have the same pixels"
        "leave one of them out";
    SharedImage "shared-image" Fault
        "an image of one split is also in another, pixel by pixel: scores there say nothing"
        "leave it out of one of the splits";
    NearDuplicate "near-duplicate" Doubt
        "an image looks like one of another split: re-encoded, brightened, mirrored or a neighbouring frame"
        "look at both; keep them in one split (`sonotune data split`)";
    SharedPatient "shared-patient" Fault
        "a patient's images are in several splits: scores there are too good"
        "split by patient (`sonotune data split`)";
    SharedClip "shared-clip" Fault
        "a clip's frames are in several splits: scores there are too good"
        "split by clip (`sonotune data split`)";
    UnlistedImage "unlisted-image" Doubt
        "an image lies beside those of the dataset, and no split lists it"
        "list it, or move it elsewhere; nothing is wrong if it is kept for another purpose";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
