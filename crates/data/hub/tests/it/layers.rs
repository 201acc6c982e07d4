//! Layers between the endpoint and the volume.

use std::sync::Arc;

use async_trait::async_trait;
use neardata_hub::operation::{Layer, Operation, Outcome, Request, Service};
use neardata_hub::{Hub, OperationError};
use tokio::sync::oneshot;

use crate::harness::{ACCESS_KEY, BUCKET, options};
use crate::raw::call;

/// Lets nobody delete, and says whom it refused.
struct NoDeletes;

struct Guarded(Arc<dyn Service>);

impl Layer for NoDeletes {
    fn layer(&self, inner: Arc<dyn Service>) -> Arc<dyn Service> {
        Arc::new(Guarded(inner))
    }
}

#[async_trait]
impl Service for Guarded {
    async fn call(&self, request: Request) -> Result<Outcome, OperationError> {
        if let Operation::DeleteObject { address, .. } = &request.operation {
            let caller = request.caller.as_deref().unwrap_or("nobody");
            return Err(OperationError::Denied(format!("{caller} may not delete {}", address.key)));
        }
        self.0.call(request).await
    }
}

#[tokio::test]
async fn a_layer_sees_every_operation_and_its_caller() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(options(folder.path(), 0)).await.unwrap().with_layer(&NoDeletes);
    hub.ensure_bucket(BUCKET).await.unwrap();
    let bound = hub.bind().await.unwrap();
    let at = bound.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(bound.serve(async { drop(stopped.await) }));
    assert_eq!(call("PUT", "/bucket/kept").body("x").send(at).await.status, 200);
    let refused = call("DELETE", "/bucket/kept").send(at).await;
    assert_eq!((refused.status, refused.elements("Code")), (403, vec!["AccessDenied".to_owned()]));
    assert_eq!(refused.elements("Message"), [format!("{ACCESS_KEY} may not delete kept")]);
    assert_eq!(call("GET", "/bucket/kept").send(at).await.text(), "x");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
