//! Which calls of TiKV's client service does the stand-in answer? RawKV, API V1, default column
//! family: what the published `tikv-client` crate's raw client sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::call::{self, Answer, Answered, Call, Operation, Scan};
use super::region::RegionState;
use super::region_error as refuse;
use super::store::{StoreMessage, StoreSender};
use crate::proto::errorpb;
use crate::proto::kvrpcpb::{self as pb, ApiVersion, Context, KvPair};
use crate::proto::standinpb::mutation::Kind;
use crate::proto::standinpb::{Command, CompareAndSwap, Mutation};
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

type Ask<Q> = Request<Q>;
type Reply<A> = Result<Response<A>, Status>;

/// An answer, a refusal that sends the client elsewhere, or an error that it cannot mend.
#[derive(Default)]
struct Outcome {
    answer: Answer,
    region_error: Option<errorpb::Error>,
    error: String,
}

impl Outcome {
    fn region_error(error: errorpb::Error) -> Self {
        Self { region_error: Some(error), ..Self::default() }
    }

    /// The pairs of an answer that has no error text; such an error becomes one pair's.
    fn pairs(self) -> (Option<errorpb::Error>, Vec<KvPair>) {
        if !self.error.is_empty() {
            let error = Some(pb::KeyError { abort: self.error });
            return (None, vec![KvPair { error, ..KvPair::default() }]);
        }
        (self.region_error, self.answer.pairs)
    }
}

