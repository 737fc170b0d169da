//! The kinds of findings: their names are stable, scripts may rely on them.

use std::fmt;

use serde::{Serialize, Serializer};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Training or evaluation would stop, learn something wrong, or score something wrong.
    Fault,
    /// May be intended, but rarely is.
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
        "copy or export it again; if it is missing, correct dataset.root or the split's path";
    CannotOpen "cannot-open" Fault
        "the split cannot be opened, for a reason that no other finding explains"
        "follow the message";
    MalformedEntry "malformed-entry" Fault
        "an entry lacks a key, or a value has the wrong type"
        "write the entry as the COCO format defines it, or remove it";
    BadNumber "bad-number" Fault
        "a number that is not finite, or negative or zero although it must not be"
        "correct the number; without `bbox` or `area`, they are computed from the mask";
    NormalisedCoordinates "normalised-coordinates" Fault
        "coordinates are between 0 and 1, where pixels are expected"
        "multiply x and width by the width of the image, y and height by its height";
    DuplicateImageId "duplicate-image-id" Fault
        "two images have the same id, so annotations cannot be told apart"
        "give each image its own id, and use it in its annotations";
    DuplicateAnnotationId "duplicate-annotation-id" Fault
        "two annotations have the same id"
        "remove one, or number them anew: `sonotune data filter FILE --out NEW`";
    UnknownImage "unknown-image" Fault
        "an annotation belongs to an image that the file does not list"
        "list the image, or remove the annotation; write ids the same way everywhere, as numbers or as text";
    UnknownCategory "unknown-category" Fault
        "an annotation or label has a category that is not listed"
        "list the category, or correct the annotation";
    DuplicateCategory "duplicate-category" Fault
        "two categories have the same id or name"
        "keep one of them, and point the annotations to it";
    CategoriesDiffer "categories-differ" Fault
        "the splits, or split and config, do not have the same categories"
        "use the same names in every split; in COCO files, dataset.ignore_categories leaves unwanted ones out";
    SimilarCategories "similar-categories" Doubt
        "the names of two classes are nearly equal"
        "if they are one class, give it one name (COCO: `sonotune data filter --rename`); nothing is wrong if they are two";
    DuplicateFile "duplicate-file" Fault
        "the same image file is listed twice in one split"
        "list it once, with all of its objects";
    PathOutsideRoot "path-outside-root" Doubt
        "an image's path leaves the dataset's folder"
        "move the image below dataset.root, or set dataset.root higher";
    ClassWithoutImages "class-without-images" Fault
        "a class folder has no image that can be read"
        "convert its files to PNG, copy it again, or leave the folder out (dataset.exclude)";
    MaskAmongImages "mask-among-images" Fault
        "a mask is among the images of a class folder"
        "leave the masks out (dataset.exclude with the patterns shown); if they are images, dataset.exclude = [] keeps them";
    PassedOver "passed-over" Doubt
        "files in class folders that are not read"
        "convert images to PNG, and move those beside the class folders into one; nothing is wrong with other files";
    MissingImage "missing-image" Fault
        "an image file is missing"
        "add it, or correct `file_name`, dataset.root or dataset.images";
    EmptyFile "empty-file" Fault
        "an image file is empty (0 bytes)"
        "copy it again, or leave the image out";
    NotAnImage "not-an-image" Fault
        "an image file contains something else"
        "replace it; PNG, JPEG, BMP, TIFF and WebP can be read, whatever the file's name";
    UnreadableImage "unreadable-image" Fault
        "an image file is truncated, damaged, or in a format that cannot be decoded"
        "copy or export it again, or leave the image out";
    NoSuchFrame "no-such-frame" Fault
        "an entry does not say which frame of its clip it is, or names one that the clip does not have"
        "write the key `frame` of the image entry, counted from 0, or save the frames as images (`sonotune data convert`)";
    SizeMismatch "size-mismatch" Fault
        "an image does not have the size that its annotations say"
        "annotate this exact file, or scale the image or the annotations to match";
    ExifRotated "exif-rotated" Fault
        "EXIF rotates the image by 90 degrees, and the annotations fit the other orientation"
        "set preprocess.exif to what the annotation tool did, or store the pixels upright without the tag";
    ExifOrientation "exif-orientation" Doubt
        "EXIF rotates or mirrors the image, and its size does not show in which orientation it was annotated"
        "view it with its masks (`sonotune data stats --out`); preferably store the pixels upright without the tag";
    SeveralPages "several-pages" Doubt
        "an image file has several pages or frames, and only the first is used"
        "save each as a file of its own, for example with tiffsplit, and annotate those";
    UnusedBits "unused-bits" Doubt
        "the values of all 16-bit images are far below 65535, as from a device of 13 to 15 bits: in 8 bits they are dark"
        "stretch the values to 16 bits (in `sonotune data convert`: rasters.intensity); nothing is wrong if the images are dark";
    ConstantImage "constant-image" Doubt
        "all pixels of an image are equal"
        "leave it out, or export it again";
    TwoToneImage "two-tone-image" Doubt
        "the pixels of an image have only two values, as those of a mask"
        "if it is a mask, leave it out (dataset.exclude)";
    ImplausibleSpacing "implausible-spacing" Doubt
        "a pixel of an image is smaller than 0.005 mm or larger than 5 mm, which no ultrasound image has"
        "write `pixel_spacing` as [row, column] in millimetres a pixel: not in centimetres or metres, and not pixels a millimetre";
    BadPolygon "bad-polygon" Fault
        "a polygon with fewer than three points, or an odd number of coordinates"
        "remove the polygon, or write it as [[x0, y0, x1, y1, x2, y2, ...], ...]";
    BadRle "bad-rle" Fault
        "run lengths that are malformed, or do not add up to their size"
        "encode the mask again";
    MaskSize "mask-size" Fault
        "run lengths for a different size than that of the image"
        "encode the mask at the size of its image, as [height, width]";
    EmptyMask "empty-mask" Fault
        "an object's mask has no pixels in the image"
        "remove the object, or redraw its mask";
    MaskBeyondFrame "mask-beyond-frame" Doubt
        "a polygon reaches beyond its image; what is outside is cut off"
        "check that polygon and image belong together and have the same scale";
    BoxBeyondFrame "box-beyond-frame" Doubt
        "a box reaches beyond its image"
        "check that it is [x, y, width, height] in pixels of this image, not [x0, y0, x1, y1]";
    TinyBox "tiny-box" Doubt
        "a box without area, or with a side below one pixel"
        "remove the object, or redraw its box";
    BoxMaskMismatch "box-mask-mismatch" Doubt
        "a box that does not match its mask"
        "remove `bbox`: it is then computed from the mask";
    AreaMismatch "area-mismatch" Doubt
        "an area that does not match its mask; scores by object size use it"
        "remove `area`: it is then computed from the mask";
    DuplicateObject "duplicate-object" Doubt
        "the same object is annotated twice"
        "remove one of the two";
    ImageWithoutObjects "image-without-objects" Doubt
        "an image without any annotated object"
        "annotate it; if it really shows nothing, keep it as it is (dataset.keep_empty)";
    NothingToLearn "nothing-to-learn" Fault
        "a split without any object, crowds not counted, although the task learns from objects"
        "annotate some, or leave the split out of the config";
    NoMasks "no-masks" Fault
        "no object of a split has a mask, only a box, although the task learns masks"
        "annotate masks; with train.allow_boxes_as_masks = true each box counts as a mask";
    BoxWithoutMask "box-without-mask" Doubt
        "an object without a mask among others that have one: its box counts as its mask"
        "annotate its mask, or remove the object";
    MasksAreBoxes "masks-are-boxes" Doubt
        "every mask of a split is exactly its box, although the task learns masks"
        "check whether boxes were exported as masks; if so, annotate masks";
    CategoryWithoutObjects "category-without-objects" Doubt
        "a category that has no object or image, although some are expected"
        "leave the category out (COCO: dataset.ignore_categories; folders: dataset.exclude), or split the data again";
    SingleCategory "single-category" Doubt
        "all images have the same class: there is nothing to tell apart"
        "add images of another class";
    ClassImbalance "class-imbalance" Doubt
        "one class is far more frequent than another"
        "collect more of the rare class, or merge or ignore it; judge by the scores per class";
    IdenticalImages "identical-images" Doubt
        "two images of one split have the same pixels"
        "remove one of them";
    ContradictingLabels "contradicting-labels" Fault
        "two images have the same pixels and different classes"
        "look at them; keep the one with the right class, or leave both out";
    SharedImage "shared-image" Fault
        "an image of one split is also in another, pixel for pixel: scores there are meaningless"
        "remove it from one of the splits (COCO: `sonotune data filter --exclude`)";
    NearDuplicate "near-duplicate" Doubt
        "an image looks like one of another split: re-encoded, brightened, mirrored or a neighbouring frame"
        "look at both; if they belong together, merge the splits and split them again (`sonotune data split --duplicates near`)";
    SharedPatient "shared-patient" Fault
        "a patient's images are in several splits: scores there are too good"
        "merge the splits (`sonotune data merge --root IMAGES`), then split them by patient (`sonotune data split`)";
    SharedClip "shared-clip" Fault
        "a clip's frames are in several splits: scores there are too good"
        "merge the splits (`sonotune data merge --root IMAGES`), then split them by clip (`sonotune data split`)";
    SharedKey "shared-key" Doubt
        "images of several splits have the same value of a key that may mean a patient, such as `case_id`"
        "if it does, merge the splits (`sonotune data merge --root IMAGES`), then split them by it (`sonotune data split --group-by KEY`)";
    UnlistedImage "unlisted-image" Doubt
        "an image is in a folder of the dataset, but no split lists it"
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
