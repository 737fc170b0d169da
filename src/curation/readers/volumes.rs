//! Images and masks as volumes, slice by slice.

use anyhow::Result;

use super::{Emit, MaskFile, Plan, Reader, Unit, pairing::Pairing, rasters::labels};
use crate::{
    Frame, Mask, Pixels,
    masks::{StoredMask, foreground, keep_where, outside},
    problem::{Fault, Problem, ProblemKind},
    spec::{Clear, Flip, GeometryRule, Spec, Volumes},
};
use sonotune_archive::Tree;
use sonotune_formats::volume::{View, Volume};

pub(super) struct VolumeReader<'a> {
    settings: &'a Volumes,
    pairing: Pairing<'a>,
}

impl<'a> VolumeReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a Volumes) -> Result<Self> {
        let pairing =
            Pairing::new(spec, "volumes", &settings.images, &settings.masks, settings.unpaired)?;
        Ok(Self { settings, pairing })
    }
}

impl Reader for VolumeReader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        let mut plan = self.pairing.plan(tree)?;
        for unit in &mut plan.units {
            if self.settings.first_slice {
                break;
            }
            // Neighbouring slices are very similar: one clip, whatever else is known.
            unit.provenance.clip.get_or_insert_with(|| unit.key.clone());
        }
        Ok(plan)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let image = Source::open(tree, &unit.provenance.source_file, self.settings.view)?;
        let masks = unit
            .masks
            .iter()
            .map(|file| Ok((file, Source::open(tree, &file.path, self.settings.view)?)))
            .collect::<Result<Vec<_>, Problem>>()?;
        let channels = |mask: &Source| {
            if self.settings.mask_channels { mask.volume.num_channels() } else { 1 }
        };
        for (_, mask) in &masks {
            self.check_counts(&image, mask, channels(mask))?;
            self.check_geometry(&image, mask)?;
        }
        let lines = match self.settings.clear {
            Some(Clear::BlackLines) => Some(BlackLines::of(&image)?),
            _ => None,
        };
        let count = if self.settings.first_slice { 1 } else { image.len() };
        for index in 0..count {
            let pixels = image.pixels(index, self.settings)?;
            let mut frame = Frame {
                image: pixels,
                encoded: None,
                masks: Vec::new(),
                marked: false,
                left_out: false,
                frame: Some(index as u32),
                spacing: unit.spacing.or_else(|| image.volume.plane_spacing(image.view)),
            };
            for (file, mask) in &masks {
                for channel in 0..channels(mask) {
                    let plane =
                        mask.labels(index, self.settings.mask_channels.then_some(channel))?;
                    self.add_mask(&mut frame, file, plane, index, lines.as_ref())?;
                }
            }
            frame.left_out = self.is_left_out(&frame);
            if self.settings.first_slice {
                frame.frame = None;
            }
            emit(self.flipped(frame))?;
        }
        Ok(())
    }
}

impl VolumeReader<'_> {
    fn check_counts(&self, image: &Source, mask: &Source, channels: usize) -> Result<(), Problem> {
        let found = mask.len() / channels.max(1);
        let expected = if self.settings.first_slice { 1 } else { image.len() };
        if found == expected {
            return Ok(());
        }
        Err(Problem::new(
            ProblemKind::FrameCount,
            format!("{}: has {found} slices, but {} has {expected}", mask.name, image.name),
        ))
    }

    /// Refuses a mask that its header places elsewhere than the image.
    fn check_geometry(&self, image: &Source, mask: &Source) -> Result<(), Problem> {
        let (Some(of_image), Some(of_mask)) = (&image.volume.geometry, &mask.volume.geometry)
        else {
            return Ok(());
        };
        if self.settings.geometry == GeometryRule::Ignore {
            return Ok(());
        }
        let sizes = |source: &Source| View::ALL.map(|view| source.volume.num_planes(view));
        let (of_both, of_one) = (sizes(image), sizes(mask));
        let shape = std::array::from_fn(|axis| of_both[axis].min(of_one[axis]));
        let Some(difference) = of_image.difference(of_mask, shape) else { return Ok(()) };
        Err(Problem::new(
            ProblemKind::Geometry,
            format!(
                "{}: {difference} ({}); resample the mask to the image's grid, or write \
                 volumes.geometry = \"ignore\" if voxels with the same indices belong together",
                mask.name, image.name
            ),
        ))
    }

    fn add_mask(
        &self,
        frame: &mut Frame,
        file: &MaskFile,
        plane: StoredMask,
        index: usize,
        lines: Option<&BlackLines>,
    ) -> Result<(), Problem> {
        let rule = &self.settings.masks[file.rule];
        let (mut labels, marked) = labels(rule, file, plane, &frame.image).map_err(|problem| {
            Problem { message: format!("{} (slice {index})", problem.message), ..problem }
        })?;
        frame.marked |= marked;
        match self.settings.clear {
            None => {}
            Some(Clear::BlackPixels) => keep_where(&mut labels.data, &foreground(&frame.image)),
            Some(Clear::OutsideFieldOfView) => {
                let black = outside(&foreground(&frame.image), (labels.height, labels.width));
                let view: Vec<u8> = black.iter().map(|&value| 1 - value).collect();
                keep_where(&mut labels.data, &view);
            }
            Some(Clear::BlackLines) => {
                if let Some(lines) = lines {
                    keep_where(&mut labels.data, &lines.visible(index));
                }
            }
        }
        frame.masks.push(Mask::Labels(labels));
        Ok(())
    }

    fn is_left_out(&self, frame: &Frame) -> bool {
        if self.settings.min_foreground <= 0.0 {
            return false;
        }
        let foreground = |mask: &Mask| match mask {
            Mask::Labels(labels) => labels.data.iter().filter(|&&id| id != 0).count(),
            Mask::Object { mask, .. } => mask.area() as usize,
        };
        let marked: usize = frame.masks.iter().map(foreground).sum();
        let pixels = frame.image.height as f64 * frame.image.width as f64;
        (marked as f64) < self.settings.min_foreground * pixels
    }

    fn flipped(&self, mut frame: Frame) -> Frame {
        let Some(flip) = self.settings.flip else { return frame };
        flip_pixels(&mut frame.image, flip);
        for mask in &mut frame.masks {
            if let Mask::Labels(labels) = mask {
                flip_pixels(labels, flip);
            }
        }
        frame
    }
}

