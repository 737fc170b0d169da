//! The verdict as a sentence.

use sonotune_base::words::{counted, short};

use super::{Comparison, Verdict};

impl Comparison {
    /// The verdict in plain words. `names` are those of the models, `figure` is what was compared, such as
    /// `mean Dice`.
    ///
    /// # Panics
    /// If there are fewer names than models: a bug of the caller.
    #[must_use]
    pub fn sentence(&self, names: &[&str], figure: &str) -> String {
        let list = |models: &[usize]| {
            let names: Vec<&str> = models.iter().map(|&model| names[model]).collect();
            match names.split_last() {
                Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
                _ => names.concat(),
            }
        };
        let patients = counted(self.patients, "patient");
        match &self.verdict {
            Verdict::Best { model } => {
                format!(
                    "{} has the best {figure}, and the difference to every other model is significant ({patients}).",
                    names[*model]
                )
            }
            Verdict::BetterThan { model, others, undecided } => format!(
                "{} has the best {figure}. It is significantly better than {}. With {patients} \
                 it cannot be told from {}.",
                names[*model],
                list(others),
                list(undecided)
            ),
            Verdict::Undecided {
                model,
                next,
                difference,
                detectable,
                patients_needed,
                hopeless,
            } => {
                let mut text = format!(
                    "{patients}: too few to decide. {} has the best {figure}, {} ahead of {}",
                    names[*model],
                    short(*difference),
                    names[*next]
                );
                if detectable.is_finite() {
                    text += &format!(
                        "; a difference of {} or more would be likely to show",
                        short(*detectable)
                    );
                }
                text += ".";
                if let Some(needed) = patients_needed {
                    text +=
                        &format!(" To show one as small as this takes about {needed} patients.");
                }
                if *hopeless {
                    text += " With this number of patients and comparisons no result could be significant.";
                }
                text
            }
            Verdict::NothingToCompare => {
                format!("There are no two models with a {figure} to compare.")
            }
        }
    }
}
