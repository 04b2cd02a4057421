//! `portcullis`: one binary for both planes, and for running them.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use portcullis_cli::{COMPLAINT, demo_server, fleet, kill, run, up};

/// Short-lived requests on many small buffers are what this allocator is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "portcullis", version, about = "A security gateway for MCP servers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run both planes on this machine, with private servers and a demo tenant
    ///
    /// Ctrl-C, SIGTERM or a closed terminal stop everything in order; the state stays for the next time. If this process
    /// itself is killed, what it started goes on serving until the next `up` or `down` in the same directory stops it.
    Up(Box<up::Options>),
    /// Stop a running `up`
    Down {
        /// Where the state of the run is kept
        #[arg(long, default_value = ".portcullis")]
        dir: PathBuf,
    },
    /// Show what a running `up` runs
    Status {
        /// Where the state of the run is kept
        #[arg(long, default_value = ".portcullis")]
        dir: PathBuf,
    },
    /// Run a control plane
    Control(Box<run::control::Options>),
    /// Run a proxy
    Proxy(Box<run::proxy::Options>),
    /// Show the proxies: what each enforces, how far behind it is, what it has not uploaded
    Fleet(Box<fleet::Options>),
    /// Stop something at once, everywhere, until it is lifted
    Kill(Box<kill::Kill>),
    /// End a kill
    Lift(Box<kill::Lift>),
    /// Run the demo MCP server on a loopback port
    DemoServer {
        /// Loopback port
        #[arg(long)]
        port: u16,
    },
    /// Print the admin API's OpenAPI document
    Openapi,
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "portcullis ends");
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The last words go to the terminal. Whether somebody still reads there does not matter.
fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr().lock(), "{COMPLAINT}{error:#}");
}

#[expect(clippy::print_stdout, reason = "the document is the command's result")]
fn execute(command: Command) -> anyhow::Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider was installed before main");
    }
    match command {
        Command::Up(options) => runtime()?.block_on(up::up(*options)),
        Command::Down { dir } => up::down(&dir),
        Command::Status { dir } => runtime()?.block_on(up::status(&dir)),
        Command::Control(options) => runtime()?.block_on(run::control::run(*options)),
        Command::Proxy(options) => runtime()?.block_on(run::proxy::run(*options)),
        Command::Fleet(options) => runtime()?.block_on(fleet::run(*options)),
        Command::Kill(options) => runtime()?.block_on(kill::kill(*options)),
        Command::Lift(options) => runtime()?.block_on(kill::lift(*options)),
        Command::DemoServer { port } => Ok(runtime()?.block_on(demo_server::serve(port))?),
        Command::Openapi => {
            println!("{}", control_plane::http::openapi::document());
            Ok(())
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
