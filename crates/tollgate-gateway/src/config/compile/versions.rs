//! Versions of models: whether they add up, and whether each can serve what the first one serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;
use tollgate_core::check::Checker;

use super::Desk;
use crate::config::document::ModelConfig;
use crate::config::versions::{OnRegressionConfig, ReleaseConfig, StickyConfig, VersionConfig};
use crate::release::Release;
use crate::release::compare::Tolerance;
use crate::release::terms::{MOST, OnRegression, Sticky, Terms, Version};
use crate::upstream::{Target, Upstream};

/// The largest body of a mirrored call that may be asked for.
const LARGEST_SHADOW: u64 = 16 << 20;

impl Desk<'_> {
    /// The release of a model; `None` where it has no versions, or a mistake was reported.
    pub(super) fn release(
        &self,
        (name, model): (&str, &ModelConfig),
        upstreams: &[Option<Upstream>],
        check: &mut Checker,
    ) -> Option<Arc<Release>> {
        if model.versions.is_empty() {
            check.require(model.release.is_none(), "release", "`release` is about `versions`, and there are none");
            return None;
        }
        let config = model.release.clone().unwrap_or_default();
        let versions = check.within("versions", |check| {
            check_sum(&model.versions, check);
            let list = |(version, config): (&String, &VersionConfig)| {
                check.within(version.as_str(), |check| self.version((name, model), (version, config), upstreams, check))
            };
            model.versions.iter().map(list).collect::<Vec<_>>()
        });
        let mirrors = model.versions.values().any(|version| version.shadow > 0);
        let sticky = check.within("release", |check| {
            check_terms(&config, check);
            check.require(
                config.drift.is_none() || mirrors,
                "drift",
                "no version has `shadow`: no answers are compared",
            );
            sticky(&config, check)
        });
        // Every mistake at once: the others are looked at also where one is wrong.
        self.check_room(&config, versions.iter().flatten(), upstreams, check);
        let versions = versions.into_iter().collect::<Option<Vec<_>>>()?;
        let of = model.versions.iter().map(|(version, config)| {
            format!("{version}={}@{}", config.weight, config.upstream.as_ref().unwrap_or(&model.upstream))
        });
        let terms = Terms {
            of: of.collect::<Vec<_>>().join(","),
            versions,
            sticky: sticky?,
            alpha: config.alpha,
            slower: config.slower,
            drift: config.drift,
            on_regression: match config.on_regression {
                OnRegressionConfig::Rollback => OnRegression::Rollback,
                OnRegressionConfig::Watch => OnRegression::Watch,
            },
            steps: config.steps,
            hold: config.hold.0,
            min_calls: config.min_calls,
            tolerance: Tolerance { max_abs: config.compare.max_abs, max_relative: config.compare.max_relative },
            shadow_inflight: config.shadow.max_inflight,
            shadow_bytes: usize::try_from(config.shadow.max_bytes.0).unwrap_or(usize::MAX),
        };
        let course = self.state.releases.of(name, &terms, self.state.clock.unix_ms());
        Some(Arc::new(Release { model: name.into(), terms, course }))
    }

    fn version(
        &self,
        (name, model): (&str, &ModelConfig),
        (version, config): (&str, &VersionConfig),
        upstreams: &[Option<Upstream>],
        check: &mut Checker,
    ) -> Option<Version> {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let named = (1..=64).contains(&version.len()) && version.bytes().all(fit);
        let rule = format!("`{version}` is not 1 to 64 of letters, digits, `_`, `-`, `.`");
        if !named {
            check.problem_here(rule);
        }
        let listed = config.upstream.as_ref().unwrap_or(&model.upstream);
        let place = self.upstreams.get(listed).copied();
        if config.upstream.is_some() {
            check.require(place.is_some(), "upstream", format!("`{listed}` is not an upstream"));
        }
        let twin = model
            .versions
            .iter()
            .find(|(other, at)| other.as_str() < version && at.upstream.as_ref().unwrap_or(&model.upstream) == listed);
        if let Some((twin, _)) = twin {
            let why = format!("`{twin}` has the same upstream, `{listed}`: there would be nothing to choose between");
            check.problem("upstream", why);
        }
        let own = self.upstreams.get(&model.upstream).and_then(|place| upstreams.get(*place)?.as_ref());
        let other = place.and_then(|place| upstreams.get(place)?.as_ref());
        if let (Some(own), Some(other)) = (own, other) {
            self.check_alike((name, listed), (own, other), check);
            let local = matches!(other.target, Target::Local(_));
            check.require(
                config.shadow == 0 || !local,
                "shadow",
                "calls are not mirrored to a model inside the gateway",
            );
        }
        Some(Version { name: version.into(), upstream: place?, weight: config.weight, shadow: config.shadow })
    }

    /// A version serves the calls of the model's own upstream as they are.
    fn check_alike(&self, (name, listed): (&str, &str), (own, other): (&Upstream, &Upstream), check: &mut Checker) {
        match (&own.target, &other.target) {
            (Target::Remote(_), Target::Remote(remote)) => self.check_faces(name, listed, remote, check),
            (Target::Local(own), Target::Local(other)) => {
                let same = own.signature() == other.signature();
                check.require(same, "upstream", format!("the model in `{listed}` takes or gives other tensors"));
            }
            _ => check.problem("upstream", "a model inside the gateway and a model server cannot take turns"),
        }
    }

    /// Mirrored calls leave room for those that somebody waits for.
    fn check_room<'a>(
        &self,
        config: &ReleaseConfig,
        versions: impl Iterator<Item = &'a Version>,
        upstreams: &[Option<Upstream>],
        check: &mut Checker,
    ) {
        let shadows = versions.filter(|version| version.shadow > 0);
        for upstream in shadows.filter_map(|version| upstreams.get(version.upstream)?.as_ref()) {
            let most =
                self.config.upstreams.get(&*upstream.name).and_then(|upstream| upstream.inflight.max).unwrap_or(8);
            let leaves_room = config.shadow.max_inflight < most;
            check.within("release", |check| {
                check.within("shadow", |check| {
                    let why = format!("upstream `{}` runs {most} at once: no place would be left", upstream.name);
                    check.require(leaves_room, "max_inflight", why);
                });
            });
        }
    }
}

