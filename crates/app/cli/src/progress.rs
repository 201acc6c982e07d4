//! Progress on standard error: bars on a terminal, a line now and then elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use neardata_compute::{CallState, Event, EventKind};
use neardata_core::ObjectUri;
use neardata_formats::Progress;

use crate::output;

/// The bar of an index pass over one object.
pub(crate) struct IndexBar(ProgressBar);

impl IndexBar {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, draw_target());
        bar.set_style(style("{prefix} {wide_bar} {bytes}/{total_bytes} {eta}"));
        Self(bar)
    }

    pub(crate) fn show(&self, uri: &ObjectUri, progress: Progress) {
        if self.0.length().is_none() {
            self.0.set_prefix(format!("indexing {}", uri.name()));
        }
        self.0.set_length(progress.total);
        self.0.set_position(progress.done);
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn draw_target() -> ProgressDrawTarget {
    if output::is_fancy() { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ ")
}

/// One bar a stage of a running job.
pub(crate) struct JobBars {
    bars: MultiProgress,
    stages: RefCell<BTreeMap<String, Stage>>,
    fancy: bool,
}

struct Stage {
    bar: ProgressBar,
    expected: Option<u64>,
    /// Fraction done of each running call.
    running: BTreeMap<u64, f64>,
    finished: u64,
    reused: u64,
    retried: u64,
    begun: Instant,
    told: Instant,
}

/// Positions of a bar: calls count in thousandths, so that a long call moves it.
const FINE: u64 = 1000;
/// Off a terminal, a stage speaks this often at most.
const SPEAK_EVERY: Duration = Duration::from_secs(5);

impl JobBars {
    pub(crate) fn new() -> Self {
        let bars = MultiProgress::with_draw_target(draw_target());
        Self { bars, stages: RefCell::default(), fancy: output::is_fancy() }
    }

    pub(crate) fn show(&self, event: &Event) {
        match &event.kind {
            EventKind::Stage { stage, calls } => self.with(stage, |stage| {
                stage.expected = calls.or(stage.expected);
            }),
            EventKind::Progress { stage, call, done, total } if *total > 0 => {
                let fraction = (*done as f64 / *total as f64).min(1.0);
                self.with(stage, |stage| {
                    if let Some(known) = stage.running.get_mut(call) {
                        *known = fraction;
                    }
                });
            }
            EventKind::Call(call) => {
                self.with(&call.stage, |stage| match call.state {
                    CallState::Started => drop(stage.running.insert(call.call, 0.0)),
                    CallState::Done | CallState::Reused => {
                        stage.running.remove(&call.call);
                        stage.finished += 1;
                        stage.reused += u64::from(call.state == CallState::Reused);
                    }
                    CallState::Retried => {
                        stage.running.remove(&call.call);
                        stage.retried += 1;
                    }
                    _ => drop(stage.running.remove(&call.call)),
                });
                if let (CallState::Retried, Some(failure)) = (call.state, &call.error) {
                    self.say(format!("{}: call {} is tried again: {}", call.stage, call.call, failure.message));
                }
            }
            _ => {}
        }
    }

    pub(crate) fn finish(&self) {
        for stage in self.stages.borrow().values() {
            stage.bar.finish();
        }
    }

    fn say(&self, text: String) {
        if self.fancy {
            let _not_a_terminal = self.bars.println(text);
        } else {
            eprintln_quietly(&text);
        }
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut Stage)) {
        let mut stages = self.stages.borrow_mut();
        let stage = stages.entry(name.to_owned()).or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::new(FINE));
            bar.set_style(style("{prefix:<10} {wide_bar} {msg} {elapsed}"));
            bar.set_prefix(name.to_owned());
            let now = Instant::now();
            Stage { bar, expected: None, running: BTreeMap::new(), finished: 0, reused: 0, retried: 0, begun: now, told: now }
        });
        let before = stage.finished;
        change(stage);
        let seen = stage.finished + stage.running.len() as u64;
        if stage.expected.is_none() && seen == 0 {
            return; // announced, its calls are not known yet
        }
        let expected = stage.expected.unwrap_or(seen).max(1);
        let running: f64 = stage.running.values().sum();
        stage.bar.set_length(expected * FINE);
        stage.bar.set_position(stage.finished * FINE + (running * FINE as f64) as u64);
        stage.bar.set_message(stage.counts(expected));
        let complete = stage.finished == expected && stage.finished > before;
        if complete {
            stage.bar.finish();
        }
        if !self.fancy && stage.finished > before && (complete || stage.told.elapsed() > SPEAK_EVERY) {
            stage.told = Instant::now();
            let seconds = stage.begun.elapsed().as_secs_f64();
            eprintln_quietly(&format!("{name:<10} {} {seconds:.1} s", stage.counts(expected)));
        }
    }
}

impl Stage {
    fn counts(&self, expected: u64) -> String {
        let mut text = format!("{}/{expected} calls", self.finished);
        if self.reused > 0 {
            text.push_str(&format!(", {} reused", self.reused));
        }
        if self.retried > 0 {
            text.push_str(&format!(", {} tried again", self.retried));
        }
        text
    }
}

fn eprintln_quietly(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody reading our progress is no reason to stop working.
    let _nobody_listens = writeln!(stderr, "{text}");
}
