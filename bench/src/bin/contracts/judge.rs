//! The two layers, built for one body.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Version};
use tollgate_core::call::{Call, ModelId};
use tollgate_core::check::Checker;
use tollgate_core::journal::Journal;
use tollgate_core::stage::Stage;
use tollgate_layers::contract::{ContractConfig, Contracts};
use tollgate_layers::hygiene::Head;
use tollgate_layers::parse::{Given, Parse, ParseConfig, ParseModel};
use tollgate_layers::protocol::oip::binary;
use tollgate_layers::routes::{self, RouteConfig, RouteNames, Routes};

use crate::bodies::Body;

/// What judges a body, again and again.
pub(crate) struct Judge {
    routes: Routes,
    parse: Parse,
    contracts: Contracts,
    head: Head,
    body: Bytes,
}

impl Judge {
    pub(crate) fn new(body: &Body) -> anyhow::Result<Self> {
        let mut check = Checker::default();
        let contract: ContractConfig = serde_json::from_value(body.contract.clone())?;
        let contract = Arc::new(contract.compile(&mut check, None));
        let models = vec![ParseModel { name: "m".into(), contract: Arc::clone(&contract) }];
        let parse = ParseConfig::default().compile(&mut check, models);
        let route = serde_json::json!({ "name": "r", "path": body.path, "protocol": body.protocol, "models": ["m"] });
        let route: RouteConfig = serde_json::from_value(route)?;
        let models = BTreeMap::from([("m".to_owned(), ModelId(0))]);
        let names = RouteNames { models: &models, upstreams: &BTreeMap::new(), classes: &BTreeSet::new() };
        let routes = routes::compile(&[route], &mut check, &names);
        ensure!(check.is_clean(), "{:?}", check.finish().0);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(json) = body.json {
            headers.insert(binary::HEADER, HeaderValue::from(json));
        }
        let uri = body.path.parse().context("a path")?;
        let head = Head { method: Method::POST, uri, version: Version::HTTP_11, headers, host: "bench".into() };
        let contracts = Contracts::new(vec![contract]);
        let judge = Self { routes, parse, contracts, head, body: Bytes::copy_from_slice(&body.bytes) };
        ensure!(judge.run().body_bytes == body.bytes.len() as u64, "another body");
        Ok(judge)
    }

    /// Judges it once.
    pub(crate) fn run(&self) -> Call {
        let found = self.routes.find(&self.head).expect("the route is there");
        let given = Given { head: &self.head, found: &found, body: &self.body };
        let call = self.parse.call(given).expect("it is well-formed");
        let mut journal = Journal::default();
        let mut notes = journal.notes(Stage::Contract);
        self.contracts.check(found.route, &call, &self.body, &mut notes).expect("it fits");
        call
    }
}
