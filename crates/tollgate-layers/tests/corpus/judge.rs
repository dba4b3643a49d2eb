//! The two layers that judge bodies, built for one file of the corpus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use tollgate_core::call::{Call, Dialect, Edit, ModelId};
use tollgate_core::check::Checker;
use tollgate_core::journal::Journal;
use tollgate_core::ruling::{Refusal, Stop};
use tollgate_core::stage::Stage;
use tollgate_layers::contract::{Contract, ContractConfig, Contracts};
use tollgate_layers::hygiene::Head;
use tollgate_layers::parse::{Given, Parse, ParseConfig, ParseModel};
use tollgate_layers::protocol::oip;
use tollgate_layers::routes::{self, RouteConfig, RouteNames, Routes};

use crate::reading::{File, Request};

/// The layers that judge the bodies of one file.
pub(crate) struct Judge {
    routes: Routes,
    parse: Parse,
    contracts: Contracts,
    contract: Arc<Contract>,
    grpc: bool,
}

impl Judge {
    pub(crate) fn new(name: &str, file: &File) -> Self {
        let grpc = file.protocol == "grpc";
        let mut check = Checker::default();
        let contract = if file.contract.is_null() {
            ContractConfig::default()
        } else {
            serde_json::from_value(file.contract.clone()).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let contract = Arc::new(contract.compile(&mut check, None));
        let models = vec![ParseModel { name: "m".into(), contract: Arc::clone(&contract) }];
        let parse = ParseConfig::default().compile(&mut check, models);
        let protocol = if grpc { "oip" } else { &file.protocol };
        let route = format!("{{ name: r, path: '/{{*rest}}', protocol: {protocol}, models: [m] }}");
        let route: RouteConfig = serde_saphyr::from_str(&route).expect("a route");
        let models = BTreeMap::from([("m".to_owned(), ModelId(0))]);
        let names = RouteNames { models: &models, upstreams: &BTreeMap::new(), classes: &BTreeSet::new() };
        let routes = routes::compile(&[route], &mut check, &names);
        assert_eq!(check.finish().0, [], "{name}");
        Self { routes, parse, contracts: Contracts::new(vec![Arc::clone(&contract)]), contract, grpc }
    }

    pub(crate) fn judge(&self, request: &Request) -> Result<Call, Refusal> {
        let body = Bytes::copy_from_slice(&request.body);
        if self.grpc {
            let oip::grpc::Infer { request, .. } = oip::grpc::infer(&body).map_err(|wrong| wrong.refusal())?;
            let oip::Request { inputs, outputs, .. } = request;
            let call = Call { dialect: Dialect::OipGrpc, inputs, outputs, ..Call::default() };
            return self.contract.check(&call).map(|()| call);
        }
        let head = head(request);
        let found = self.routes.find(&head).map_err(refused)?;
        let call = self.parse.call(Given { head: &head, found: &found, body: &body }).map_err(refused)?;
        let mut journal = Journal::default();
        let mut notes = journal.notes(Stage::Contract);
        self.contracts.check(found.route, &call, &body, &mut notes).map_err(refused)?;
        Ok(call)
    }
}

fn head(request: &Request) -> Head {
    let mut headers = HeaderMap::new();
    for line in &request.headers {
        let (name, value) = line.split_once(": ").expect("a field");
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    let uri = request.path.parse().expect("a path");
    Head { method: Method::POST, uri, version: Version::HTTP_11, headers, host: "gate.test".into() }
}

fn refused(stop: Stop) -> Refusal {
    match stop {
        Stop::Refuse(refusal) => *refusal,
        Stop::Fault(fault) => panic!("reading cannot fail: {fault:?}"),
    }
}

/// What the model is sent once the edits are made.
pub(crate) fn edited(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut sent = Vec::new();
    let mut at = 0;
    for edit in edits {
        sent.extend_from_slice(&body[at..edit.at.start]);
        sent.extend_from_slice(&edit.with);
        at = edit.at.end;
    }
    sent.extend_from_slice(&body[at..]);
    sent
}
