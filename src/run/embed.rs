//! Computes the embeddings missing from a run's cache, before its first step.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::prelude::*;
use sonotune_base::words;
use tch::{Device, Tensor};

use super::{
    encoder::{Encoder, backbone_variables},
    model::Model,
};
use crate::{
    embedding_key::{ContentHash, RunKey, RunKeyParts, content_hash, of_frame},
    logging::RunLogger,
};
use sonotune_base::{Error, stop::StopFlag};
use sonotune_dataset::{
    Dataset, Record, TargetNeeds,
    transforms::{AugmentConfig, PadTo},
};
use sonotune_engine::{
    batch::Batch,
    embedding_cache::{EmbeddingCacheConfig, EmbeddingDtype, Embeddings, Entry, Found},
    loader::{LoadPlan, Loader},
    parallel::Ranks,
};

/// Refuses a cache whose embeddings would not be a function of each image alone.
///
/// # Errors
/// An error of kind config if a variable of the backbone is trained, or images are padded to
/// the size of others in the batch.
pub(super) fn check(model: &Model) -> Result<()> {
    let config = model.config;
    if config.embedding_cache.is_none() {
        return Ok(());
    }
    if config.evaluation.flip {
        return Err(Error::config(
            "evaluation.flip contradicts [embedding_cache], which holds no embedding of the mirror images that are \
             evaluated; remove one of the two. `sonotune eval --run RUN evaluation.flip=true` computes \
             from pixels and can flip",
        )
        .into());
    }
    let trained: Vec<String> = backbone_variables(&model.vs)
        .into_iter()
        .filter(|(_, variable)| variable.requires_grad())
        .map(|(name, _)| name)
        .collect();
    if !trained.is_empty() {
        let shown: Vec<_> = trained.iter().take(3).map(|name| format!("`{name}`")).collect();
        return Err(Error::config(format!(
            "[embedding_cache] needs a fully frozen backbone, but {} of its variables are trained, \
             among them {}; set backbone.freeze = \"all\" (without lora and adapter), or remove \
             [embedding_cache]",
            trained.len(),
            shown.join(", ")
        ))
        .into());
    }
    if [true, false].iter().any(|&train| config.preprocess.padding(train) == PadTo::Multiple) {
        return Err(Error::config(
            "[embedding_cache] needs images that are all padded the same: with preprocess.pad_to = \
             \"multiple\" the padding, and so the embedding, depends on the other images of the \
             batch; use pad_to = \"square\" (and eval_pad_to)",
        )
        .into());
    }
    Ok(())
}

/// What the cache is filled from.
pub(super) struct Filling<'a> {
    pub(super) cache: &'a EmbeddingCacheConfig,
    pub(super) model: &'a Model<'a>,
    /// Plan of the run; without embeddings.
    pub(super) plan: &'a LoadPlan,
    pub(super) watch: Watch<'a>,
    /// The processes that fill it together, each a part.
    pub(super) ranks: &'a Ranks,
}

/// Where progress is reported, and who may request a stop.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) logger: &'a RunLogger,
    pub(super) stop: &'a StopFlag,
}

/// An embedding that is needed: of which image, mirrored or not, in which file.
struct Wanted<'a> {
    record: &'a Record,
    flipped: bool,
    file: PathBuf,
}

/// What is in the cache.
struct Looked<'a> {
    missing: Vec<Wanted<'a>>,
    stored: usize,
    stored_bytes: u64,
}

