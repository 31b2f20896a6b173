//! A client that dies after so many writes, as a killed process does: the answer to the last one
//! never arrives, and nothing is sent any more.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

use http::{Method, Request};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tower::{Layer, Service};

/// A client with a limited life.
pub(crate) struct Life {
    pub(crate) client: Client,
    pub(crate) died: Arc<AtomicBool>,
}

/// A client that makes `writes` writes, Leases and Events apart.
pub(crate) fn dying_after(config: Config, writes: i64) -> Life {
    let died = Arc::new(AtomicBool::new(false));
    let layer = Mortal { left: Arc::new(AtomicI64::new(writes)), died: Arc::clone(&died) };
    let client = ClientBuilder::try_from(config).unwrap().with_layer(&layer).build();
    Life { client, died }
}

#[derive(Clone)]
struct Mortal {
    left: Arc<AtomicI64>,
    died: Arc<AtomicBool>,
}

impl<S> Layer<S> for Mortal {
    type Service = MortalService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        MortalService { inner, mortal: self.clone() }
    }
}

#[derive(Clone)]
struct MortalService<S> {
    inner: S,
    mortal: Mortal,
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl<S> Service<Request<Body>> for MortalService<S>
where
    S: Service<Request<Body>>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let write = request.method() != Method::GET
            && !path.contains("/leases")
            && !path.contains("/events");
        let mortal = self.mortal.clone();
        let left = if write { mortal.left.fetch_sub(1, Ordering::SeqCst) } else { i64::MAX };
        let (last, dead) = (left == 1, left <= 0 || mortal.died.load(Ordering::SeqCst));
        if dead {
            return Box::pin(std::future::pending());
        }
        let call = self.inner.call(request);
        let death = last.then(|| Death(mortal.died));
        Box::pin(async move {
            let answer = call.await;
            if let Some(death) = death {
                drop(death);
                std::future::pending::<()>().await;
            }
            answer
        })
    }
}

/// Dropped when the last answer is there, or when nobody waits for it any more: a call may be given
/// up on a slow machine, and a client that sends nothing more must not seem to live.
struct Death(Arc<AtomicBool>);

impl Drop for Death {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