impl KvService {
    async fn call(
        &self,
        context: Option<Context>,
        cf: &str,
        operation: Operation,
    ) -> Result<Outcome, Status> {
        let context = context.unwrap_or_default();
        let requested = context.peer.unwrap_or_default().store_id;
        if requested != self.store_id || self.tombstone.load(Ordering::Relaxed) {
            let actual = if requested == self.store_id { 0 } else { self.store_id };
            return Ok(Outcome::region_error(refuse::store_not_match(requested, actual)));
        }
        let error = match (context.api_version(), cf) {
            (ApiVersion::V1, "" | "default") => String::new(),
            (ApiVersion::V1, _) => format!("the stand-in has no column family {cf}"),
            (other, _) => format!("api version not matched: {other:?}"),
        };
        if !error.is_empty() {
            return Ok(Outcome { error, ..Outcome::default() });
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.store.send(StoreMessage::Call(Call { context, operation, reply }));
        sent.map_err(|_| Status::unavailable("the store ends"))?;
        let answer = answer.await.map_err(|_| Status::unavailable("the outcome is unknown"))?;
        let answered = |answer| Outcome { answer, ..Outcome::default() };
        Ok(answer.map_or_else(Outcome::region_error, answered))
    }

    async fn read(
        &self,
        context: Option<Context>,
        cf: &str,
        read: impl FnOnce(&RegionState) -> Answered + Send + 'static,
    ) -> Result<Outcome, Status> {
        self.call(context, cf, Operation::Read(Box::new(read))).await
    }

    async fn write(
        &self,
        context: Option<Context>,
        cf: &str,
        ttl: u64,
        command: Command,
    ) -> Result<Outcome, Status> {
        if ttl > 0 {
            let error = "TTL is not enabled".to_owned();
            return Ok(Outcome { error, ..Outcome::default() });
        }
        self.call(context, cf, Operation::Write(command)).await
    }
}

/// A command of mutations of one kind.
fn mutations(kind: Kind, pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Command {
    let mutation = |(key, value)| Mutation { kind: kind.into(), key, value };
    Command { mutations: pairs.into_iter().map(mutation).collect(), ..Command::default() }
}

#[tonic::async_trait]
impl Tikv for KvService {
    async fn raw_get(&self, ask: Ask<pb::RawGetRequest>) -> Reply<pb::RawGetResponse> {
        let pb::RawGetRequest { context, key, cf } = ask.into_inner();
        let read = self.read(context, &cf, move |region| call::get(&key, region));
        let Outcome { answer, region_error, error } = read.await?;
        let not_found = answer.value.is_none() && region_error.is_none() && error.is_empty();
        let value = answer.value.unwrap_or_default();
        Ok(Response::new(pb::RawGetResponse { region_error, error, value, not_found }))
    }

    async fn raw_batch_get(
        &self,
        ask: Ask<pb::RawBatchGetRequest>,
    ) -> Reply<pb::RawBatchGetResponse> {
        let pb::RawBatchGetRequest { context, keys, cf } = ask.into_inner();
        let read = self.read(context, &cf, move |region| call::batch_get(keys, region));
        let (region_error, pairs) = read.await?.pairs();
        Ok(Response::new(pb::RawBatchGetResponse { region_error, pairs }))
    }

    async fn raw_put(&self, ask: Ask<pb::RawPutRequest>) -> Reply<pb::RawPutResponse> {
        let pb::RawPutRequest { context, key, value, cf, ttl, .. } = ask.into_inner();
        let command = mutations(Kind::Put, [(key, value)]);
        let Outcome { region_error, error, .. } = self.write(context, &cf, ttl, command).await?;
        Ok(Response::new(pb::RawPutResponse { region_error, error }))
    }

    async fn raw_batch_put(
        &self,
        ask: Ask<pb::RawBatchPutRequest>,
    ) -> Reply<pb::RawBatchPutResponse> {
        let pb::RawBatchPutRequest { context, pairs, cf, ttl, ttls, .. } = ask.into_inner();
        let command = mutations(Kind::Put, pairs.into_iter().map(|pair| (pair.key, pair.value)));
        let ttl = ttls.into_iter().max().unwrap_or(ttl);
        let Outcome { region_error, error, .. } = self.write(context, &cf, ttl, command).await?;
        Ok(Response::new(pb::RawBatchPutResponse { region_error, error }))
    }

    async fn raw_delete(&self, ask: Ask<pb::RawDeleteRequest>) -> Reply<pb::RawDeleteResponse> {
        let pb::RawDeleteRequest { context, key, cf, .. } = ask.into_inner();
        let command = mutations(Kind::Delete, [(key, Vec::new())]);
        let Outcome { region_error, error, .. } = self.write(context, &cf, 0, command).await?;
        Ok(Response::new(pb::RawDeleteResponse { region_error, error }))
    }

    async fn raw_batch_delete(
        &self,
        ask: Ask<pb::RawBatchDeleteRequest>,
    ) -> Reply<pb::RawBatchDeleteResponse> {
        let pb::RawBatchDeleteRequest { context, keys, cf, .. } = ask.into_inner();
        let command = mutations(Kind::Delete, keys.into_iter().map(|key| (key, Vec::new())));
        let Outcome { region_error, error, .. } = self.write(context, &cf, 0, command).await?;
        Ok(Response::new(pb::RawBatchDeleteResponse { region_error, error }))
    }

    async fn raw_scan(&self, ask: Ask<pb::RawScanRequest>) -> Reply<pb::RawScanResponse> {
        let pb::RawScanRequest { context, start_key, limit, key_only, cf, reverse, end_key } =
            ask.into_inner();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let scan = Scan { start: start_key, end: end_key, limit, key_only, reverse };
        let read = self.read(context, &cf, move |region| Ok(call::scan(&scan, region)));
        let (region_error, kvs) = read.await?.pairs();
        Ok(Response::new(pb::RawScanResponse { region_error, kvs }))
    }

    async fn raw_delete_range(
        &self,
        ask: Ask<pb::RawDeleteRangeRequest>,
    ) -> Reply<pb::RawDeleteRangeResponse> {
        let pb::RawDeleteRangeRequest { context, start_key, end_key, cf } = ask.into_inner();
        let command = mutations(Kind::DeleteRange, [(start_key, end_key)]);
        let Outcome { region_error, error, .. } = self.write(context, &cf, 0, command).await?;
        Ok(Response::new(pb::RawDeleteRangeResponse { region_error, error }))
    }

    async fn raw_compare_and_swap(&self, ask: Ask<pb::RawCasRequest>) -> Reply<pb::RawCasResponse> {
        let pb::RawCasRequest { context, cf, ttl, key, value, previous_not_exist, previous_value } =
            ask.into_inner();
        let swap = CompareAndSwap { key, value, previous_not_exist, previous_value };
        let command = Command { compare_and_swap: Some(swap), ..Command::default() };
        let Outcome { answer, region_error, error } =
            self.write(context, &cf, ttl, command).await?;
        Ok(Response::new(pb::RawCasResponse {
            region_error,
            error,
            succeed: answer.succeeded,
            previous_not_exist: answer.value.is_none(),
            previous_value: answer.value.unwrap_or_default(),
        }))
    }
}
