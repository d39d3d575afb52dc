//! Where connections come in: the socket that listens, and who may come. What is said over them is the server's.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_service::{Service as _, ServiceFactory, apply_fn_factory};
use actix_web::web::Data;
use futures::{
    FutureExt as _,
    future::{Either, ready},
};
use rustix::net::sockopt::set_tcp_user_timeout;
use rustls::ServerConfig;
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    connections::{Admitted, Connections},
    state::State,
};

/// Connections that wait to be accepted. 128, as usual, are full after one burst; then all wait for a repeated SYN, 1 s.
const BACKLOG: u32 = 4096;
/// What lies in the kernel for each connection and direction; Linux doubles it. Left to itself it makes it up to 4 MiB of
/// answers for a client that reads none, and the work of making them. With 64 KiB, 10,000 such clients filled the memory
/// that the kernel has for TCP (`tcp_mem`, 1.1 GiB on a machine of 24), and every other connection of the node lost packets.
const BUFFER: u32 = 16 * 1024;

/// A socket that listens.
pub struct Port {
    pub listener: TcpListener,
    pub connections: Arc<Connections>,
    pub tls: Option<ServerConfig>,
}

impl Port {
    /// Binds; gives the address that was meant where the port was 0. A client that takes nothing for so long is gone: the
    /// kernel may find room for more of its answer meanwhile, and then only the kernel knows that it took nothing.
    pub fn open(
        addr: SocketAddr,
        tls: Option<ServerConfig>,
        patience: Duration,
    ) -> io::Result<(Self, SocketAddr)> {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // Accepted connections inherit all three.
        socket.set_send_buffer_size(BUFFER)?;
        socket.set_recv_buffer_size(BUFFER)?;
        set_tcp_user_timeout(&socket, patience.as_millis().try_into().unwrap_or(u32::MAX))?;
        socket.bind(addr)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let addr = listener.local_addr()?;
        Ok((Self { listener, connections: Arc::default(), tls }, addr))
    }
}

/// Closes a connection that is one too many for its client before anything is spent on it.
pub fn admitted<S>(
    connections: Arc<Connections>,
    state: Data<State>,
    service: S,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = S::Error, InitError = ()>
where
    S: ServiceFactory<TcpStream, Config = (), Response = (), InitError = ()>,
{
    apply_fn_factory(service, move |io: TcpStream, service: &S::Service| {
        let admitted = io.peer_addr().ok().and_then(|peer| Admitted::new(&connections, &state, peer.ip()));
        // Not an async block: it would hold the connection's whole future three times, 10 KiB.
        admitted.map_or(Either::Left(ready(Ok(()))), |admitted| {
            Either::Right(service.call(io).map(move |end| {
                drop(admitted);
                end
            }))
        })
    })
}
