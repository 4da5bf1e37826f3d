//! `facelatch serve`: the HTTP API and the web console, on one small server.
//!
//! ```text
//! connection -> guard (host, token, session) -> api/* -> datasets (files)   engine (networks, one thread)
//!                                                    -> jobs (train, evaluate, push: a thread each)
//!                                                    -> doors (one watching thread a door)
//! ```
//!
//! Nothing here decides who is who: the verbs' own functions do. Started by `cmd::serve`.

mod api;
mod assets;
mod datasets;
mod doors;
mod engine;
mod extract;
mod guard;
mod jobs;
mod journal;
mod limits;
mod names;
mod openapi;
mod problem;
mod quality;
mod recognise;
mod sse;
mod state;
mod token;
mod training;
mod unknown;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, runtime, signal::unix::SignalKind};

pub use self::{limits::Limits, openapi::document, token::Token};
use crate::{Error, home::Home};
use facelatch_models::zoo::Zoo;

/// How long requests may take to end after the server was told to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// Threads for files and doors; requests wait for one.
const BLOCKING_THREADS: usize = 16;

/// What the server is told.
#[derive(Debug)]
pub struct Settings {
    /// The workspace.
    pub home: Home,
    /// The networks.
    pub zoo: Zoo,
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Names the server may be called by, besides `localhost` and addresses.
    pub names: Vec<String>,
    /// What one request may ask for.
    pub limits: Limits,
    /// What clients have to show.
    pub token: Token,
}

/// Serves until SIGTERM or ctrl-c; `started` is told the address once connections are taken.
///
/// # Errors
/// Networks that cannot be loaded, an address that cannot be listened on.
pub fn run(settings: Settings, started: impl FnOnce(SocketAddr)) -> Result<(), Error> {
    let listen = settings.listen;
    let cannot = |doing| Error::storage(doing, listen.to_string());
    let app = state::App::start(settings)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("serve")
        .build()
        .map_err(cannot("start threads for"))?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        started(listener.local_addr()?);
        serve(listener, Arc::new(app)).await
    });
    // A session with a door may be waiting for its answer: nobody waits for that.
    runtime.shutdown_background();
    served.map_err(cannot("listen on"))
}

/// Takes connections until told to stop, then gives those that are open a while to end.
async fn serve(listener: TcpListener, app: Arc<state::App>) -> io::Result<()> {
    let router = api::router(Arc::clone(&app));
    let (stop, mut stopping) = tokio::sync::watch::channel(false);
    let told = stop_signal()?;
    let graceful = axum::serve(listener, router).with_graceful_shutdown({
        let app = Arc::clone(&app);
        async move {
            told.await;
            log::info!("stopping");
            // Streams of events would go on for ever.
            app.stop();
            // Nobody listens only if the server has ended already.
            let _ = stop.send(true);
        }
    });
    let last = async move {
        // An error is the end of `stop`: the server has ended.
        let _ = stopping.wait_for(|told| *told).await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    futures_util::future::select(
        Box::pin(graceful.into_future()),
        Box::pin(async {
            last.await;
            Ok(())
        }),
    )
    .await
    .factor_first()
    .0
}

/// Ends at the first SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
    Ok(async move {
        futures_util::future::select(Box::pin(terminate.recv()), Box::pin(interrupt.recv())).await;
    })
}
