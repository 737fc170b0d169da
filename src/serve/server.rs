//! What every server has in common: who is let in, and how it stops.

use std::{net::TcpListener, time::Duration};

use anyhow::{Context, Result};
use axum::Router;
use sonotune_base::stop::StopFlag;

/// How often a stop that was asked for is noticed.
const NOTICED_AFTER: Duration = Duration::from_millis(100);
/// How long requests under way may take after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);

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
    let raised = || {
        let stop = stop.clone();
        async move {
            while !stop.is_raised() {
                tokio::time::sleep(NOTICED_AFTER).await;
            }
        }
    };
    let (stopped, late) = (raised(), raised());
    let ended = runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let serving = axum::serve(listener, router).with_graceful_shutdown(stopped).into_future();
        let too_late = async {
            late.await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = serving => ended.context("the server failed"),
            () = too_late => Ok(()),
        }
    });
    runtime.shutdown_timeout(GRACE);
    ended
}
