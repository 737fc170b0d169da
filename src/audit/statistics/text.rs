//! A survey for people.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use sonotune_base::words::counted;

use super::{Distribution, SplitSurvey, Survey};

impl Display for Survey {
    /// A paragraph for each split.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, split) in self.splits.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            split.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for SplitSurvey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        write!(f, "{} ({}): ", self.split, counts.source.display())?;
        write!(f, "{}", counted(counts.num_images, "image"))?;
        if counts.num_objects > 0 {
            write!(f, ", {}", counted(counts.num_objects, "object"))?;
        }
        if counts.num_crowds > 0 {
            write!(f, " ({} as crowds)", counts.num_crowds)?;
        }
        writeln!(f)?;
        self.images(f)?;
        self.objects(f)?;
        self.categories(f)
    }
}

/// One line of a paragraph.
fn line(f: &mut fmt::Formatter<'_>, what: &str, text: impl Display) -> fmt::Result {
    writeln!(f, "  {what:<18}{text}")
}

impl SplitSurvey {
    fn images(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.num_unreadable > 0 {
            let count = counted(self.num_unreadable, "image");
            line(f, "unreadable", format!("{count}, left out below (`sonotune data check`)"))?;
        }
        if let (Some(heights), Some(widths)) = (&self.heights, &self.widths) {
            line(f, "height", format!("{heights}"))?;
            line(f, "width", format!("{widths}"))?;
            let of = |s: &super::SizeCount| format!("{}x{} ({})", s.height, s.width, s.num_images);
            let sizes: Vec<String> = self.common_sizes.iter().map(of).collect();
            line(f, "common sizes", sizes.join(", "))?;
            line(f, "file format", listed(&self.formats))?;
            let grey = match self.num_grey_in_colour {
                0 => String::new(),
                count => format!("; {count} stored in colour are grey"),
            };
            line(f, "channels x depth", format!("{}{grey}", listed(&self.depths)))?;
            line(f, "pixel mean", three(self.pixel_mean))?;
            line(f, "pixel sd", three(self.pixel_sd))?;
        }
        if let (Some(rows), Some(columns)) = (&self.row_spacing, &self.column_spacing) {
            let unknown = match self.counts.num_images.saturating_sub(self.num_with_spacing) {
                0 => String::new(),
                count => format!("; unknown for {}", counted(count, "image")),
            };
            let sides = match rows == columns {
                true => format!("{rows:.4}"),
                false => format!("rows {rows:.4}; columns {columns:.4}"),
            };
            line(f, "mm a pixel", format!("{sides}{unknown}"))?;
        }
        if self.num_patients > 0 {
            let unknown = match self.images_without_patient {
                0 => String::new(),
                count => format!("; unknown for {}", counted(count, "image")),
            };
            line(f, "patients", format!("{}{unknown}", self.num_patients))?;
        }
        Ok(())
    }

    fn objects(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(per_image) = &self.objects_per_image else { return Ok(()) };
        line(f, "objects per image", format!("{per_image}, mean {:.2}", per_image.mean))?;
        let empty = self.counts.images_without_objects;
        if empty > 0 {
            line(f, "empty", counted(empty, "image"))?;
        }
        let mut of = |what: &str, values: &Option<Distribution>, digits: usize, scale: f64| {
            let Some(values) = values else { return Ok(()) };
            let d = Distribution {
                min: values.min * scale,
                median: values.median * scale,
                max: values.max * scale,
                ..*values
            };
            line(f, what, format!("{d:.digits$}"))
        };
        of("area, pixels", &self.areas, 0, 1.0)?;
        of("area, % of image", &self.relative_areas, 2, 100.0)?;
        of("box width/height", &self.aspect_ratios, 2, 1.0)
    }

    fn categories(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let categories = &self.counts.categories;
        let width = categories.iter().map(|c| c.name.chars().count()).max().unwrap_or(0).max(5);
        if categories.is_empty() {
            return Ok(());
        }
        let has_objects = self.counts.num_objects > 0;
        let header = if has_objects { "  objects   images  area, pixels" } else { "   images" };
        writeln!(f, "  class {:width$}{header}", "")?;
        for (category, areas) in categories.iter().zip(&self.areas_by_category) {
            write!(f, "  {:>5} {:width$}", category.index, category.name)?;
            if has_objects {
                write!(f, "{:>9}", category.num_objects)?;
            }
            write!(f, "{:>9}", category.num_images)?;
            match areas {
                Some(areas) => writeln!(f, "  {areas}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// `PNG (12), JPEG (3)`.
fn listed<K: Display>(counts: &BTreeMap<K, usize>) -> String {
    let of = |(name, count): (&K, &usize)| format!("{name} ({count})");
    counts.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// One number if the channels agree.
fn three(values: [f64; 3]) -> String {
    let [r, g, b] = values.map(|value| format!("{value:.3}"));
    if r == g && g == b { format!("{r} in each channel") } else { format!("[{r}, {g}, {b}]") }
}
