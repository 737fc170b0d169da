//! All attributes of a file, for programs that write it again.

use std::{io::BufReader, path::Path};

use anyhow::{Result, anyhow, ensure};
use dicom_core::{Tag, header::Header};
use dicom_object::{DicomCollectorOptions, InMemDicomObject, file::ReadPreamble};
use dicom_parser::dataset::{LazyDataToken, lazy_read::LazyDataSetReader};
use dicom_transfer_syntax_registry::entries;
use sonotune_base::{Error, panics::catching};

use super::{source::Source, syntax::Encoding};

/// Nesting beyond which a file is refused: `dicom-object` takes some of the stack for each level.
const MAX_DEPTH: usize = 32;
/// Most bytes of attributes that are held in memory; those of an ultrasound image are some ten thousand.
const MAX_BYTES: u64 = 64 << 20;
/// PixelData and its floating-point relatives begin here.
const PIXELS: Tag = Tag(0x7FE0, 0x0008);

/// Every attribute before the pixels.
#[derive(Debug)]
pub struct Whole {
    pub object: InMemDicomObject,
    /// Whether the pixels are compressed.
    pub compressed: bool,
    /// Whether the transfer syntax is one that loses something.
    pub lossy: bool,
}

impl Whole {
    /// Reads the attributes of a file up to its pixels.
    ///
    /// # Errors
    /// [`sonotune_base::ErrorKind::Data`] with the path: not DICOM, damaged, nested too deep, or too large.
    pub fn read(path: &Path) -> Result<Self> {
        let read = catching(|| "its attributes are damaged".to_owned(), || Self::read_from(path));
        read.map_err(|e| Error::data(format!("{}: {e:#}", path.display())).into())
    }

    fn read_from(path: &Path) -> Result<Self> {
        check(path)?;
        let Source { reader, syntax, .. } = Source::open(path)?;
        let mut object = InMemDicomObject::new_empty();
        DicomCollectorOptions::new()
            .expected_ts(uid(syntax.encoding))
            .read_preamble(ReadPreamble::Never)
            .from_reader(BufReader::new(reader))
            .read_dataset_up_to(PIXELS, &mut object)
            .map_err(damaged)?;
        Ok(Self { object, compressed: syntax.is_encapsulated(), lossy: syntax.lossy })
    }
}

/// Follows the elements up to the pixels without keeping any, with the parser that reads them afterwards.
fn check(path: &Path) -> Result<()> {
    let Source { reader, at, end, syntax, .. } = Source::open(path)?;
    let syntax = match uid(syntax.encoding) {
        IMPLICIT => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
        BIG => entries::EXPLICIT_VR_BIG_ENDIAN.erased(),
        _ => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
    };
    let mut elements = LazyDataSetReader::new_with_ts(reader, &syntax)?;
    let (mut depth, mut bytes) = (0_usize, 0_u64);
    let most = (end - at).min(MAX_BYTES);
    while let Some(token) = elements.advance() {
        let token = token.map_err(damaged)?;
        match &token {
            LazyDataToken::PixelSequenceStart => break,
            LazyDataToken::ElementHeader(header) if depth == 0 && header.tag() >= PIXELS => break,
            LazyDataToken::SequenceStart { tag, .. } => {
                depth += 1;
                ensure!(
                    depth <= MAX_DEPTH,
                    "its sequences nest more than {MAX_DEPTH} deep at {tag}, which no image needs"
                );
            }
            LazyDataToken::SequenceEnd => depth = depth.saturating_sub(1),
            LazyDataToken::LazyValue { header, .. } => {
                bytes += u64::from(header.len.0);
                ensure!(
                    bytes <= most,
                    "its attributes up to {} claim {bytes} bytes; {most} are the limit for this file",
                    header.tag
                );
            }
            _ => {}
        }
        token.skip().map_err(damaged)?;
    }
    Ok(())
}

const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const BIG: &str = "1.2.840.10008.1.2.2";

fn uid(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding { explicit: false, .. } => IMPLICIT,
        Encoding { big_endian: true, .. } => BIG,
        _ => EXPLICIT,
    }
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    anyhow!(error).context("its attributes are damaged")
}
