//! A stub of a model server, and the clients that flood whatever stands before it. Driven by `cargo xtask bench fairness`.
#![expect(clippy::print_stdout, reason = "a port or a report is its result")]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::json;
use tokio::net::TcpListener;
use tollgate_sim::clients::{Door, backlog, play};
use tollgate_sim::figures::{Figures, jain};
use tollgate_sim::stub;
use tollgate_sim::trace::Scene;

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Serves; the first line is its port.
    Stub {
        /// Requests at once.
        #[arg(long, default_value_t = 8)]
        slots: usize,
        /// Works on for clients that have left.
        #[arg(long)]
        deaf: bool,
    },
    /// Good tenants and one that floods; prints figures as JSON.
    Play {
        /// Where requests go.
        #[arg(long)]
        to: SocketAddr,
        /// A file of lines `tenant key`.
        #[arg(long)]
        keys: PathBuf,
        /// What the flood asks for, as a multiple of the server.
        #[arg(long, default_value_t = 0.0)]
        flood: f64,
        /// How long it lasts.
        #[arg(long, default_value_t = 60.0)]
        seconds: f64,
        /// Requests are chats of OpenAI's.
        #[arg(long)]
        chats: bool,
        /// How wrong costs are foreseen.
        #[arg(long, default_value_t = 0.5)]
        sigma: f64,
        /// Where chance begins.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Two tenants that always want more, with requests of 50 ms and of a second; prints what each was served.
    Backlog {
        /// Where requests go.
        #[arg(long)]
        to: SocketAddr,
        /// A file of lines `tenant key`.
        #[arg(long)]
        keys: PathBuf,
        /// How long it lasts.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(args.what))
}

async fn run(what: What) -> anyhow::Result<()> {
    match what {
        What::Stub { slots, deaf } => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            println!("{}", listener.local_addr()?.port());
            stub::serve(listener, slots, deaf).await?;
        }
        What::Play { to, keys, flood, seconds, chats, sigma, seed } => {
            let door = Door { chats, ..door(to, &keys)? };
            let scene = Scene { flood, seconds, sigma, seed, ..Scene::default() };
            let fates = play(&scene.play(), &door).await;
            let Figures { goodput, wasted, in_time, p99, jain } =
                Figures::of(&fates, f64::from(scene.slots) * seconds * 1e6);
            let asked = fates.len();
            println!(
                "{}",
                json!({ "asked": asked, "goodput": goodput, "wasted": wasted, "in_time": in_time, "p99": p99, "jain": jain })
            );
        }
        What::Backlog { to, keys, seconds } => {
            let sizes = [("good-1".to_owned(), 50_000), ("good-2".to_owned(), 1_000_000)];
            let served = backlog(&sizes, 24, Duration::from_secs(seconds), &door(to, &keys)?).await;
            println!("{}", json!({ "served_us": served, "jain": jain(&served) }));
        }
    }
    Ok(())
}

fn door(to: SocketAddr, keys: &PathBuf) -> anyhow::Result<Door> {
    let text = std::fs::read_to_string(keys).with_context(|| format!("`{}` cannot be read", keys.display()))?;
    let keys = text.lines().filter_map(|line| line.split_once(' '));
    let keys: HashMap<_, _> = keys.map(|(tenant, key)| (tenant.to_owned(), key.to_owned())).collect();
    Ok(Door { to, keys: Arc::new(keys), chats: false })
}