/// Flips or rotates pixels in place.
pub(super) fn flip_pixels(pixels: &mut Pixels, flip: Flip) {
    let row = pixels.width as usize * pixels.channels;
    match flip {
        Flip::Rotate180 => {
            pixels.data.reverse();
            // Reversing everything also reversed each pixel's channels.
            pixels.data.chunks_exact_mut(pixels.channels).for_each(<[u8]>::reverse);
        }
        Flip::Vertical => {
            let rows: Vec<u8> = pixels.data.chunks_exact(row).rev().flatten().copied().collect();
            pixels.data = rows;
        }
    }
}

/// An open volume with its name within the source.
struct Source {
    name: String,
    volume: Volume,
    view: View,
}

impl Source {
    fn open(tree: &Tree, name: &str, view: View) -> Result<Self, Problem> {
        let volume = Volume::open(&tree.path(name)).map_err(|e| Problem::unreadable(&e))?;
        Ok(Self { name: name.to_owned(), volume, view })
    }

    /// Number of slices, over all volumes of a series.
    fn len(&self) -> usize {
        self.volume.num_planes(self.view) * self.volume.num_channels()
    }

    /// Slice and volume for a running index.
    fn place(&self, index: usize) -> (usize, Option<usize>) {
        let planes = self.volume.num_planes(self.view).max(1);
        (index % planes, (self.volume.num_channels() > 1).then_some(index / planes))
    }

    fn pixels(&self, index: usize, settings: &Volumes) -> Result<Pixels, Problem> {
        let (plane, channel) = self.place(index);
        let pixels = self.volume.pixels(self.view, plane, channel, settings.intensity);
        pixels.map_err(|error| Problem::unreadable(&error.context(self.name.clone())))
    }

    /// `channel` is set if each volume of the mask is a separate mask.
    fn labels(&self, index: usize, channel: Option<usize>) -> Result<StoredMask, Problem> {
        let (plane, own) = match channel {
            Some(channel) => (index, Some(channel)),
            None => self.place(index),
        };
        let labels = self.volume.plane(self.view, plane, own);
        let labels = labels.and_then(|labels| StoredMask::of_plane(&labels));
        labels.map_err(|error| {
            Problem::unreadable(&error.context(format!("{}: slice {plane}", self.name)))
        })
    }
}

/// Which lines of a volume, along each axis, are entirely black.
struct BlackLines {
    /// Along the slices: one flag per pixel; 1 if any slice is not black there.
    through: Vec<u8>,
    /// Per slice: rows and columns that are not black.
    slices: Vec<(Vec<bool>, Vec<bool>)>,
}

impl BlackLines {
    fn of(image: &Source) -> Result<Self, Problem> {
        let mut through = Vec::new();
        let mut slices = Vec::with_capacity(image.len());
        for index in 0..image.len() {
            let (plane, channel) = image.place(index);
            let pixels =
                image.volume.pixels(image.view, plane, channel, sonotune_formats::Intensity::Wrap);
            let pixels = pixels.map_err(|e| Problem::unreadable(&e.context(image.name.clone())))?;
            let shown = foreground(&pixels);
            through.resize(shown.len(), 0);
            let width = pixels.width as usize;
            let mut rows = vec![false; pixels.height as usize];
            let mut columns = vec![false; width];
            for (at, &value) in shown.iter().enumerate() {
                if value != 0 {
                    through[at] = 1;
                    rows[at / width] = true;
                    columns[at % width] = true;
                }
            }
            slices.push((rows, columns));
        }
        Ok(Self { through, slices })
    }

    /// 1 where a slice's pixel is not on a black line.
    fn visible(&self, index: usize) -> Vec<u8> {
        let (rows, columns) = &self.slices[index];
        let width = columns.len();
        let through = self.through.iter().enumerate();
        through
            .map(|(at, &through)| through * u8::from(rows[at / width] && columns[at % width]))
            .collect()
    }
}
