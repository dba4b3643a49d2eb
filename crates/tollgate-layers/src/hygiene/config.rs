//! The `hygiene` section, and its compilation.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use super::{Hosts, Hygiene};

/// What every request must satisfy before anything looks at it. It cannot be switched off.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HygieneConfig {
    /// Host names that are served, without ports; `*.example.com` stands for every name below `example.com`, not for
    /// itself. A request for another host is answered 421; literal loopback addresses are always served. Default:
    /// empty, which serves every host.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The most bytes of a head: target and header fields. Default: 16384.
    #[serde(default = "default_max_head_bytes")]
    #[schemars(range(min = 512, max = 1_048_576))]
    pub max_head_bytes: usize,
    /// The most header fields of a head. Default: 100.
    #[serde(default = "default_max_headers")]
    #[schemars(range(min = 8, max = 1000))]
    pub max_headers: usize,
    /// The most bytes of a target. Default: 8192.
    #[serde(default = "default_max_target_bytes")]
    #[schemars(range(min = 64, max = 65_534))]
    pub max_target_bytes: usize,
}

const fn default_max_head_bytes() -> usize {
    16_384
}

const fn default_max_headers() -> usize {
    100
}

const fn default_max_target_bytes() -> usize {
    8192
}

impl Default for HygieneConfig {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            max_head_bytes: default_max_head_bytes(),
            max_headers: default_max_headers(),
            max_target_bytes: default_max_target_bytes(),
        }
    }
}

impl HygieneConfig {
    /// Reports every mistake, then builds the layer.
    pub fn compile(&self, check: &mut Checker) -> Hygiene {
        let mut hosts = Hosts::default();
        check.within("hosts", |check| {
            for (index, entry) in self.hosts.iter().enumerate() {
                if let Err(why) = hosts.add(entry) {
                    check.problem_hint(index, why, "write `api.example.com` or `*.example.com`");
                }
            }
        });
        self.check_caps(check);
        Hygiene {
            hosts,
            max_head_bytes: self.max_head_bytes,
            max_headers: self.max_headers,
            max_target_bytes: self.max_target_bytes,
        }
    }

    fn check_caps(&self, check: &mut Checker) {
        let within = |value: usize, low: usize, high: usize| (low..=high).contains(&value);
        let head = within(self.max_head_bytes, 512, 1 << 20);
        check.require(head, "max_head_bytes", format!("`{}` is not within 512 and 1048576", self.max_head_bytes));
        let headers = within(self.max_headers, 8, 1000);
        check.require(headers, "max_headers", format!("`{}` is not within 8 and 1000", self.max_headers));
        let target = within(self.max_target_bytes, 64, 65_534);
        check.require(target, "max_target_bytes", format!("`{}` is not within 64 and 65534", self.max_target_bytes));
        let fits = self.max_target_bytes < self.max_head_bytes;
        check.require(fits, "max_target_bytes", "a target is part of the head: it must be below `max_head_bytes`");
    }
}