impl Filling<'_> {
    /// Embeddings of all images that training (in every way they may be mirrored) and validation
    /// read; those that are missing or damaged are computed and written first.
    ///
    /// # Errors
    /// An error of kind data for an image that cannot be read, of kind interrupted if stopped on
    /// request; what has been computed by then is kept.
    pub(super) fn fill(&self, train: &Dataset, val: Option<&Dataset>) -> Result<Embeddings> {
        let variables = backbone_variables(&self.model.vs);
        let key = RunKey::new(&RunKeyParts {
            backbone: &*self.model.config.backbone,
            spec: &self.model.spec,
            variables: &variables,
            preprocess: &self.model.config.preprocess,
            precision: self.model.precision,
            dtype: self.cache.dtype,
        })?;
        let contents = self.hash(train, val)?;
        let files = |record: &Record| {
            let content = of_frame(contents.get(&record.path)?, record.frame);
            let file = |flipped| key.file(&self.cache.dir, &content, flipped);
            Some((record.name(), [false, true].map(file)))
        };
        let records = [Some(train), val].into_iter().flatten().flat_map(|data| &data.records);
        let embeddings = Embeddings::new(records.filter_map(files).collect());
        let wanted = wanted(train, val, &self.model.config.augment, &embeddings);
        let Looked { missing, stored, stored_bytes } = self.look(wanted)?;
        if !missing.is_empty() {
            self.watch.logger.info(&format!(
                "embedding cache {}: computing the missing {} of {}",
                self.cache.dir.display(),
                missing.len(),
                missing.len() + stored
            ));
        }
        // Each process reads what the others have written.
        let computed = self.ranks.agree(self.compute(&missing, &variables))?;
        let computed_bytes: u64 = self.ranks.tell(computed)?.into_iter().sum();
        self.watch.logger.prepared();
        self.watch.logger.info(&format!(
            "embedding cache {}: {} computed ({}), {stored} already there ({})",
            self.cache.dir.display(),
            missing.len(),
            words::bytes(computed_bytes),
            words::bytes(stored_bytes)
        ));
        Ok(embeddings)
    }

    /// The hash of every file: each process reads a part of the files.
    fn hash(
        &self,
        train: &Dataset,
        val: Option<&Dataset>,
    ) -> Result<HashMap<PathBuf, ContentHash>> {
        let paths: BTreeSet<&Path> = [Some(train), val]
            .into_iter()
            .flatten()
            .flat_map(|dataset| &dataset.records)
            .map(|record| record.path.as_path())
            .collect();
        let own: Vec<&Path> = paths
            .iter()
            .copied()
            .skip(self.ranks.rank())
            .step_by(self.ranks.world_size())
            .collect();
        let hashes = self.ranks.tell(self.ranks.agree(self.watch.hash(&own))?)?;
        let mut of_ranks: Vec<_> = hashes.into_iter().map(Vec::into_iter).collect();
        // Dealt out one by one, they come back so.
        let mut ranks = (0..self.ranks.world_size()).cycle();
        let mut next = || of_ranks.get_mut(ranks.next()?)?.next();
        let images =
            paths.into_iter().map(|path| Some((path.to_owned(), next()?))).collect::<Option<_>>();
        images.context("another process has fewer images")
    }

    /// Which embeddings are there: each process looks at a part of them.
    fn look<'w>(&self, wanted: Vec<Wanted<'w>>) -> Result<Looked<'w>> {
        let share = |index: usize| index % self.ranks.world_size() == self.ranks.rank();
        let own: Vec<(usize, &Wanted<'_>)> =
            wanted.iter().enumerate().filter(|&(index, _)| share(index)).collect();
        let found = self.ranks.tell(self.ranks.agree(self.watch.look(&own))?)?;
        let there: HashMap<usize, u64> = found.into_iter().flatten().collect();
        let stored_bytes = there.values().sum();
        let is_missing = |&(index, _): &(usize, Wanted<'_>)| !there.contains_key(&index);
        let missing = wanted.into_iter().enumerate().filter(is_missing).map(|(_, w)| w).collect();
        Ok(Looked { missing, stored: there.len(), stored_bytes })
    }

    /// Computes and writes; returns the number of bytes written.
    fn compute(&self, missing: &[Wanted], variables: &[(String, Tensor)]) -> Result<u64> {
        if missing.is_empty() {
            return Ok(0);
        }
        let encoder = Encoder::with(self.model, variables)?;
        let (watch, total) = (self.watch, (missing.len() as u64, self.cache.dtype));
        let done = &AtomicU64::new(0);
        thread::scope(|scope| {
            // A few images ahead of the disk, so that the device does not have to wait for it.
            let (sender, receiver) = bounded::<(PathBuf, Entry)>(16);
            let writer = scope.spawn(move || watch.write(receiver, done, total));
            let computed = [false, true].into_iter().try_for_each(|flipped| {
                let missing: Vec<_> = missing.iter().filter(|w| w.flipped == flipped).collect();
                self.compute_pass(&missing, flipped, &encoder, &sender)
            });
            drop(sender);
            let written = writer.join().map_err(|_| anyhow!("writing embeddings failed"))?;
            // A writer that fails closes the channel; its error is then the cause.
            let bytes = written?;
            computed.map(|()| bytes)
        })
    }

    fn compute_pass(
        &self,
        missing: &[&Wanted],
        flipped: bool,
        encoder: &Encoder,
        sender: &Sender<(PathBuf, Entry)>,
    ) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let plan = LoadPlan {
            needs: TargetNeeds::ImageLabels,
            share: self.ranks.share(),
            ..self.plan.clone()
        };
        // Libraries sum in another order for another number of images: all batches have the size that a
        // step of one process has, so that not a bit differs. The padding of the last one is dropped.
        let mut records: Vec<_> = missing.iter().map(|wanted| wanted.record.clone()).collect();
        let size = plan.loader.batch_size;
        let full = records.len().next_multiple_of(size);
        records.resize(full, missing[0].record.clone());
        let dataset = Arc::new(Dataset { records, ..Dataset::default() });
        let mut loader =
            if flipped { Loader::mirrored(dataset, plan)? } else { Loader::eval(dataset, plan)? };
        while let Some(batch) = loader.next() {
            self.watch.check_stop()?;
            let files = missing.iter().map(|w| &w.file).skip(loader.number() as usize * size);
            for (entry, file) in self.embed(encoder, batch?)?.into_iter().zip(files) {
                let sent = sender.send((file.clone(), entry));
                sent.map_err(|_| anyhow!("the writer of embeddings has ended"))?;
            }
        }
        Ok(())
    }

    fn embed(&self, encoder: &Encoder, batch: Batch) -> Result<Vec<Entry>> {
        let batch = batch.to_place(self.model.place())?;
        let levels = encoder.levels(self.model.place(), &batch)?;
        let levels: Vec<_> = levels.into_iter().map(|level| level.to_device(Device::Cpu)).collect();
        let side = |n: i64| u32::try_from(n).unwrap_or_default();
        let entry = |(index, target): (usize, &sonotune_engine::batch::Target)| Entry {
            original_size: target
                .crop
                .map_or((side(target.original_size.0), side(target.original_size.1)), |crop| {
                    crop.full
                }),
            crop: target.crop,
            levels: levels.iter().map(|level| level.get(index as i64)).collect(),
        };
        Ok(batch.targets.iter().enumerate().map(entry).collect())
    }
}

