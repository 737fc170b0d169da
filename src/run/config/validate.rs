//! What types cannot say: ranges, and keys that depend on each other.

use super::RunConfig;
use sonotune_base::pattern;
use sonotune_config::{Problem, Severity};
use sonotune_dataset::transforms::AugmentConfig;
use sonotune_engine::{
    determinism::Deterministic,
    device::AttentionBackend,
    loader::{BadImages, LoaderConfig},
    optim::ScheduleConfig,
};

/// Collects findings; each names its key, and the reader adds where that key was given.
struct Findings(Vec<Problem>);

impl Findings {
    fn error(&mut self, key: &str, message: impl std::fmt::Display) {
        self.0.push(Problem::error(format!("`{key}`: {message}")).key(key));
    }

    fn warning(&mut self, key: &str, message: impl std::fmt::Display) {
        self.0.push(Problem::warning(format!("`{key}`: {message}")).key(key));
    }

    fn at_least(&mut self, key: &str, least: u64, got: u64) {
        if got < least {
            self.error(key, format_args!("expected at least {least}, got {got}"));
        }
    }

    fn in_range(&mut self, key: &str, expected: &str, got: f64, fits: bool) {
        if !fits || !got.is_finite() {
            self.error(key, format_args!("expected {expected}, got {got:?}"));
        }
    }

    fn positive(&mut self, key: &str, got: f64) {
        self.in_range(key, "a number above 0", got, got > 0.0);
    }

    fn not_negative(&mut self, key: &str, got: f64) {
        self.in_range(key, "a number of at least 0", got, got >= 0.0);
    }

    fn probability(&mut self, key: &str, got: f64) {
        self.in_range(key, "a probability from 0 to 1", got, (0.0..=1.0).contains(&got));
    }

    /// From 0 up to but excluding 1.
    fn decay(&mut self, key: &str, got: f64) {
        self.in_range(key, "a number from 0 to below 1", got, (0.0..1.0).contains(&got));
    }

    fn state_dict(&mut self, table: &str, path: Option<&str>) {
        if path == Some("") {
            self.error(
                &format!("{table}.state_dict"),
                "expected a path such as \"model_ema\", got an empty one (leave the key out to have \
                 the state dict found)",
            );
        }
    }

    /// Patterns that allow weights to differ from the model.
    fn patterns(&mut self, table: &str, lists: &[(&str, &[String])]) {
        for (key, patterns) in lists {
            let key = format!("{table}.{key}");
            if patterns.iter().any(String::is_empty) {
                self.error(&key, "an empty pattern matches nothing");
            }
            if patterns.iter().any(|p| p == "*") {
                self.warning(&key, "`*` lets anything pass: a wrong file would go unnoticed");
            }
        }
    }
}

