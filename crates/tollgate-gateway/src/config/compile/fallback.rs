//! Other ways for the calls of a model: whether they exist, and whether they can be gone.

use tollgate_core::check::Checker;
use tollgate_layers::routes::Protocol;

use super::Desk;
use crate::config::backends::FallbackConfig;
use crate::config::document::ModelConfig;
use crate::fallback::Fallback;
use crate::upstream::{Target, Upstream};

/// How many ways a call may have besides its own.
const MOST: usize = 8;

impl Desk<'_> {
    /// The ways of `model`, each checked.
    pub(super) fn fallbacks(
        &self,
        name: &str,
        model: &ModelConfig,
        upstreams: &[Option<Upstream>],
        check: &mut Checker,
    ) -> Vec<Fallback> {
        let ways = &model.fallback;
        check.require(ways.len() <= MOST, "fallback", format!("{} ways, and at most {MOST} are tried", ways.len()));
        check.within("fallback", |check| {
            let each = |(i, way): (usize, &FallbackConfig)| {
                check.within(i, |check| match (&way.upstream, &way.model) {
                    (Some(upstream), None) => self.other_upstream((name, model), upstream, upstreams, check),
                    (None, Some(other)) => self.other_model(name, other, check),
                    _ => {
                        check.problem_here("a fallback names either another `upstream` or another `model`");
                        None
                    }
                })
            };
            ways.iter().enumerate().filter_map(each).collect()
        })
    }

    fn other_upstream(
        &self,
        (name, model): (&str, &ModelConfig),
        upstream: &str,
        upstreams: &[Option<Upstream>],
        check: &mut Checker,
    ) -> Option<Fallback> {
        let known = self.upstreams.get(upstream).copied();
        check.require(known.is_some(), "upstream", format!("`{upstream}` is not an upstream"));
        check.require(upstream != model.upstream, "upstream", "that is where it is served already");
        let place = known?;
        // One with a mistake of its own is reported where it stands.
        match &upstreams.get(place)?.as_ref()?.target {
            Target::Remote(remote) => self.check_faces(name, upstream, remote, check),
            Target::Local(_) => {
                let message = format!("`{upstream}` is a model inside the gateway, with inputs of its own");
                check.problem_hint("upstream", message, "name the model that it serves: `model: …`");
            }
        }
        Some(Fallback { upstream: place, model: None, name: upstream.into() })
    }

    fn other_model(&self, name: &str, other: &str, check: &mut Checker) -> Option<Fallback> {
        let Some(known) = self.models.get(other).copied() else {
            check.problem("model", format!("`{other}` is not a model"));
            return None;
        };
        if !check.require(other != name, "model", "a model is no fallback for itself") {
            return None;
        }
        for route in self.routes_of(name) {
            let listed = route.models.iter().any(|listed| listed == other);
            let why =
                format!("route `{}` serves `{name}` and not `{other}`: nobody may ask for that there", route.name);
            check.require(listed, "model", why);
            let renames = matches!(
                route.protocol,
                Protocol::Anthropic
                    | Protocol::KserveV1
                    | Protocol::Oip
                    | Protocol::Ollama
                    | Protocol::OpenAi
                    | Protocol::TfServing
            );
            let protocol = route.protocol.name();
            let why = format!("route `{}` speaks `{protocol}`, in which a call is not given another model", route.name);
            check.require(renames, "model", why);
        }
        let upstream = self.config.models.get(other).and_then(|other| self.upstreams.get(&other.upstream).copied());
        Some(Fallback { upstream: upstream?, model: Some(known), name: other.into() })
    }
}
