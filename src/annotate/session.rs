//! A session of annotation.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sonotune_base::{Error, stop::StopFlag};
use sonotune_serve::{
    Inference,
    server::{Access, Log, Token, serve},
};

use crate::{
    agreement::First,
    app::{App, Parts},
    events::Events,
    images::Images,
    model::compute_all,
    options::{Options, Order},
    routes::router,
    store::{Store, Summary},
};

/// What the page may load: its own files, and pictures that it makes.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// Bytes of a request at most: two thousand masks.
const MAX_BODY_BYTES: u64 = 32 << 20;
/// How long a large model may take on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How often the file is looked at for changes of others.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a stop is noticed.
const NOTICED_AFTER: Duration = Duration::from_millis(50);

/// Images, their file and a model, open and listening on this machine alone.
pub struct Session {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    token: Token,
    log: Option<Log>,
}

impl Session {
    /// Opens images and their COCO file, which is begun if it is not there.
    ///
    /// # Errors
    /// Kind config if another session has the file, the port is taken or no category is named; kind data if images or
    /// the file cannot be read; errors of the disk.
    pub fn open(options: &Options, model: Option<Arc<dyn Inference>>) -> Result<Self> {
        ensure!(
            options.order == Order::Name || model.is_some(),
            Error::config("--order uncertainty needs a model: pass --run or --config")
        );
        let events = Events::default();
        let from_model: Vec<String> = model
            .iter()
            .flat_map(|model| &model.about().categories)
            .map(|c| c.name.clone())
            .collect();
        let images = Arc::new(Images::open(&options.images, options.frames)?);
        let first = options
            .second_reading_of
            .as_deref()
            .map(|path| First::open(path, &images))
            .transpose()?;
        let others = first.as_ref().map_or_else(|| from_model.clone(), First::categories);
        let mut store = Store::open(options, images, &others, events.clone())?;
        if model.as_ref().is_some_and(|model| !model.about().takes_prompts) {
            // What it finds must have a category in the file.
            store.add_found_categories(&from_model)?;
        }
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let listener = TcpListener::bind(wanted).with_context(|| {
            Error::config(format!(
                "--port {}: cannot listen on {wanted}; leave it out for a free one",
                options.port
            ))
        })?;
        let address = listener.local_addr().context("the server's address")?;
        let title =
            store.images().folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (reader, order) = (options.reader.clone(), options.order);
        let app = Arc::new(App::new(Parts { title, reader, store, model, first, events, order }));
        Ok(Self { app, listener, address, token: Token::new()?, log: None })
    }

    /// Where the server's own errors go; nowhere at first.
    #[must_use]
    pub fn log(self, log: Log) -> Self {
        Self { log: Some(log), ..self }
    }

    /// The address of the page, with the token that lets a browser in.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token.reveal())
    }

    /// What the user should know about images and file.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.app.store().notes.clone()
    }

    /// How far the annotation is.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.app.store().summary()
    }

    /// Answers the page until `stop` is raised. Whatever was acknowledged is in the file.
    ///
    /// # Errors
    /// If the server fails.
    pub fn run(&self, stop: &StopFlag) -> Result<Summary> {
        // Cookies do not know ports: two sessions in one browser need two names.
        let mut access = Access::new(self.address, Some(self.token.clone()))?
            .cookie(&format!("sonotune-{}", self.address.port()))
            .content_security_policy(POLICY)
            .max_body_bytes(MAX_BODY_BYTES)
            .timeout(TIMEOUT);
        if let Some(log) = &self.log {
            access = access.log(Arc::clone(log));
        }
        let router = access.protect(router(Arc::clone(&self.app)));
        let listener = self.listener.try_clone().context("setting up the listener")?;
        let background = Arc::downgrade(&self.app);
        // Not joined: a question to a large model may take long, and nobody waits for its answer any more.
        thread::spawn(move || compute_all(&background));
        let served = thread::scope(|scope| {
            scope.spawn(|| self.watch(stop));
            let served = serve(listener, router, stop);
            stop.raise();
            served
        });
        served.map(|()| self.summary())
    }

    /// Looks for changes of other programs, and tells the pages of the end.
    fn watch(&self, stop: &StopFlag) {
        let mut looked = Instant::now();
        while !stop.is_raised() {
            thread::sleep(NOTICED_AFTER);
            if looked.elapsed() >= LOOK_EVERY {
                // The pages are told by an event; a save would say it again.
                drop(self.app.store().look_outside());
                looked = Instant::now();
            }
        }
        self.app.stop();
    }
}
