//! Connections to the API server over which nothing is sent any more once the fence is closed.
//!
//! The gate looks before a request is queued, and between that and the socket lie a pool of connections and a TLS
//! handshake. A process that is stopped there for longer than its lease would send the request when it goes on, so the
//! last look is here, right before the bytes leave.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use crate::fence::{Fence, Moment};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Makes such connections.
#[derive(Clone)]
pub struct Connector {
    inner: HttpConnector,
    fence: Arc<Fence>,
}

/// One of them.
pub struct Fenced<T> {
    io: T,
    fence: Arc<Fence>,
}

impl Connector {
    /// For one term.
    pub fn new(fence: Arc<Fence>) -> Self {
        let mut inner = HttpConnector::new();
        // The scheme is https; TLS comes on top.
        inner.enforce_http(false);
        inner.set_connect_timeout(Some(CONNECT));
        inner.set_nodelay(true);
        Self { inner, fence }
    }
}

impl Service<Uri> for Connector {
    type Response = Fenced<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connection, fence) = (self.inner.call(uri), self.fence.clone());
        Box::pin(async move { Ok(Fenced { io: connection.await?, fence }) })
    }
}

impl<T> Fenced<T> {
    fn look(&self) -> io::Result<()> {
        let holds = self.fence.holds(Moment::now());
        holds.then_some(()).ok_or_else(|| io::Error::other("not the leader any more: nothing is sent"))
    }
}

impl<T: Read + Unpin> Read for Fenced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: Write + Unpin> Write for Fenced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look()?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look()?;
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl<T: Connection> Connection for Fenced<T> {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn bytes_leave_while_the_fence_holds_and_not_after_it_closed() {
        let (near, mut far) = tokio::io::duplex(64);
        let fence = Arc::new(Fence::open());
        let mut connection = Fenced { io: TokioIo::new(near), fence: fence.clone() };
        let mut send = async |bytes: &[u8]| {
            poll_fn(|context| Pin::new(&mut connection).poll_write(context, bytes)).await.map_err(|_| ())
        };
        assert_eq!(send(b"one").await, Ok(3));
        fence.close();
        assert_eq!(send(b"two").await, Err(()));
        drop(connection);
        let mut seen = String::new();
        far.read_to_string(&mut seen).await.expect("what was sent");
        assert_eq!(seen, "one");
    }
}
