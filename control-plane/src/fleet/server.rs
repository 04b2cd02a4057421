//! The fleet's two ports.

use std::{sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Server, server::Router};
use wire::{
    MAX_MESSAGE,
    v1::{
        audit_server::AuditServer, commands_server::CommandsServer, config_server::ConfigServer,
        enrol_server::EnrolServer, kill_server::KillServer, report_server::ReportServer,
    },
};

use super::{
    FleetError,
    authorities::{self, Authorities},
    commands::CommandsService,
    config::ConfigService,
    enrol::EnrolService,
    kill::KillService,
    place::Placed,
    report::ReportService,
    revocations::Revocations,
    tls::ServerCertificate,
};
use crate::{app::Core, audit::ingest::AuditService, publish::hub::Hub, tasks::Tasks};

/// Connections of the port where proxies join. Anybody may connect there, so each also ends after [`JOINING_TIME`].
const JOINING: usize = 512;
/// A request to join and its answer are over long before.
const JOINING_TIME: Duration = Duration::from_secs(30);
/// Connections of the port for proxies, each of which has one or, while it changes its certificate, two.
const CONNECTED: usize = 4_096;
/// Handshakes under way at once, per port.
const HANDSHAKES: usize = 256;
/// A handshake that takes longer is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request to join holds a token and a certificate request.
const MAX_ENROL_MESSAGE: usize = 64 << 10;
/// Between signs of life on an idle connection, and how long to wait for an answer.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Flow-control windows: a snapshot of 16 MiB does not take its time in round trips.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Streams of one connection: a proxy keeps four and sends short reports.
const STREAMS: u32 = 64;
/// After a refused `accept`, such as for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves proxies on both ports until shutdown.
///
/// # Errors
/// [`FleetError`] if the authority cannot be read or made.
pub async fn start(
    core: Core,
    hub: Arc<Hub>,
    enrol: TcpListener,
    grpc: TcpListener,
) -> Result<(), FleetError> {
    Revocations::follow(&core, &hub);
    let authorities = authorities::follow(&core, &hub).await?;
    let certificate =
        ServerCertificate::issue(authorities.clone(), core.clock.clone(), core.entropy.clone())?;
    let enrol_tls = certificate.enrol_config()?;
    let mutual_tls = certificate.mutual_config()?;

    let joining = EnrolServer::new(EnrolService::new(core.clone(), authorities.clone()))
        .max_decoding_message_size(MAX_ENROL_MESSAGE);
    let router = builder()
        .timeout(Duration::from_secs(20))
        .max_connection_age(JOINING_TIME)
        .max_connection_age_grace(JOINING_TIME)
        .add_service(joining);
    serve(&core, "enrolment port", (enrol, enrol_tls, JOINING), router);

    let config = ConfigServer::new(ConfigService::new(core.clone(), hub.clone()))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let report = ReportServer::new(ReportService::new(core.clone())).max_decoding_message_size(MAX_MESSAGE);
    let commands = CommandsServer::new(CommandsService::start(&core, &hub, authorities.clone()));
    let audit = AuditServer::new(AuditService::new(core.clone())).max_decoding_message_size(MAX_MESSAGE);
    let kill = KillServer::new(KillService::new(core.clone())).max_encoding_message_size(MAX_MESSAGE);
    let router = builder()
        .add_service(config)
        .add_service(report)
        .add_service(commands)
        .add_service(audit)
        .add_service(kill);
    serve(&core, "proxy port", (grpc, mutual_tls, CONNECTED), router);

    core.tasks.spawn("certificate renewal", renew(core.clone(), authorities, certificate));
    Ok(())
}

fn builder() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
}

fn serve(
    core: &Core,
    name: &'static str,
    (listener, tls, places): (TcpListener, Arc<ServerConfig>, usize),
    router: Router,
) {
    let (sender, connections) = mpsc::channel(HANDSHAKES);
    let (accepting, stopping) = (core.tasks.clone(), core.tasks.stopping());
    core.tasks.spawn(name, async move {
        let served =
            router.serve_with_incoming_shutdown(ReceiverStream::new(connections), stopping.cancelled());
        if let Err(error) = served.await {
            tracing::error!(error.cause = %error, "port failed");
        }
    });
    core.tasks.spawn(name, accept(accepting, listener, TlsAcceptor::from(tls), places, sender));
}

pub(super) type Accepted = Result<Placed<TlsStream<TcpStream>>, std::io::Error>;

/// Handshakes run beside each other: one that dawdles holds up nobody. With all `places` taken, who comes next waits.
pub(super) async fn accept(
    tasks: Tasks,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    places: usize,
    connections: mpsc::Sender<Accepted>,
) {
    let stopping = tasks.stopping();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let places = Arc::new(Semaphore::new(places));
    loop {
        let taken = async {
            let permits = (handshakes.clone().acquire_owned().await, places.clone().acquire_owned().await);
            (permits, listener.accept().await)
        };
        let ((Ok(permit), Ok(place)), accepted) = (tokio::select! {
            () = stopping.cancelled() => return,
            taken = taken => taken,
        }) else {
            return;
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error.cause = %error, "connection was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (acceptor, connections) = (acceptor.clone(), connections.clone());
        tasks.spawn("handshake", async move {
            let _permit = permit;
            // Fails only on a connection that is gone already.
            let _gone = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let _stopped = connections.send(Ok(Placed::new(stream, place))).await;
                }
                Ok(Err(error)) => {
                    tracing::info!(client.address = %address, error.cause = %error, "TLS handshake failed")
                }
                Err(_) => tracing::info!(client.address = %address, "TLS handshake took too long"),
            }
        });
    }
}

async fn renew(
    core: Core,
    mut authorities: watch::Receiver<Arc<Authorities>>,
    certificate: Arc<ServerCertificate>,
) {
    let stopping = core.tasks.stopping();
    authorities.mark_changed();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            changed = authorities.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(ServerCertificate::renew_every()) => {}
        }
        authorities.mark_unchanged();
        if let Err(error) = certificate.renew() {
            tracing::error!(error.cause = %error, "own certificate was not renewed");
        }
    }
}
