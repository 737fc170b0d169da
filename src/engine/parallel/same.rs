//! What must be the same for all processes of a group, and how they notice that it is not.

use anyhow::Result;
use sonotune_base::Error;
use tch::{Kind, Tensor};

use super::Ranks;

impl Ranks {
    /// Requires that all processes found the same, such as the hash of a file; `what` names it.
    ///
    /// # Errors
    /// Of kind config; says which rank found what.
    pub fn require_same(&self, what: &str, mine: &str) -> Result<()> {
        let all = self.tell(mine.to_owned())?;
        let Some(other) = all.iter().position(|said| *said != all[0]) else { return Ok(()) };
        let short = |text: &str| text.chars().take(300).collect::<String>();
        Err(Error::config(format!(
            "the processes of this run differ in the {what}: rank 0 has {}, rank {other} has {}. All must \
             run the same program on the same files",
            short(&all[0]),
            short(&all[other])
        ))
        .into())
    }

    /// The same for a list too long to show: names the first line that differs.
    ///
    /// # Errors
    /// Same errors as [`require_same`](Self::require_same).
    pub fn require_same_lines(&self, what: &str, mine: &[String]) -> Result<()> {
        let first = self.from_first(self.is_first().then(|| mine.to_vec()))?;
        let differs = first.iter().zip(mine).find(|(first, mine)| first != mine);
        let found = match differs {
            Some((first, mine)) => {
                Err(format!("rank 0 has {first}, rank {} has {mine}", self.rank()))
            }
            None if first.len() != mine.len() => {
                Err(format!("rank 0 has {}, rank {} has {}", first.len(), self.rank(), mine.len()))
            }
            None => Ok(()),
        };
        self.agree(found.map_err(|differs| {
            Error::config(format!("the processes of this run differ in the {what}: {differs}"))
                .into()
        }))
    }

    /// A number that is the same for equal `tensors`, to notice when processes have drifted apart.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    pub fn fingerprint(tensors: &[Tensor]) -> Result<f64> {
        let sums: Vec<Tensor> = tensors
            .iter()
            .map(|t| Ok(t.f_detach()?.f_sum(Kind::Double)?))
            .collect::<Result<_>>()?;
        Ok(Tensor::f_stack(&sums, 0)?.f_sum(Kind::Double)?.f_double_value(&[])?)
    }
}
