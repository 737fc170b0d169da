//! A project's labelling interface: which tags there are, and which labels they have.

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::{Map, Value};

use crate::{About, server::Failure};

/// What the model's answers become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Brush,
    Polygon,
    Rectangle,
    KeyPoint,
    Choices,
}

impl Kind {
    /// The `type` of a region, and the key of its labels.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brush => "brushlabels",
            Self::Polygon => "polygonlabels",
            Self::Rectangle => "rectanglelabels",
            Self::KeyPoint => "keypointlabels",
            Self::Choices => "choices",
        }
    }

    fn of(tag: &str) -> Option<Self> {
        let tag = tag.to_ascii_lowercase();
        [Self::Brush, Self::Polygon, Self::Rectangle, Self::KeyPoint, Self::Choices]
            .into_iter()
            .find(|kind| kind.name() == tag)
    }
}

/// A tag that labels the image.
#[derive(Debug, Clone)]
pub(super) struct Control {
    pub(super) kind: Kind,
    pub(super) name: String,
    labels: Vec<Label>,
}

#[derive(Debug, Clone)]
struct Label {
    value: String,
    /// `predicted_values`: names of the model's categories that become this label.
    predicted: Vec<String>,
}

/// The image of a labelling interface, and the tags for it.
#[derive(Debug, Clone)]
pub(super) struct LabelConfig {
    /// The name of the `Image` tag.
    pub(super) image: String,
    /// The key of a task's data.
    key: String,
    controls: Vec<Control>,
}

impl LabelConfig {
    /// # Errors
    /// If it is not XML, or has no image with labels.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let fault =
            |what: String| Failure::unprocessable(format!("the labelling interface: {what}"));
        // Without document types there are no entities to expand.
        let options =
            ParsingOptions { allow_dtd: false, nodes_limit: 100_000, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options)
            .map_err(|error| fault(format!("it is not valid XML: {error}")))?;
        let mut images = document.descendants().filter(|node| node.has_tag_name("Image"));
        let image = match (images.next(), images.next()) {
            (Some(image), None) => image,
            (None, _) => return Err(fault("it has no <Image> tag".to_owned())),
            _ => {
                return Err(fault(
                    "it has several <Image> tags; this server labels one".to_owned(),
                ));
            }
        };
        let name = image.attribute("name").unwrap_or_default().to_owned();
        let key = image.attribute("value").and_then(|value| value.strip_prefix('$'));
        let Some(key) = key.filter(|key| !key.is_empty() && !name.is_empty()) else {
            return Err(fault(
                "its <Image> needs a name and a value such as \"$image\"".to_owned(),
            ));
        };
        let controls: Vec<_> = document
            .descendants()
            .filter(|node| node.attribute("toName") == Some(name.as_str()))
            .filter_map(control)
            .collect();
        Ok(Self { image: name, key: key.to_owned(), controls })
    }

    /// Whether it has a tag for what the model answers, and a label for each category.
    pub(super) fn check(&self, about: &About) -> Result<(), Failure> {
        let control = self.answers(about)?;
        for category in &about.categories {
            if control.label_of(&category.name, about.categories.len()).is_none() {
                let what = format!(
                    "the labelling interface: <{}> {:?} has no label for the model's category {:?}; name one so, or \
                     add predicted_values={:?} to it",
                    control.kind.name(),
                    control.name,
                    category.name,
                    category.name
                );
                return Err(Failure::unprocessable(what));
            }
        }
        Ok(())
    }

    /// The tag that takes the model's answers.
    pub(super) fn answers(&self, about: &About) -> Result<&Control, Failure> {
        let wanted: &[Kind] = match (about.is_of_image, about.has_masks) {
            (true, _) => &[Kind::Choices],
            (false, true) => &[Kind::Brush, Kind::Polygon, Kind::Rectangle],
            (false, false) => &[Kind::Rectangle],
        };
        wanted.iter().find_map(|kind| self.controls.iter().find(|c| c.kind == *kind)).ok_or_else(|| {
            let wanted: Vec<_> = wanted.iter().map(|kind| kind.name()).collect();
            let what = format!(
                "the labelling interface has no tag for the model's answers: add one of {} for {:?}",
                wanted.join(", "),
                self.image
            );
            Failure::unprocessable(what)
        })
    }

    /// The image of a task.
    pub(super) fn image_of<'a>(&self, data: &'a Map<String, Value>) -> Result<&'a str, Failure> {
        data.get(&self.key).and_then(Value::as_str).ok_or_else(|| {
            Failure::unprocessable(format!("a task has no text {:?} in its data", self.key))
        })
    }

    /// The category that a label of any tag means.
    pub(super) fn category_of(&self, label: &str, about: &About) -> Option<usize> {
        let predicted = self.controls.iter().flat_map(|control| &control.labels);
        let of_label = predicted.filter(|known| known.value == label).flat_map(|l| &l.predicted);
        let mut names: Vec<_> = of_label.map(String::as_str).collect();
        names.push(label);
        about.categories.iter().position(|category| names.contains(&category.name.as_str()))
    }
}

impl Control {
    /// Its label for a category: by name, by `predicted_values`, or the only one for the only one.
    pub(super) fn label_of(&self, category: &str, num_categories: usize) -> Option<&str> {
        let named = self.labels.iter().find(|label| label.value == category);
        let predicted =
            || self.labels.iter().find(|l| l.predicted.iter().any(|name| name == category));
        let only = || self.labels.first().filter(|_| self.labels.len() == 1 && num_categories == 1);
        let in_any_case = || self.labels.iter().find(|l| l.value.eq_ignore_ascii_case(category));
        let found = named.or_else(predicted).or_else(in_any_case).or_else(only)?;
        Some(&found.value)
    }

    pub(super) fn has_label(&self, label: &str) -> bool {
        self.labels.iter().any(|known| known.value == label)
    }
}

fn control(node: Node<'_, '_>) -> Option<Control> {
    let kind = Kind::of(node.tag_name().name())?;
    let labels = node
        .descendants()
        .filter(|child| child.has_tag_name(if kind == Kind::Choices { "Choice" } else { "Label" }));
    let label = |child: Node<'_, '_>| {
        let predicted = child.attribute("predicted_values").unwrap_or_default();
        let predicted = predicted.split(',').map(|name| name.trim().to_owned());
        Some(Label {
            value: child.attribute("value")?.to_owned(),
            predicted: predicted.filter(|name| !name.is_empty()).collect(),
        })
    };
    let name = node.attribute("name")?.to_owned();
    Some(Control { kind, name, labels: labels.filter_map(label).collect() })
}
