//! The elements that are read, with their value representations (PS3.6).

/// What an element holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// A value of this representation, for encodings that do not name it.
    Value(&'static [u8; 2]),
    /// Items with these elements.
    Sequence(Table),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Table(&'static [((u16, u16), Wanted)]);

impl Table {
    pub(super) fn find(self, tag: (u16, u16)) -> Option<Wanted> {
        self.0.iter().find(|(wanted, _)| *wanted == tag).map(|&(_, wanted)| wanted)
    }
}

/// What is wanted of a data set itself.
pub(super) fn top(tag: (u16, u16)) -> Option<Wanted> {
    Table(TOP).find(tag)
}

/// Pixel data of any type.
pub(super) fn is_pixels((group, element): (u16, u16)) -> bool {
    group == 0x7FE0 && matches!(element, 0x0008..=0x0010)
}

/// DirectoryRecordSequence.
pub(super) const RECORDS: (u16, u16) = (0x0004, 0x1220);

/// SpecificCharacterSet.
pub(super) const CHARACTER_SET: (u16, u16) = (0x0008, 0x0005);

use Wanted::{Sequence, Value};

const TOP: &[((u16, u16), Wanted)] = &[
    // SpecificCharacterSet, SOPClassUID, SOPInstanceUID, Modality, Manufacturer, its model.
    (CHARACTER_SET, Value(b"CS")),
    ((0x0008, 0x0016), Value(b"UI")),
    ((0x0008, 0x0018), Value(b"UI")),
    ((0x0008, 0x0060), Value(b"CS")),
    ((0x0008, 0x0070), Value(b"LO")),
    ((0x0008, 0x1090), Value(b"LO")),
    // PatientID, IssuerOfPatientID, StudyInstanceUID, SeriesInstanceUID.
    ((0x0010, 0x0020), Value(b"LO")),
    ((0x0010, 0x0021), Value(b"LO")),
    ((0x0020, 0x000D), Value(b"UI")),
    ((0x0020, 0x000E), Value(b"UI")),
    // CineRate, FrameTime, FrameTimeVector, NominalScannedPixelSpacing, SequenceOfUltrasoundRegions.
    ((0x0018, 0x0040), Value(b"IS")),
    ((0x0018, 0x1063), Value(b"DS")),
    ((0x0018, 0x2010), Value(b"DS")),
    ((0x0018, 0x6011), Sequence(Table(REGION))),
    // SamplesPerPixel, PhotometricInterpretation, PlanarConfiguration, NumberOfFrames, Rows, Columns.
    ((0x0028, 0x0002), Value(b"US")),
    ((0x0028, 0x0004), Value(b"CS")),
    ((0x0028, 0x0006), Value(b"US")),
    ((0x0028, 0x0008), Value(b"IS")),
    ((0x0028, 0x0010), Value(b"US")),
    ((0x0028, 0x0011), Value(b"US")),
    // PixelSpacing, BitsAllocated, BitsStored, HighBit, PixelRepresentation.
    ((0x0028, 0x0030), Value(b"DS")),
    ((0x0028, 0x0100), Value(b"US")),
    ((0x0028, 0x0101), Value(b"US")),
    ((0x0028, 0x0102), Value(b"US")),
    ((0x0028, 0x0103), Value(b"US")),
    // WindowCenter, WindowWidth, RescaleIntercept, RescaleSlope, VOILUTFunction.
    ((0x0028, 0x1050), Value(b"DS")),
    ((0x0028, 0x1051), Value(b"DS")),
    ((0x0028, 0x1052), Value(b"DS")),
    ((0x0028, 0x1053), Value(b"DS")),
    ((0x0028, 0x1056), Value(b"CS")),
    // Palettes: descriptors, data, segmented data.
    ((0x0028, 0x1101), Value(b"US")),
    ((0x0028, 0x1102), Value(b"US")),
    ((0x0028, 0x1103), Value(b"US")),
    ((0x0028, 0x1201), Value(b"OW")),
    ((0x0028, 0x1202), Value(b"OW")),
    ((0x0028, 0x1203), Value(b"OW")),
    ((0x0028, 0x1221), Value(b"OW")),
    ((0x0028, 0x1222), Value(b"OW")),
    ((0x0028, 0x1223), Value(b"OW")),
    // ModalityLUTSequence, VOILUTSequence.
    ((0x0028, 0x3000), Sequence(Table(LUT))),
    ((0x0028, 0x3010), Sequence(Table(LUT))),
    // OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity, DirectoryRecordSequence.
    ((0x0004, 0x1200), Value(b"UL")),
    (RECORDS, Sequence(Table(RECORD))),
    // SharedFunctionalGroupsSequence.
    ((0x5200, 0x9229), Sequence(Table(SHARED))),
    // ExtendedOffsetTable and its lengths.
    ((0x7FE0, 0x0001), Value(b"OV")),
    ((0x7FE0, 0x0002), Value(b"OV")),
];

const REGION: &[((u16, u16), Wanted)] = &[
    // RegionSpatialFormat, RegionDataType, corners X0 Y0 X1 Y1, units and deltas along X and Y.
    ((0x0018, 0x6012), Value(b"US")),
    ((0x0018, 0x6014), Value(b"US")),
    ((0x0018, 0x6018), Value(b"UL")),
    ((0x0018, 0x601A), Value(b"UL")),
    ((0x0018, 0x601C), Value(b"UL")),
    ((0x0018, 0x601E), Value(b"UL")),
    ((0x0018, 0x6024), Value(b"US")),
    ((0x0018, 0x6026), Value(b"US")),
    ((0x0018, 0x602C), Value(b"FD")),
    ((0x0018, 0x602E), Value(b"FD")),
];

const LUT: &[((u16, u16), Wanted)] =
    &[((0x0028, 0x3002), Value(b"US")), ((0x0028, 0x3006), Value(b"OW"))];

const SHARED: &[((u16, u16), Wanted)] =
    &[((0x0028, 0x9110), Sequence(Table(&[((0x0028, 0x0030), Value(b"DS"))])))];

const RECORD: &[((u16, u16), Wanted)] = &[
    // OffsetOfNextDirectoryRecord, RecordInUseFlag, OffsetOfReferencedLowerLevelDirectoryEntity,
    // DirectoryRecordType, ReferencedFileID.
    ((0x0004, 0x1400), Value(b"UL")),
    ((0x0004, 0x1410), Value(b"US")),
    ((0x0004, 0x1420), Value(b"UL")),
    ((0x0004, 0x1430), Value(b"CS")),
    ((0x0004, 0x1500), Value(b"CS")),
    ((0x0008, 0x0005), Value(b"CS")),
    ((0x0010, 0x0020), Value(b"LO")),
    ((0x0020, 0x000D), Value(b"UI")),
    ((0x0020, 0x000E), Value(b"UI")),
    ((0x0008, 0x0060), Value(b"CS")),
];
