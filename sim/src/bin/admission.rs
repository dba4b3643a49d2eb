//! What admission control buys, simulated: the table of the design, or a trace of one's own under each policy.
#![expect(clippy::print_stdout, reason = "the table is its result")]

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use tollgate_sim::figures::Figures;
use tollgate_sim::lesson::{Grade, Lesson, Subject};
use tollgate_sim::plot::{Group, Panel, svg};
use tollgate_sim::trace::{Scene, Trace};
use tollgate_sim::world::{Policy, run, run_learned};

/// Simulates admission before a model server with the ledger, the fair queue and the in-flight limit that ship.
#[derive(Debug, Parser)]
struct Args {
    /// Replays JSON lines (`at_us`, `tenant`, `cost_us`, `foreseen_us`, `deadline_us`) under each policy, instead of the
    /// scenes of the design. Tenants whose name begins with `flood` are those that the others are protected from.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Places of the server.
    #[arg(long, default_value_t = 8)]
    slots: u32,
    /// Seconds of each scene.
    #[arg(long, default_value_t = 120.0)]
    seconds: f64,
    /// Seeds that are averaged.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Writes the plot there.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Writes the first scene with the flood of that size as a trace, and runs nothing.
    #[arg(long)]
    write_trace: Option<f64>,
}

/// What the design's own simulation found, in Python, with the same scene: goodput, wasted, in time, p99, Jain.
const REFERENCE: [(f64, &str, [f64; 5]); 12] = [
    (0.0, "none", [0.593, 0.0, 0.999, 0.46, 0.998]),
    (0.0, "cost+q", [0.593, 0.0, 0.999, 0.46, 0.998]),
    (2.0, "none", [0.017, 0.973, 0.017, 92.0, 0.869]),
    (2.0, "count", [0.017, 0.973, 0.017, 92.0, 0.869]),
    (2.0, "cost", [0.725, 0.018, 0.999, 0.51, 0.998]),
    (2.0, "queue", [0.781, 0.185, 0.994, 1.27, 0.998]),
    (2.0, "cost+q", [0.815, 0.119, 0.997, 0.92, 0.998]),
    (10.0, "none", [0.008, 0.98, 0.003, 196.0, 0.589]),
    (10.0, "count", [0.008, 0.97, 0.003, 150.0, 0.589]),
    (10.0, "cost", [0.744, 0.001, 0.999, 0.49, 0.998]),
    (10.0, "queue", [f64::NAN; 5]),
    (10.0, "cost+q", [0.900, 0.092, 0.997, 0.87, 0.998]),
];
/// Its goodput of `cost+q` under the tenfold flood by how wrong costs are foreseen.
const BY_SIGMA: [(f64, f64); 4] = [(0.0, 0.99), (0.5, 0.90), (1.0, 0.80), (1.5, 0.69)];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let scene = Scene { slots: args.slots, seconds: args.seconds, ..Scene::default() };
    if let Some(flood) = args.write_trace {
        print!("{}", Scene { flood, ..scene }.play().write());
        return Ok(());
    }
    let panels = match &args.trace {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
            replay(&Trace::read(&text)?, args.slots)
        }
        None => scenes(&scene, args.seeds),
    };
    if let Some(file) = &args.svg {
        std::fs::write(file, svg(&panels)).with_context(|| format!("`{}` cannot be written", file.display()))?;
    }
    Ok(())
}

fn replay(trace: &Trace, slots: u32) -> Vec<Panel> {
    let seconds = trace.requests.last().map_or(0.0, |request| request.at_us as f64 / 1e6);
    println!(
        "{} requests of {} tenants in {seconds:.1} s, {slots} places\n",
        trace.requests.len(),
        trace.tenants.len()
    );
    println!("| policy | goodput | wasted | good in time | good p99 s | Jain |\n|---|---|---|---|---|---|");
    let all = Policy::ALL.map(|policy| {
        let figures = Figures::of(&run(trace, slots, policy), f64::from(slots) * seconds * 1e6);
        println!("| {} | {} |", policy.name(), cells(&figures, None).join(" | "));
        (policy, figures)
    });
    panels(&[("the trace".to_owned(), all.to_vec())])
}

