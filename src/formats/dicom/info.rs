//! What is known about an image besides its pixels.

use super::regions::Region;

/// Identity, device and geometry of a DICOM file. Text is decoded by its character set and without
/// padding; what is absent or empty is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Info {
    /// PatientID, unique within a hospital.
    pub patient: Option<String>,
    /// IssuerOfPatientID: whose PatientID it is.
    pub patient_issuer: Option<String>,
    /// StudyInstanceUID.
    pub study: Option<String>,
    /// SeriesInstanceUID.
    pub series: Option<String>,
    /// SOPInstanceUID.
    pub sop_instance: Option<String>,
    /// SOPClassUID.
    pub sop_class: Option<String>,
    /// `US` for ultrasound.
    pub modality: Option<String>,
    pub manufacturer: Option<String>,
    /// ManufacturerModelName.
    pub model: Option<String>,
    /// (row, column), millimetres per pixel of the file: of its 2D regions if they agree, else
    /// PixelSpacing or NominalScannedPixelSpacing. ImagerPixelSpacing is of projections, so it is ignored.
    pub spacing: Option<[f64; 2]>,
    /// SequenceOfUltrasoundRegions, in the order of the file.
    pub regions: Vec<Region>,
    /// Milliseconds between frames.
    pub frame_time_ms: Option<f64>,
}
