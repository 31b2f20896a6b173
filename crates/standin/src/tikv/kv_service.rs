//! Which calls of TiKV's client service does the stand-in answer? RawKV's get, put and
//! delete, API V1, default column family, no TTL: the test client sends no others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::call::{Answer, Call, Operation, Read};
use super::region_error as refuse;
use super::store::{StoreMessage, StoreSender};
use crate::proto::errorpb::Error;
use crate::proto::kvrpcpb::{self as pb, ApiVersion, Context};
use crate::proto::standinpb::mutation::Kind;
use crate::proto::standinpb::{Command, Mutation};
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

    /// A mutation, of which only a refusal can come.
    async fn write(
        &self,
        header: Header<'_>,
        kind: Kind,
        (key, value): (Vec<u8>, Vec<u8>),
    ) -> Result<Option<Error>, Status> {
        let mutations = vec![Mutation { kind: kind.into(), key, value }];
        Ok(self.call(header, Operation::Write(Command { mutations })).await?.0)
    }
}

#[tonic::async_trait]
impl Tikv for KvService {
    async fn raw_get(&self, ask: Ask<pb::RawGetRequest>) -> Reply<pb::RawGetResponse> {
        let pb::RawGetRequest { context, key, cf } = ask.into_inner();
        let (region_error, value) =
            self.call((context, &cf, 0), Operation::Read(Read { key })).await?;
        let not_found = value.is_none() && region_error.is_none();
        let (error, value) = (String::new(), value.unwrap_or_default());
        Ok(Response::new(pb::RawGetResponse { region_error, error, value, not_found }))
    }

    async fn raw_put(&self, ask: Ask<pb::RawPutRequest>) -> Reply<pb::RawPutResponse> {
        let pb::RawPutRequest { context, key, value, cf, ttl, .. } = ask.into_inner();
        let region_error = self.write((context, &cf, ttl), Kind::Put, (key, value)).await?;
        Ok(Response::new(pb::RawPutResponse { region_error, error: String::new() }))
    }

    async fn raw_delete(&self, ask: Ask<pb::RawDeleteRequest>) -> Reply<pb::RawDeleteResponse> {
        let pb::RawDeleteRequest { context, key, cf, .. } = ask.into_inner();
        let pair = (key, Vec::new());
        let region_error = self.write((context, &cf, 0), Kind::Delete, pair).await?;
        Ok(Response::new(pb::RawDeleteResponse { region_error, error: String::new() }))
    }
}