fn scenes(scene: &Scene, seeds: u64) -> Vec<Panel> {
    let mean = |scene: &Scene, policy: Policy| {
        let runs = (1..=seeds).map(|seed| {
            let scene = Scene { seed, ..*scene };
            Figures::of(&run(&scene.play(), scene.slots, policy), f64::from(scene.slots) * scene.seconds * 1e6)
        });
        Figures::mean(&runs.collect::<Vec<_>>())
    };
    println!(
        "Each figure beside that of the design's simulation (in brackets), sigma 0.5, {seeds} seeds of {} s.\n",
        scene.seconds
    );
    println!("| flood | policy | goodput | wasted | good in time | good p99 s | Jain |\n|---|---|---|---|---|---|---|");
    let mut groups = Vec::new();
    for flood in [0.0, 2.0, 10.0] {
        let policies: &[Policy] = if flood > 0.0 { &Policy::ALL } else { &[Policy::None, Policy::CostAndQueue] };
        let name = if flood > 0.0 { format!("{flood}×") } else { "none".to_owned() };
        let mut bars = Vec::new();
        for policy in policies {
            let figures = mean(&Scene { flood, ..*scene }, *policy);
            let known = REFERENCE.iter().find(|(at, name, _)| (at - flood).abs() < 0.1 && *name == policy.name());
            println!(
                "| {name} | {} | {} |",
                policy.name(),
                cells(&figures, known.map(|(_, _, known)| known)).join(" | ")
            );
            bars.push((*policy, figures));
        }
        if flood > 0.0 {
            groups.push((format!("a flood of {name} the server"), bars));
        }
    }
    println!("\ncost+q under the tenfold flood, by how wrong costs are foreseen:\n");
    println!("| sigma | goodput | wasted | good in time | good p99 s | Jain |\n|---|---|---|---|---|---|");
    for (sigma, known) in BY_SIGMA {
        let figures = mean(&Scene { flood: 10.0, sigma, ..*scene }, Policy::CostAndQueue);
        let known = [known, f64::NAN, f64::NAN, f64::NAN, f64::NAN];
        println!("| {sigma} | {} |", cells(&figures, Some(&known)).join(" | "));
    }
    learned(scene, seeds);
    panels(&groups)
}

/// The same floods with costs as the gateway's own learner foresees them, beside those that are told.
fn learned(scene: &Scene, seeds: u64) {
    println!(
        "\ncost+q with costs as they are learned in the run, from prices that are wrong in the beginning (tensors: a third of \
         the truth; chats: ten times it), beside costs that are told with sigma {}. Of a tensor the size is seen; of a chat \
         the prompt, while nearly all of its cost is an answer of unknown length. In brackets: the design's simulation.\n",
        scene.sigma
    );
    println!(
        "| flood | costs | goodput | wasted | good in time | good p99 s | Jain | reserved ÷ used | under-reserved | error |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for flood in [2.0, 10.0] {
        let known = REFERENCE.iter().find(|(at, name, _)| (at - flood).abs() < 0.1 && *name == "cost+q");
        for (name, subject) in
            [("told", None), ("tensors, learned", Some(Subject::Tensors)), ("chats, learned", Some(Subject::Chats))]
        {
            let runs: Vec<_> = (1..=seeds).map(|seed| lessons(&Scene { flood, seed, ..*scene }, subject)).collect();
            let figures = Figures::mean(&runs.iter().map(|(figures, _)| *figures).collect::<Vec<_>>());
            let of = |field: fn(&Grade) -> f64| {
                let found: Vec<_> = runs.iter().filter_map(|(_, grade)| grade.as_ref().map(field)).collect();
                if found.is_empty() {
                    "–".to_owned()
                } else {
                    format!("{:.3}", found.iter().sum::<f64>() / found.len() as f64)
                }
            };
            println!(
                "| {flood}× | {name} | {} | {} | {} | {} |",
                cells(&figures, known.map(|(_, _, known)| known)).join(" | "),
                of(|grade| grade.reserved),
                of(|grade| grade.under),
                of(|grade| grade.error)
            );
        }
    }
}

fn lessons(scene: &Scene, subject: Option<Subject>) -> (Figures, Option<Grade>) {
    let trace = scene.play();
    let capacity = f64::from(scene.slots) * scene.seconds * 1e6;
    let Some(subject) = subject else {
        return (Figures::of(&run(&trace, scene.slots, Policy::CostAndQueue), capacity), None);
    };
    let lesson = Lesson::new(&trace, subject);
    let fates = run_learned(&trace, scene.slots, Policy::CostAndQueue, &lesson);
    (Figures::of(&fates, capacity), Some(lesson.grade()))
}

fn cells(figures: &Figures, known: Option<&[f64; 5]>) -> Vec<String> {
    let found = [figures.goodput, figures.wasted, figures.in_time, figures.p99, figures.jain];
    let cell = |(place, value): (usize, f64)| {
        let digits = if place == 3 { 2 } else { 3 };
        let known = known.and_then(|known| known.get(place)).filter(|known| !known.is_nan());
        known.map_or_else(|| format!("{value:.digits$}"), |known| format!("{value:.digits$} ({known:.digits$})"))
    };
    found.into_iter().enumerate().map(cell).collect()
}

fn panels(groups: &[(String, Vec<(Policy, Figures)>)]) -> Vec<Panel> {
    let panel = |title: &str, of: fn(&Figures) -> f64| Panel {
        title: title.to_owned(),
        groups: groups
            .iter()
            .map(|(name, bars)| Group {
                name: name.clone(),
                bars: bars.iter().map(|(policy, figures)| (policy.name().to_owned(), of(figures))).collect(),
            })
            .collect(),
    };
    vec![
        panel("Requests of good tenants done in time", |figures| figures.in_time),
        panel("Cost done in time, of what the server could do", |figures| figures.goodput),
    ]
}
