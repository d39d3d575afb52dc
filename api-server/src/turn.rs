//! One request at a time on an HTTP/1 connection. actix-http decodes whatever it has read, 128 KiB of requests of 30 bytes
//! each, and 10 MiB of memory; so nothing is read while an answer is being made. It reads and writes nothing itself.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Waker},
};

use actix_http::{Payload, Request};

/// Whether a connection's request is being answered.
#[derive(Debug, Default)]
pub struct Turn {
    is_taken: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Turn {
    /// Whether to read on; if not, the task is woken when it is time.
    pub fn is_free(&self, cx: &Context<'_>) -> bool {
        let is_free = !self.is_taken.get();
        if !is_free {
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
        }
        is_free
    }
}

/// The turn of a request, until this is dropped.
#[derive(Debug)]
pub struct Taken(Rc<Turn>);

impl Taken {
    /// Nothing for a request with a body, which has to be read.
    pub fn by(request: &mut Request) -> Option<Self> {
        let turn = request.conn_data::<Rc<Turn>>().cloned()?;
        if !matches!(request.payload(), Payload::None) {
            return None;
        }
        turn.is_taken.set(true);
        Some(Self(turn))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.is_taken.set(false);
        if let Some(waiting) = self.0.waiting.take() {
            waiting.wake();
        }
    }
}