impl RunConfig {
    /// Ranges and contradictions. Backbone, task and dataset check their own tables when built.
    #[must_use]
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut findings = Findings(Vec::new());
        self.validate_device(&mut findings);
        self.validate_data(&mut findings);
        self.validate_weights(&mut findings);
        self.validate_optimizer(&mut findings);
        self.validate_schedule(&mut findings);
        self.validate_loop(&mut findings);
        findings.0.sort_by_key(|p| std::cmp::Reverse(p.severity == Severity::Error));
        findings.0
    }

    fn validate_device(&self, findings: &mut Findings) {
        if self.attention_backend == AttentionBackend::Cudnn
            && self.deterministic == Deterministic::Require
        {
            findings.error(
                "attention_backend",
                "\"cudnn\" contradicts `deterministic = \"require\"`: its backward pass has no \
                 deterministic form; use \"flash\", which has one",
            );
        }
    }

    fn validate_data(&self, findings: &mut Findings) {
        if self.run_dir.as_os_str().is_empty() {
            findings.error("run_dir", "expected a folder, got an empty path");
        }
        let preprocess = &self.preprocess;
        findings.at_least("preprocess.image_size", 1, preprocess.image_size.into());
        findings.at_least("preprocess.pad_multiple", 1, preprocess.pad_multiple.into());
        findings.at_least("preprocess.max_pixels", 1, preprocess.max_pixels);
        findings.probability("augment.flip_probability", self.augment.flip_probability);
        if !self.augment.scale_range_fits() {
            let got = self.augment.scale_range.unwrap_or_default();
            let expected = AugmentConfig::SCALE_RANGE;
            findings.error("augment.scale_range", format_args!("expected {expected}, got {got:?}"));
        }
        if self.embedding_cache.is_some() && self.augment.scale_range.is_some() {
            findings.error(
                "augment.scale_range",
                "contradicts `embedding_cache`: each image comes at a new size and crop every time, \
                 so no embedding of it could be reused; remove one of the two",
            );
        }
        findings.at_least("loader.batch_size", 1, self.loader.batch_size as u64);
        findings.at_least("loader.prefetch_batches", 1, self.loader.prefetch_batches as u64);
        if self.loader.num_workers > LoaderConfig::MOST_WORKERS {
            let (most, got) = (LoaderConfig::MOST_WORKERS, self.loader.num_workers);
            findings.error(
                "loader.num_workers",
                format_args!("expected at most {most} threads, got {got}"),
            );
        }
        if self.embedding_cache.is_some() && self.loader.bad_images == BadImages::Skip {
            findings.error(
                "loader.bad_images",
                "\"skip\" contradicts `embedding_cache`, which holds every image or none; fix or \
                 remove the bad ones (`sonotune data check` finds them), or remove one of the two keys",
            );
        }
    }

    fn validate_weights(&self, findings: &mut Findings) {
        let Some(weights) = &self.weights else { return };
        if weights.path.as_os_str().is_empty() {
            findings.error(
                "weights.path",
                "expected a file, got an empty path (leave [weights] out for a random start)",
            );
        }
        findings.state_dict("weights", weights.state_dict.as_deref());
        findings.patterns(
            "weights",
            &[
                ("ignore", &weights.ignore),
                ("allow_missing", &weights.allow_missing),
                ("allow_unexpected", &weights.allow_unexpected),
                ("allow_misshapen", &weights.allow_misshapen),
            ],
        );
        for (i, part) in weights.parts.iter().enumerate() {
            let table = format!("weights.parts.{i}");
            if part.path.as_os_str().is_empty() {
                findings.error(&format!("{table}.path"), "expected a file, got an empty path");
            }
            if part.variables.is_empty() {
                findings.error(
                    &format!("{table}.variables"),
                    "expected patterns of the variables that come from this file, got none",
                );
            }
            if part.variables.iter().any(|pattern| pattern == "*") {
                findings.error(
                    &format!("{table}.variables"),
                    "`*` leaves nothing for `weights.path`; name this file there instead",
                );
            }
            if part.variables.iter().any(String::is_empty) {
                findings.error(&format!("{table}.variables"), "an empty pattern matches nothing");
            }
            findings.state_dict(&table, part.state_dict.as_deref());
            findings.patterns(
                &table,
                &[
                    ("ignore", &part.ignore),
                    ("allow_missing", &part.allow_missing),
                    ("allow_unexpected", &part.allow_unexpected),
                    ("allow_misshapen", &part.allow_misshapen),
                ],
            );
        }
    }

    fn validate_optimizer(&self, findings: &mut Findings) {
        let optimizer = &self.optimizer;
        findings.positive("optimizer.lr", optimizer.lr);
        findings.not_negative("optimizer.weight_decay", optimizer.weight_decay);
        findings.decay("optimizer.betas.0", optimizer.betas.0);
        findings.decay("optimizer.betas.1", optimizer.betas.1);
        findings.positive("optimizer.eps", optimizer.eps);
        findings.decay("optimizer.momentum", optimizer.momentum);
        if optimizer.nesterov && optimizer.momentum == 0.0 {
            findings.error("optimizer.nesterov", "needs a momentum above 0");
        }
        for (index, group) in optimizer.groups.iter().enumerate() {
            let key = |name: &str| format!("optimizer.groups.{index}.{name}");
            findings.not_negative(&key("lr_multiplier"), group.lr_multiplier);
            findings.not_negative(&key("weight_decay_multiplier"), group.weight_decay_multiplier);
            if group.name.is_empty() || group.name.contains(char::is_whitespace) {
                findings.error(&key("name"), format_args!("expected a word, got {:?}", group.name));
            }
            if group.pattern.is_empty() {
                findings.error(&key("pattern"), "an empty pattern matches nothing");
            }
            let earlier = &optimizer.groups[..index];
            if let Some(twin) = earlier.iter().position(|g| g.name == group.name) {
                let message = format!("{:?} is also the name of group {twin}", group.name);
                findings.error(&key("name"), message);
            }
            if let Some(twin) = earlier.iter().position(|g| g.pattern == group.pattern) {
                let message =
                    format!("group {twin} has the same pattern and takes everything it matches");
                findings.error(&key("pattern"), message);
            }
        }
    }

    fn validate_schedule(&self, findings: &mut Findings) {
        let max_steps = self.train.max_steps;
        let warmup = match &self.schedule {
            ScheduleConfig::Constant { warmup } => warmup,
            ScheduleConfig::MultiStep { milestones, gamma, warmup } => {
                findings.positive("schedule.gamma", *gamma);
                let ascending = milestones.windows(2).all(|pair| pair[0] < pair[1]);
                if !ascending {
                    let message = format!("expected ascending steps, got {milestones:?}");
                    findings.error("schedule.milestones", message);
                }
                if let Some(late) = milestones.iter().find(|m| **m >= max_steps) {
                    let message =
                        format!("{late} is never reached: the run ends at step {max_steps}");
                    findings.warning("schedule.milestones", message);
                }
                warmup
            }
            ScheduleConfig::Cosine { end_factor, warmup } => {
                findings.not_negative("schedule.end_factor", *end_factor);
                warmup
            }
            ScheduleConfig::Poly { power, end_factor, warmup } => {
                findings.positive("schedule.power", *power);
                findings.not_negative("schedule.end_factor", *end_factor);
                warmup
            }
        };
        findings.in_range(
            "schedule.warmup.start_factor",
            "a factor from 0 to 1",
            warmup.start_factor,
            (0.0..=1.0).contains(&warmup.start_factor),
        );
        if warmup.steps >= max_steps && warmup.steps > 0 {
            let message =
                format!("{} steps of warm-up, but the run ends at step {max_steps}", warmup.steps);
            findings.warning("schedule.warmup.steps", message);
        }
    }

    fn validate_loop(&self, findings: &mut Findings) {
        let (train, evaluation) = (&self.train, &self.evaluation);
        findings.at_least("train.max_steps", 1, train.max_steps);
        findings.at_least("train.accumulate_batches", 1, train.accumulate_batches);
        if let Some(norm) = train.clip_grad_norm {
            findings.positive("train.clip_grad_norm", norm);
        }
        if let Some(steps) = train.checkpoint_every_steps {
            findings.at_least("train.checkpoint_every_steps", 1, steps);
        }
        self.validate_ema(findings);
        self.validate_early_stopping(findings);
        findings.at_least("logging.every_steps", 1, self.logging.every_steps);
        if let Some(size) = evaluation.batch_size {
            findings.at_least("evaluation.batch_size", 1, size as u64);
        }
        if let Some(steps) = evaluation.every_steps {
            findings.at_least("evaluation.every_steps", 1, steps);
            if steps > train.max_steps {
                let message = format!(
                    "{steps} is never reached: the run ends at step {}, where it is evaluated once",
                    train.max_steps
                );
                findings.warning("evaluation.every_steps", message);
            }
        }
        if evaluation.flip && self.task.averaging().is_none() {
            let task = self.task.typetag_name();
            findings.error(
                "evaluation.flip",
                format_args!("the task {task:?} cannot average predictions: leave this key out"),
            );
        }
        self.validate_best_metric(findings);
        findings.at_least("parallel.timeout_seconds", 1, self.parallel.timeout_seconds);
        findings.at_least("parallel.bucket_mib", 1, self.parallel.bucket_mib as u64);
    }

    /// A run would otherwise find out at its first evaluation.
    fn validate_best_metric(&self, findings: &mut Findings) {
        const KEY: &str = "evaluation.best_metric";
        let Some(metric) = &self.evaluation.best_metric else { return };
        if metric.is_empty() {
            return findings.error(KEY, "expected a metric's name, got \"\"");
        }
        let Some(known) = self.task.metric_names() else { return };
        if !known.iter().any(|name| pattern::matches(name, metric)) {
            let known = known.join(", ");
            let message = format!("the task does not report {metric:?}; it reports {known}");
            findings.error(KEY, message);
        }
    }

    fn validate_ema(&self, findings: &mut Findings) {
        let Some(ema) = &self.train.ema else { return };
        findings.decay("train.ema.decay", ema.decay);
        if let Some(warmup) = &ema.warmup {
            findings.positive("train.ema.warmup.gamma", warmup.gamma);
            findings.positive("train.ema.warmup.power", warmup.power);
        }
    }

    fn validate_early_stopping(&self, findings: &mut Findings) {
        let Some(stopping) = &self.train.early_stopping else { return };
        findings.at_least("train.early_stopping.patience", 1, stopping.patience);
        findings.not_negative("train.early_stopping.min_delta", stopping.min_delta);
        if self.evaluation.best_metric.is_none() {
            findings.error(
                "train.early_stopping",
                "needs `evaluation.best_metric`: the metric that must improve",
            );
        }
        match self.evaluation.every_steps {
            None => findings.error(
                "train.early_stopping",
                "needs `evaluation.every_steps`: without it the run is scored only at its end",
            ),
            Some(every) if every.saturating_mul(stopping.patience + 1) >= self.train.max_steps => {
                let message = format!(
                    "never takes effect: the run ends at step {}, before the first evaluation and {} \
                     more, one every {every} steps",
                    self.train.max_steps, stopping.patience
                );
                findings.warning("train.early_stopping.patience", message);
            }
            Some(_) => {}
        }
    }
}
