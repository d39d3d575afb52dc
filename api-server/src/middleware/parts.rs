//! Large answers in parts. actix copies a body into the connection's buffer as a whole, however large it is, and for 10,000
//! clients that take nothing 60 KiB each are 600 MiB. It changes no byte.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    web::Bytes,
};

/// So much at a time. With as much again in the buffer it still has the size that every connection's has: 8 KiB.
pub const PART: usize = 4096;

/// The rest of a body.
struct Parts(Bytes);

impl MessageBody for Parts {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let length = self.0.len().min(PART);
        Poll::Ready((length > 0).then(|| Ok(self.0.split_to(length))))
    }
}

/// The body in parts if it is large and whole; a stream comes in parts anyway.
pub fn part(body: BoxBody) -> BoxBody {
    match body.size() {
        BodySize::Sized(size) if size > PART as u64 => {
            body.try_into_bytes().map_or_else(|body| body, |bytes| BoxBody::new(Parts(bytes)))
        }
        _ => body,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_large_body_comes_whole_in_small_parts() {
        let whole: Vec<_> = b"0123456789".iter().copied().cycle().take(2 * PART + 7).collect();
        let mut body = part(BoxBody::new(whole.clone()));
        assert_eq!(body.size(), BodySize::Sized(whole.len() as u64));
        let mut parts = Vec::new();
        block_on(std::future::poll_fn(|cx| {
            while let Poll::Ready(Some(part)) = Pin::new(&mut body).poll_next(cx) {
                parts.push(part.unwrap());
            }
            Poll::Ready(())
        }));
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [PART, PART, 7]);
        assert_eq!(parts.concat(), whole);
    }

    #[test]
    fn a_small_body_stays_as_it_is() {
        let body = part(BoxBody::new("small"));
        assert_eq!(body.size(), BodySize::Sized(5));
        assert_eq!(block_on(to_bytes(body)).unwrap(), "small");
    }
}
