//! What does a PD process answer to an HTTP request?
//!
//! The endpoints that the operator uses, and those whose recordings the model replays. Shapes are
//! those of `fixtures/pd-recordings`: zero values left out, errors as JSON strings, plain text from
//! the redirector.

use serde_json::{Value, json};

use super::Pd;
use crate::kube::at;
use crate::names::Names;

/// A body in one of the shapes that PD uses.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// JSON.
    Json(Value),
    /// Plain text.
    Text(String),
}

/// An answer: status code and body.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Body,
}

impl Answer {
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self { status, body: Body::Json(body) }
    }

    pub(super) fn words(status: u16, body: &str) -> Self {
        Self::json(status, json!(body))
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self { status, body: Body::Text(body.to_owned()) }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { status, body: Body::Empty }
    }

    /// The body where it is JSON.
    pub fn value(&self) -> Option<&Value> {
        match &self.body {
            Body::Json(value) => Some(value),
            Body::Empty | Body::Text(_) => None,
        }
    }
}

/// A request as a client sends it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub method: &'a str,
    /// Path with query.
    pub path: &'a str,
    /// JSON body, `Null` where there is none.
    pub body: &'a Value,
}

impl<'a> Request<'a> {
    /// A GET.
    pub fn get(path: &'a str) -> Self {
        Self { method: "GET", path, body: &Value::Null }
    }

    pub(super) fn query(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        let wanted = name.to_owned();
        query.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == wanted).then_some(value)
        })
    }
}

/// Not answered by the model.
const NO_SUCH_PAGE: &str = "404 page not found";

impl Pd {
    /// The answer of the process `via`; `None` where nothing listens.
    pub fn answer(
        &mut self,
        via: &str,
        request: Request<'_>,
        now: u64,
        names: &Names,
    ) -> Option<Answer> {
        if !self.is_open(via) {
            return None;
        }
        let index = self.ensemble_of(via)?;
        let path = request.path.split('?').next().unwrap_or_default();
        match path {
            "/health" => return Some(Answer::text(200, "{\"health\":\"true\",\"reason\":\"\"}")),
            "/pd/api/v1/ping" => return Some(Answer::empty(200)),
            "/pd/api/v1/health" => return Some(self.health((via, index), names)),
            "/pd/api/v1/version" => return Some(self.version(via)),
            "/pd/api/v2/ready" => return Some(self.ready(index, request)),
            _ => {}
        }
        if self.ensembles.get(index)?.leader.is_none() || !self.hears_leader(via, index, names) {
            return Some(Answer::text(
                503,
                "[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader",
            ));
        }
        if !self.leader_runs(index) {
            return Some(Answer::text(500, "[PD:apiutil:ErrRedirect]redirect failed"));
        }
        if let Some(rest) = path.strip_prefix("/pd/api/v2/maintenance") {
            let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
            let answer = self.answer_about_maintenance(index, request, &parts);
            return Some(answer.unwrap_or_else(|| Answer::text(404, NO_SUCH_PAGE)));
        }
        let Some(rest) = path.strip_prefix("/pd/api/v1/") else {
            return Some(Answer::text(404, NO_SUCH_PAGE));
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let answer = self
            .answer_about_members(index, request, &parts, (now, names))
            .or_else(|| self.answer_about_settings(index, request, &parts))
            .or_else(|| self.answer_about_stores(index, request, &parts, now));
        Some(answer.unwrap_or_else(|| Answer::text(404, NO_SUCH_PAGE)))
    }

    /// Followers pass requests on to the leader, and do so for a moment after its process ended.
    fn leader_runs(&self, index: usize) -> bool {
        let leader = self.ensembles.get(index).and_then(|ensemble| ensemble.leader);
        self.processes.values().any(|process| {
            let data = self.disks.get(&process.disk);
            let leads = data.is_some_and(|d| d.ensemble == index && Some(d.member) == leader);
            leads && process.stage.runs_etcd()
        })
    }

    fn answer_about_settings(
        &mut self,
        index: usize,
        request: Request<'_>,
        parts: &[&str],
    ) -> Option<Answer> {
        let cluster = &mut self.ensembles.get_mut(index)?.cluster;
        match (request.method, parts) {
            ("GET", ["config"]) => {
                Some(Answer::json(200, cluster.settings.shown().as_ref().clone()))
            }
            ("GET", ["config", section @ ("replicate" | "schedule")]) => {
                let section = if *section == "schedule" { "/schedule" } else { "/replication" };
                Some(Answer::json(200, at(cluster.settings.shown(), section).clone()))
            }
            ("POST", ["config"]) => {
                let nothing = serde_json::Map::new();
                let items = request.body.as_object().unwrap_or(&nothing);
                let done = cluster.settings.post(items, cluster.bootstrapped.is_some());
                cluster.obey_settings();
                Some(match done {
                    Ok(()) => Answer::words(200, "The config is updated."),
                    Err(words) => Answer::words(400, &words),
                })
            }
            _ => None,
        }
    }
}
