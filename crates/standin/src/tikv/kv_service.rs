//! Which calls of TiKV's client service does the stand-in answer? RawKV, API V1, default column
//! family: what the published `tikv-client` crate's raw client sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::call::{Answer, Call, Operation, Read, Scan};
use super::region_error as refuse;
use super::store::{StoreMessage, StoreSender};
use crate::proto::errorpb;
use crate::proto::kvrpcpb::{self as pb, ApiVersion, Context, KvPair};
use crate::proto::standinpb::{Command, CompareAndSwap, Mutation, mutation};
use crate::proto::tikvpb::tikv_server::Tikv;

/// The service of one store.
#[derive(Clone)]
pub struct KvService {
    /// The store's thread.
    pub store: StoreSender,
    /// This store's id.
    pub store_id: u64,
    /// PD removed this store for good; it answers nothing any more.
    pub tombstone: Arc<AtomicBool>,
}

/// An answer, a refusal that sends the client elsewhere, or an error that it cannot mend.
type Outcome = Result<Answer, Failure>;

enum Failure {
    Region(Box<errorpb::Error>),
    Request(String),
}

impl KvService {
    async fn call(
        &self,
        context: Option<Context>,
        operation: Operation,
    ) -> Result<Outcome, Status> {
        let context = context.unwrap_or_default();
        let requested = context.peer.unwrap_or_default().store_id;
        if requested != self.store_id || self.tombstone.load(Ordering::Relaxed) {
            let actual = if requested == self.store_id { 0 } else { self.store_id };
            let error = refuse::store_not_match(requested, actual);
            return Ok(Err(Failure::Region(Box::new(error))));
        }
        if context.api_version() != ApiVersion::V1 {
            let reason = format!("api version not matched: {:?}", context.api_version());
            return Ok(Err(Failure::Request(reason)));
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.store.send(StoreMessage::Call(Call { context, operation, reply }));
        sent.map_err(|_| Status::unavailable("the store ends"))?;
        let answer = answer.await.map_err(|_| Status::unavailable("the outcome is unknown"))?;
        Ok(answer.map_err(|error| Failure::Region(Box::new(error))))
    }

    async fn read(
        &self,
        context: Option<Context>,
        cf: &str,
        read: Read,
    ) -> Result<Outcome, Status> {
        match default_cf(cf) {
            Ok(()) => self.call(context, Operation::Read(read)).await,
            Err(reason) => Ok(Err(Failure::Request(reason))),
        }
    }

    async fn write(
        &self,
        context: Option<Context>,
        cf: &str,
        ttl: u64,
        command: Command,
    ) -> Result<Outcome, Status> {
        let refused = default_cf(cf).err();
        let refused = refused.or_else(|| (ttl > 0).then(|| "TTL is not enabled".to_owned()));
        match refused {
            None => self.call(context, Operation::Write(command)).await,
            Some(reason) => Ok(Err(Failure::Request(reason))),
        }
    }
}

fn default_cf(cf: &str) -> Result<(), String> {
    if matches!(cf, "" | "default") {
        Ok(())
    } else {
        Err(format!("the stand-in has no column family {cf}"))
    }
}

fn mutation(kind: mutation::Kind, key: Vec<u8>, value: Vec<u8>) -> Mutation {
    Mutation { kind: kind.into(), key, value }
}

fn mutations(mutations: Vec<Mutation>) -> Command {
    Command { mutations, ..Command::default() }
}

/// The region error and error text of an answer without content.
fn failed(outcome: Outcome) -> (Option<errorpb::Error>, String) {
    match outcome {
        Ok(_) => (None, String::new()),
        Err(Failure::Region(error)) => (Some(*error), String::new()),
        Err(Failure::Request(reason)) => (None, reason),
    }
}

/// The pairs of an answer that has no error text; such an error becomes one pair's.
fn pairs(outcome: Outcome) -> (Option<errorpb::Error>, Vec<KvPair>) {
    match outcome {
        Ok(Answer::Pairs(pairs)) => (None, pairs),
        Ok(_) => (None, Vec::new()),
        Err(Failure::Region(error)) => (Some(*error), Vec::new()),
        Err(Failure::Request(abort)) => {
            let error = Some(pb::KeyError { abort });
            (None, vec![KvPair { error, ..KvPair::default() }])
        }
    }
}

type Reply<A> = Result<Response<A>, Status>;

#[tonic::async_trait]
impl Tikv for KvService {
    async fn raw_get(&self, request: Request<pb::RawGetRequest>) -> Reply<pb::RawGetResponse> {
        let request = request.into_inner();
        let outcome = self.read(request.context, &request.cf, Read::Get(request.key)).await?;
        let value = match &outcome {
            Ok(Answer::Value(value)) => value.clone(),
            Ok(_) | Err(_) => None,
        };
        let (region_error, error) = failed(outcome);
        let not_found = value.is_none() && region_error.is_none() && error.is_empty();
        let value = value.unwrap_or_default();
        Ok(Response::new(pb::RawGetResponse { region_error, error, value, not_found }))
    }

