//! Which calls of TiKV's client service does the stand-in answer? RawKV, API V1, default column
//! family, no TTL: what the published `tikv-client` crate's raw client sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::call::{Answer, Call, Operation, Read, Scan};
use super::region_error as refuse;
use super::store::{StoreMessage, StoreSender};
use crate::proto::errorpb::Error;
use crate::proto::kvrpcpb::{self as pb, ApiVersion, Context};
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

/// A refusal that sends the client elsewhere, or an answer.
type Outcome = Result<(Option<Error>, Answer), Status>;

/// A call's header, its column family and its time to live.
type Header<'a> = (Option<Context>, &'a str, u64);

impl KvService {
    async fn call(&self, (context, family, ttl): Header<'_>, operation: Operation) -> Outcome {
        let context = context.unwrap_or_default();
        let requested = context.peer.unwrap_or_default().store_id;
        if requested != self.store_id || self.tombstone.load(Ordering::Relaxed) {
            let actual = if requested == self.store_id { 0 } else { self.store_id };
            return Ok((Some(refuse::store_not_match(requested, actual)), Answer::default()));
        }
        if context.api_version() != ApiVersion::V1 || !matches!(family, "" | "default") || ttl > 0 {
            let text = "the stand-in has API V1 only, the default column family, and no TTL";
            return Err(Status::unimplemented(text));
        }
        let (reply, answer) = oneshot::channel();
        let sent = self.store.send(StoreMessage::Call(Call { context, operation, reply }));
        sent.map_err(|_| Status::unavailable("the store ends"))?;
        let answer = answer.await.map_err(|_| Status::unavailable("the outcome is unknown"))?;
        Ok(answer.map_or_else(|e| (Some(e), Answer::default()), |answer| (None, answer)))
    }

    async fn read(&self, context: Option<Context>, family: &str, read: Read) -> Outcome {
        self.call((context, family, 0), Operation::Read(read)).await
    }

    /// Mutations of one kind; only a refusal can come of them.
    async fn write(
        &self,
        header: Header<'_>,
        kind: Kind,
        pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Option<Error>, Status> {
        let mutation = |(key, value)| Mutation { kind: kind.into(), key, value };
        let mutations = pairs.into_iter().map(mutation).collect();
        let command = Command { mutations, ..Command::default() };
        Ok(self.call(header, Operation::Write(command)).await?.0)
    }
}

#[tonic::async_trait]
impl Tikv for KvService {
    async fn raw_get(&self, ask: Ask<pb::RawGetRequest>) -> Reply<pb::RawGetResponse> {
        let pb::RawGetRequest { context, key, cf } = ask.into_inner();
        let (region_error, mut answer) = self.read(context, &cf, Read::Keys(vec![key])).await?;
        let pair = answer.pairs.pop();
        let not_found = pair.is_none() && region_error.is_none();
        let (error, value) = (String::new(), pair.unwrap_or_default().value);
        Ok(Response::new(pb::RawGetResponse { region_error, error, value, not_found }))
    }

    async fn raw_batch_get(
        &self,
        ask: Ask<pb::RawBatchGetRequest>,
    ) -> Reply<pb::RawBatchGetResponse> {
        let pb::RawBatchGetRequest { context, keys, cf } = ask.into_inner();
        let (region_error, answer) = self.read(context, &cf, Read::Keys(keys)).await?;
        Ok(Response::new(pb::RawBatchGetResponse { region_error, pairs: answer.pairs }))
    }

    async fn raw_put(&self, ask: Ask<pb::RawPutRequest>) -> Reply<pb::RawPutResponse> {
        let pb::RawPutRequest { context, key, value, cf, ttl, .. } = ask.into_inner();
        let region_error = self.write((context, &cf, ttl), Kind::Put, [(key, value)]).await?;
        Ok(Response::new(pb::RawPutResponse { region_error, error: String::new() }))
    }

    async fn raw_batch_put(
        &self,
        ask: Ask<pb::RawBatchPutRequest>,
    ) -> Reply<pb::RawBatchPutResponse> {
        let pb::RawBatchPutRequest { context, pairs, cf, ttl, ttls, .. } = ask.into_inner();
        let pairs = pairs.into_iter().map(|pair| (pair.key, pair.value));
        let ttl = ttls.into_iter().max().unwrap_or(ttl);
        let region_error = self.write((context, &cf, ttl), Kind::Put, pairs).await?;
        Ok(Response::new(pb::RawBatchPutResponse { region_error, error: String::new() }))
    }

    async fn raw_delete(&self, ask: Ask<pb::RawDeleteRequest>) -> Reply<pb::RawDeleteResponse> {
        let pb::RawDeleteRequest { context, key, cf, .. } = ask.into_inner();
        let pairs = [(key, Vec::new())];
        let region_error = self.write((context, &cf, 0), Kind::Delete, pairs).await?;
        Ok(Response::new(pb::RawDeleteResponse { region_error, error: String::new() }))
    }

    async fn raw_batch_delete(
        &self,
        ask: Ask<pb::RawBatchDeleteRequest>,
    ) -> Reply<pb::RawBatchDeleteResponse> {
        let pb::RawBatchDeleteRequest { context, keys, cf, .. } = ask.into_inner();
        let pairs = keys.into_iter().map(|key| (key, Vec::new()));
        let region_error = self.write((context, &cf, 0), Kind::Delete, pairs).await?;
        Ok(Response::new(pb::RawBatchDeleteResponse { region_error, error: String::new() }))
    }

    async fn raw_scan(&self, ask: Ask<pb::RawScanRequest>) -> Reply<pb::RawScanResponse> {
        let pb::RawScanRequest { context, start_key, limit, key_only, cf, reverse, end_key } =
            ask.into_inner();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let scan = Scan { start: start_key, end: end_key, limit, key_only, reverse };
        let (region_error, answer) = self.read(context, &cf, Read::Range(scan)).await?;
        Ok(Response::new(pb::RawScanResponse { region_error, kvs: answer.pairs }))
    }

    async fn raw_delete_range(
        &self,
        ask: Ask<pb::RawDeleteRangeRequest>,
    ) -> Reply<pb::RawDeleteRangeResponse> {
        let pb::RawDeleteRangeRequest { context, start_key, end_key, cf } = ask.into_inner();
        let range = [(start_key, end_key)];
        let region_error = self.write((context, &cf, 0), Kind::DeleteRange, range).await?;
        Ok(Response::new(pb::RawDeleteRangeResponse { region_error, error: String::new() }))
    }

    async fn raw_compare_and_swap(&self, ask: Ask<pb::RawCasRequest>) -> Reply<pb::RawCasResponse> {
        let pb::RawCasRequest { context, cf, ttl, key, value, previous_not_exist, previous_value } =
            ask.into_inner();
        let swap = CompareAndSwap { key, value, previous_not_exist, previous_value };
        let command = Command { compare_and_swap: Some(swap), ..Command::default() };
        let (region_error, mut answer) =
            self.call((context, &cf, ttl), Operation::Write(command)).await?;
        let previous = answer.pairs.pop();
        Ok(Response::new(pb::RawCasResponse {
            region_error,
            error: String::new(),
            succeed: answer.succeeded,
            previous_not_exist: previous.is_none(),
            previous_value: previous.unwrap_or_default().value,
        }))
    }
}