impl Watch<'_> {
    fn hash(&self, paths: &[&Path]) -> Result<Vec<ContentHash>> {
        let (done, total) = (AtomicU64::new(0), paths.len() as u64);
        paths
            .par_iter()
            .map(|path| {
                self.check_stop()?;
                let hash = content_hash(path)?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                self.logger.preparing("hashing images", done, total);
                Ok(hash)
            })
            .collect()
    }

    /// Index and size of those that are there and intact.
    fn look(&self, wanted: &[(usize, &Wanted<'_>)]) -> Result<Vec<(usize, u64)>> {
        let (done, total) = (AtomicU64::new(0), wanted.len() as u64);
        let found: Vec<Option<(usize, u64)>> = wanted
            .par_iter()
            .map(|&(index, wanted)| {
                self.check_stop()?;
                let bytes = match Entry::read(&wanted.file)? {
                    Found::Whole(_) => Some(std::fs::metadata(&wanted.file)?.len()),
                    Found::Absent => None,
                    Found::Damaged(why) => {
                        self.logger.warn(&format!(
                            "embedding {} is damaged ({why}); it is recomputed",
                            wanted.file.display()
                        ));
                        None
                    }
                };
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                self.logger.preparing("checking embeddings", done, total);
                Ok(bytes.map(|bytes| (index, bytes)))
            })
            .collect::<Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn write(
        &self,
        receiver: Receiver<(PathBuf, Entry)>,
        done: &AtomicU64,
        (total, dtype): (u64, EmbeddingDtype),
    ) -> Result<u64> {
        let mut bytes = 0;
        for (file, entry) in receiver {
            bytes += entry.write(&file, dtype)?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            self.logger.preparing("computing embeddings", done, total);
        }
        Ok(bytes)
    }

    fn check_stop(&self) -> Result<()> {
        if !self.stop.is_raised() {
            return Ok(());
        }
        Err(Error::interrupted(
            "stopped on request while preparing embeddings; those already computed are kept, and \
             the same command (with --overwrite, or --resume for a run that had begun) continues \
             with the rest",
        )
        .into())
    }
}

/// Whether training mirrors an image: never, always, or both ways.
fn mirrored(augment: &AugmentConfig) -> &'static [bool] {
    // All that augmentation may do to an image; any other kind would have to be added here.
    let AugmentConfig { flip_probability, scale_range } = *augment;
    debug_assert!(scale_range.is_none(), "the config is refused");
    match flip_probability {
        0.0 => &[false],
        1.0 => &[true],
        _ => &[false, true],
    }
}

/// The number of embeddings that a run needs, if no two of its images are the same.
pub(super) fn num_embeddings(
    train: &Dataset,
    val: Option<&Dataset>,
    augment: &AugmentConfig,
) -> usize {
    let validation = val.map_or(0, |dataset| dataset.records.len());
    train.records.len() * mirrored(augment).len() + validation
}

/// Every embedding once, however many images share it.
fn wanted<'a>(
    train: &'a Dataset,
    val: Option<&'a Dataset>,
    augment: &AugmentConfig,
    embeddings: &Embeddings,
) -> Vec<Wanted<'a>> {
    let in_training = mirrored(augment);
    let validation: &[bool] = &[false];
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for (dataset, flips) in [(Some(train), in_training), (val, validation)] {
        for record in dataset.map_or(&[][..], |dataset| &dataset.records) {
            for &flipped in flips {
                let Some(file) = embeddings.file(&record.name(), flipped) else { continue };
                if seen.insert(file) {
                    all.push(Wanted { record, flipped, file: file.to_owned() });
                }
            }
        }
    }
    all
}