fn check_sum(versions: &BTreeMap<String, VersionConfig>, check: &mut Checker) {
    if versions.len() < 2 || versions.len() > MOST {
        check.problem_here(format!("a model has 2 to {MOST} versions, and here it has {}", versions.len()));
    }
    let sum: u32 = versions.values().map(|version| u32::from(version.weight)).sum();
    if sum != 100 {
        check.problem_here(format!("the weights add up to {sum}, not to 100"));
    }
    let busy = versions.iter().filter(|(_, version)| version.weight == 100 && version.shadow > 0);
    for name in busy.map(|(name, _)| name) {
        let why = format!("`{name}` serves every call: none is left to be mirrored to it");
        check.within(name.as_str(), |check| check.problem("shadow", why));
    }
}

fn check_terms(config: &ReleaseConfig, check: &mut Checker) {
    let rising = config.steps.is_sorted_by(|one, next| one < next);
    let within = config.steps.iter().all(|step| (1..=100).contains(step));
    check.require(rising && within, "steps", "steps are percent from 1 to 100, each more than the one before");
    check.within("shadow", |check| {
        let fits = (1..=LARGEST_SHADOW).contains(&config.shadow.max_bytes.0);
        check.require(fits, "max_bytes", "the largest mirrored body is `16MiB`");
    });
}

fn sticky(config: &ReleaseConfig, check: &mut Checker) -> Option<Sticky> {
    match (config.sticky, &config.sticky_header) {
        (StickyConfig::Header, Some(name)) => {
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
            let secret = ["authorization", "cookie", "proxy-authorization", "x-api-key", "api-key"];
            let known = parsed.filter(|name| !secret.contains(&name.as_str()));
            check.require(known.is_some(), "sticky_header", format!("`{name}` is not the name of a field to go by"));
            known.map(Sticky::Header)
        }
        (StickyConfig::Header, None) => {
            check.problem("sticky", "`header` needs `sticky_header`: the name of the field");
            None
        }
        (_, Some(_)) => {
            check.problem("sticky_header", "`sticky_header` is for `sticky: header`");
            None
        }
        (StickyConfig::Principal, None) => Some(Sticky::Principal),
        (StickyConfig::Request, None) => Some(Sticky::Request),
    }
}