    async fn raw_batch_get(
        &self,
        request: Request<pb::RawBatchGetRequest>,
    ) -> Reply<pb::RawBatchGetResponse> {
        let request = request.into_inner();
        let outcome = self.read(request.context, &request.cf, Read::BatchGet(request.keys)).await?;
        let (region_error, pairs) = pairs(outcome);
        Ok(Response::new(pb::RawBatchGetResponse { region_error, pairs }))
    }

    async fn raw_put(&self, request: Request<pb::RawPutRequest>) -> Reply<pb::RawPutResponse> {
        let request = request.into_inner();
        let put = mutation(mutation::Kind::Put, request.key, request.value);
        let command = mutations(vec![put]);
        let outcome = self.write(request.context, &request.cf, request.ttl, command).await?;
        let (region_error, error) = failed(outcome);
        Ok(Response::new(pb::RawPutResponse { region_error, error }))
    }

    async fn raw_batch_put(
        &self,
        request: Request<pb::RawBatchPutRequest>,
    ) -> Reply<pb::RawBatchPutResponse> {
        let request = request.into_inner();
        let puts = request.pairs.into_iter();
        let puts = puts.map(|pair| mutation(mutation::Kind::Put, pair.key, pair.value)).collect();
        let ttl = request.ttls.into_iter().max().unwrap_or(request.ttl);
        let outcome = self.write(request.context, &request.cf, ttl, mutations(puts)).await?;
        let (region_error, error) = failed(outcome);
        Ok(Response::new(pb::RawBatchPutResponse { region_error, error }))
    }

    async fn raw_delete(
        &self,
        request: Request<pb::RawDeleteRequest>,
    ) -> Reply<pb::RawDeleteResponse> {
        let request = request.into_inner();
        let delete = mutation(mutation::Kind::Delete, request.key, Vec::new());
        let outcome = self.write(request.context, &request.cf, 0, mutations(vec![delete])).await?;
        let (region_error, error) = failed(outcome);
        Ok(Response::new(pb::RawDeleteResponse { region_error, error }))
    }

    async fn raw_batch_delete(
        &self,
        request: Request<pb::RawBatchDeleteRequest>,
    ) -> Reply<pb::RawBatchDeleteResponse> {
        let request = request.into_inner();
        let keys = request.keys.into_iter();
        let deletes = keys.map(|key| mutation(mutation::Kind::Delete, key, Vec::new())).collect();
        let outcome = self.write(request.context, &request.cf, 0, mutations(deletes)).await?;
        let (region_error, error) = failed(outcome);
        Ok(Response::new(pb::RawBatchDeleteResponse { region_error, error }))
    }

    async fn raw_scan(&self, request: Request<pb::RawScanRequest>) -> Reply<pb::RawScanResponse> {
        let request = request.into_inner();
        let scan = Scan {
            start: request.start_key,
            end: request.end_key,
            limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
            key_only: request.key_only,
            reverse: request.reverse,
        };
        let outcome = self.read(request.context, &request.cf, Read::Scan(scan)).await?;
        let (region_error, kvs) = pairs(outcome);
        Ok(Response::new(pb::RawScanResponse { region_error, kvs }))
    }

    async fn raw_delete_range(
        &self,
        request: Request<pb::RawDeleteRangeRequest>,
    ) -> Reply<pb::RawDeleteRangeResponse> {
        let request = request.into_inner();
        let range = mutation(mutation::Kind::DeleteRange, request.start_key, request.end_key);
        let outcome = self.write(request.context, &request.cf, 0, mutations(vec![range])).await?;
        let (region_error, error) = failed(outcome);
        Ok(Response::new(pb::RawDeleteRangeResponse { region_error, error }))
    }

    async fn raw_compare_and_swap(
        &self,
        request: Request<pb::RawCasRequest>,
    ) -> Reply<pb::RawCasResponse> {
        let request = request.into_inner();
        let swap = CompareAndSwap {
            key: request.key,
            value: request.value,
            previous_not_exist: request.previous_not_exist,
            previous_value: request.previous_value,
        };
        let command = Command { compare_and_swap: Some(swap), ..Command::default() };
        let outcome = self.write(request.context, &request.cf, request.ttl, command).await?;
        let (succeed, previous) = match &outcome {
            Ok(Answer::Swapped { succeeded, previous }) => (*succeeded, previous.clone()),
            Ok(_) | Err(_) => (false, None),
        };
        let (region_error, error) = failed(outcome);
        Ok(Response::new(pb::RawCasResponse {
            region_error,
            error,
            succeed,
            previous_not_exist: previous.is_none(),
            previous_value: previous.unwrap_or_default(),
        }))
    }
}
