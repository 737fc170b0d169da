//! What all protocols share: the model, its queue, and the images.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use sonotune_base::{Error, image_io::DecodeOptions};
use sonotune_dataset::pixels::{self, ImageFile, Kind};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use crate::{
    Answer, Image, Inference, Options, Question,
    metrics::{Counted, Metrics},
    server::{Failure, Token, refuse},
    sessions::Sessions,
    store::{Store, Upload},
};

/// How soon a client whose question was refused may come back.
const RETRY_AFTER_SECONDS: u64 = 1;

/// What all protocols share.
pub(crate) struct App {
    pub(crate) inference: Arc<dyn Inference>,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    /// Folders whose images clients may name.
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) max_pixels: u64,
    pub(crate) max_upload_bytes: u64,
    pub(crate) token: Option<Token>,
    pub(crate) sessions: Sessions,
    timeout: Duration,
    queue: usize,
    places: Arc<Semaphore>,
    /// The model answers one question after the other; more threads would only wait.
    turn: Arc<Semaphore>,
}

/// A place in the queue, kept until the model is done even if the client is gone.
#[derive(Clone)]
pub(crate) struct Place(#[expect(dead_code, reason = "held")] Arc<OwnedSemaphorePermit>);

/// An image that can be asked about, and the upload that must not go before.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) image: Image,
    /// `(height, width)`.
    pub(crate) size: (u32, u32),
    #[expect(dead_code, reason = "held")]
    pub(crate) upload: Option<Arc<Upload>>,
}

impl App {
    pub(crate) fn new(inference: Arc<dyn Inference>, options: &Options) -> Result<Self> {
        Ok(Self {
            inference,
            store: Store::new(options.kept_bytes)?,
            metrics: Arc::new(Metrics::new()),
            roots: options.images.clone(),
            max_pixels: options.max_pixels,
            max_upload_bytes: options.max_upload_bytes,
            token: options.token.clone(),
            sessions: Sessions::default(),
            timeout: options.timeout,
            queue: options.queue,
            places: Arc::new(Semaphore::new((options.queue + 1).min(Semaphore::MAX_PERMITS))),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// Asks the model. A question that is still waiting when its client leaves is dropped.
    pub(crate) async fn ask(
        &self,
        place: Place,
        asked: &Asked,
        question: Question,
    ) -> Result<Answer, Failure> {
        let until = Instant::now() + self.timeout;
        let late = || {
            let seconds = self.timeout.as_secs_f64();
            let what = format!("the model did not answer within {seconds} seconds");
            Failure::busy(what, RETRY_AFTER_SECONDS)
        };
        let waiting = Counted::new(&self.metrics.waiting);
        let turn = timeout_at(until, Arc::clone(&self.turn).acquire_owned()).await;
        let turn = turn.map_err(|_| late())?.map_err(|closed| Failure::internal(&closed.into()))?;
        drop(waiting);
        let in_flight = Counted::new(&self.metrics.in_flight);
        let (inference, asked) = (Arc::clone(&self.inference), asked.clone());
        let answering = spawn_blocking(move || {
            let answer = inference.answer(&asked.image, &question);
            let answer = answer.map_err(|error| called(error, &asked.image.file.path, "the image"));
            drop((place, turn, in_flight, asked));
            answer
        });
        let answered = timeout_at(until, answering).await.map_err(|_| late())?;
        let answer = answered.map_err(|panic| Failure::internal(&panic.into()))??;
        let counter =
            if answer.was_prepared { &self.metrics.reused } else { &self.metrics.computed };
        counter.inc();
        Ok(answer)
    }

    /// An uploaded image, checked as far as its header goes.
    pub(crate) async fn uploaded(
        self: &Arc<Self>,
        upload: Arc<Upload>,
        frame: Option<u32>,
    ) -> Result<Asked, Failure> {
        let file = ImageFile::new(&upload.path, frame);
        let size = self.check(&file, "the uploaded image").await?;
        let version = format!("sha256:{}", upload.hash);
        Ok(Asked { image: Image { file, version }, size, upload: Some(upload) })
    }

    /// An image of one of the folders.
    pub(crate) async fn local(
        self: &Arc<Self>,
        name: &str,
        frame: Option<u32>,
    ) -> Result<Asked, Failure> {
        let path = crate::store::within(&self.roots, name)?;
        let file = ImageFile::new(&path, frame);
        let size = self.check(&file, name).await?;
        let about = path.metadata().map_err(|_| Failure::not_found(format!("no image {name}")))?;
        let changed = about.modified().ok().and_then(|time| {
            time.duration_since(std::time::UNIX_EPOCH).ok().map(|time| time.as_nanos())
        });
        let version = format!("{}:{}", changed.unwrap_or(0), about.len());
        Ok(Asked { image: Image { file, version }, size, upload: None })
    }

    /// `(height, width)`; `name` is what the client calls the file, whose path is not its business.
    async fn check(self: &Arc<Self>, file: &ImageFile, name: &str) -> Result<(u32, u32), Failure> {
        let (file, name, max_pixels) = (file.clone(), name.to_owned(), self.max_pixels);
        let checked = self.blocking(move |_| {
            check_file(&file, max_pixels).map_err(|error| called(error, &file.path, &name))
        });
        checked.await
    }

    /// Runs what takes long, or reads files, where it holds up nobody.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let app = Arc::clone(self);
        let done = spawn_blocking(move || work(&app)).await;
        done.map_err(|panic| Failure::internal(&panic.into()))?
    }
}

/// An error about a file by the client's name for it: where it is on this machine is not the client's business.
pub(crate) fn called(error: anyhow::Error, path: &Path, name: &str) -> Failure {
    let mut failure = Failure::from(error);
    let shown = path.display().to_string();
    failure.message =
        failure.message.replace(&format!("image {shown}"), name).replace(&shown, name);
    failure
}

/// Checks that a file is an image or a DICOM file, and how large it is, before any pixel is decoded.
fn check_file(file: &ImageFile, max_pixels: u64) -> Result<(u32, u32)> {
    // Other formats are decoded by other programs of the machine, which uploads must not reach.
    let kind = Kind::of(&file.path);
    // The reader would show the one image that there is.
    if let (Kind::Image, Some(frame @ 1..)) = (kind, file.frame) {
        let what =
            format!("{}: there is no frame {frame}, it is a single image", file.path.display());
        return Err(Error::data(what).into());
    }
    ensure!(
        kind != Kind::Clip,
        Error::data(format!("{}: a clip; send one of its frames as PNG", file.path.display()))
    );
    let options = DecodeOptions { exif: true, max_pixels };
    let size = pixels::read_size(&file.path, file.frame, options)?;
    ensure!(
        u64::from(size.0) * u64::from(size.1) <= max_pixels,
        Error::data(format!(
            "{}: {}x{} pixels (height x width) are more than the {max_pixels} this server takes",
            file.path.display(),
            size.0,
            size.1
        ))
    );
    Ok(size)
}

/// Gives a request a place in the queue, before its body is read, or asks its client to come back.
pub(crate) async fn queue(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Ok(place) = Arc::clone(&app.places).try_acquire_owned() else {
        let what = format!("{} questions are waiting already; try again", app.queue);
        return refuse(Failure::busy(what, RETRY_AFTER_SECONDS), request).await;
    };
    request.extensions_mut().insert(Place(Arc::new(place)));
    next.run(request).await
}
