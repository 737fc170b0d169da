//! What every server has in common: who is let in, how much is taken, and how it stops.

mod access;
mod failure;
mod token;

use std::{net::TcpListener, pin::pin, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use sonotune_base::stop::StopFlag;
use tokio::sync::Semaphore;

pub use access::Access;
pub(crate) use access::refuse;
pub use failure::Failure;
pub use token::Token;

/// Where a server's messages go: one line each.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// How often a stop that was asked for is noticed.
const NOTICED_AFTER: Duration = Duration::from_millis(100);
/// How long requests under way may take after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a request; also how long an idle connection stays open.
const HEAD_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });
/// Bytes of a request's head at most.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Connections at a time; more of them wait to be accepted.
const MAX_CONNECTIONS: usize = 512;

/// Answers requests until `stop` is raised; those under way are finished.
///
/// # Errors
/// If the runtime or the listener fails.
pub fn serve(listener: TcpListener, router: Router, stop: &StopFlag) -> Result<()> {
    listener.set_nonblocking(true).context("setting up the listener")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the server's threads")?;
    let stop = stop.clone();
    let ended = runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).context("the listener")?;
        accept(&listener, &router, &stop).await;
        Ok(())
    });
    runtime.shutdown_timeout(GRACE);
    ended
}

/// Accepts connections until `stop` is raised, then waits for those that are open.
///
/// `axum::serve` cannot time out the head of a request, so that a few hundred silent clients would hold all its
/// connections.
async fn accept(listener: &tokio::net::TcpListener, router: &Router, stop: &StopFlag) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut raised = pin!(async {
        while !stop.is_raised() {
            tokio::time::sleep(NOTICED_AFTER).await;
        }
    });
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = &mut raised => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file handles, or the client is gone already: neither ends the server.
            tokio::time::sleep(NOTICED_AFTER).await;
            continue;
        };
        // Answers are small, and waiting to fill a packet would delay each of them. Without it they still arrive.
        drop(stream.set_nodelay(true));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is its own affair.
            drop(watched.await);
            drop(place);
        });
    }
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(GRACE) => {}
    }
}
