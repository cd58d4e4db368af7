//! The private HTTP port: health and metrics, for operators and their tools only.
//!
//! It serves no records and must not be exposed; the public gateway is another listener.

use crate::metrics;
use broker::Broker;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, sync::Arc};
use tokio::net::TcpListener;

/// Serves until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, broker: Arc<Broker>, tasks: Arc<dyn env::Tasks>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Most likely there are no descriptors left: asking again at once would only keep a core busy.
            crate::listeners::pause().await;
            continue;
        };
        let broker = broker.clone();
        tasks.spawn(Box::pin(async move {
            let service = service_fn(move |request| {
                let answer = answer(&broker, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection to the private HTTP port has ended");
            }
        }));
    }
}

fn answer(broker: &Broker, request: &Request<Incoming>) -> Response<Full<bytes::Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    match request.uri().path() {
        "/healthz" => match broker.health() {
            Ok(()) => reply(StatusCode::OK, TEXT, "ok\n".into()),
            Err(why) => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/metrics" => match metrics::render(broker) {
            Ok(text) => reply(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
        "/" => reply(StatusCode::OK, TEXT, "odradek: /healthz, /metrics\n".into()),
        _ => reply(StatusCode::NOT_FOUND, TEXT, "there are /healthz and /metrics\n".into()),
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<bytes::Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
