//! Whose pass runs next: at most so many at once, namespaces in turn, within a namespace in the order of asking.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Turns for passes. One namespace gets at most half of them, so that services that hang there, or a flood of them,
/// leave the others their share.
pub struct Turns {
    state: Mutex<State>,
    all: usize,
    share: usize,
}

#[derive(Default)]
struct State {
    running: HashMap<String, usize>,
    /// Namespaces with somebody who waits, the next one first.
    waiting: VecDeque<(String, VecDeque<oneshot::Sender<Turn>>)>,
    closed: bool,
}

/// A turn; its end is when it is dropped.
pub struct Turn {
    turns: Arc<Turns>,
    namespace: String,
}

impl Turns {
    /// So many at once, at least one.
    pub fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), all: all.max(1), share: all.div_ceil(2).max(1) })
    }

    /// Waits for a turn; `None` when there are no more.
    pub async fn take(self: &Arc<Self>, namespace: &str) -> Option<Turn> {
        let turn = {
            let mut state = self.state();
            if state.closed {
                return None;
            }
            let (sender, turn) = oneshot::channel();
            match state.waiting.iter_mut().find(|(name, _)| name == namespace) {
                Some((_, line)) => line.push_back(sender),
                None => state.waiting.push_back((namespace.to_owned(), [sender].into())),
            }
            turn
        };
        self.give();
        turn.await.ok()
    }

    /// Nobody who waits gets a turn any more.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(self: &Arc<Self>) {
        // Somebody who went away in between hands the turn back by dropping it, outside of the lock.
        loop {
            let next = self.state().next(self);
            let Some((sender, turn)) = next else { return };
            drop(sender.send(turn));
        }
    }
}

impl State {
    fn next(&mut self, turns: &Arc<Turns>) -> Option<(oneshot::Sender<Turn>, Turn)> {
        if self.running.values().sum::<usize>() >= turns.all {
            return None;
        }
        let may = |name: &String| self.running.get(name).copied().unwrap_or(0) < turns.share;
        let place = self.waiting.iter().position(|(name, _)| may(name))?;
        let (namespace, mut line) = self.waiting.remove(place)?;
        let sender = line.pop_front()?;
        *self.running.entry(namespace.clone()).or_default() += 1;
        if !line.is_empty() {
            self.waiting.push_back((namespace.clone(), line));
        }
        Some((sender, Turn { turns: turns.clone(), namespace }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.turns.state();
            if let Some(count) = state.running.get_mut(&self.namespace) {
                *count -= 1;
                if *count == 0 {
                    state.running.remove(&self.namespace);
                }
            }
        }
        self.turns.give();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_namespace_gets_half_of_the_turns_and_another_the_rest() {
        let turns = Turns::new(4);
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(turns.take("flood").await);
        }
        assert!(turns.take("flood").now_or_never().is_none(), "a third turn for one namespace");
        assert!(turns.take("calm").now_or_never().flatten().is_some());
        held.clear();
        assert!(turns.take("flood").now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn namespaces_that_wait_are_served_in_turn() {
        let turns = Turns::new(1);
        let first = turns.take("a").await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for name in ["a", "a", "a", "b", "b"] {
            let (turns, order) = (turns.clone(), order.clone());
            waiting.spawn(async move {
                let turn = turns.take(name).await;
                order.lock().expect("the order").push(name);
                drop(turn);
            });
            tokio::task::yield_now().await;
        }
        drop(first);
        waiting.join_all().await;
        assert_eq!(*order.lock().expect("the order"), ["a", "b", "a", "b", "a"]);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_takes_any_more_goes_to_the_next() {
        let turns = Turns::new(1);
        let first = turns.take("a").await;
        assert!(turns.take("b").now_or_never().is_none());
        drop(first);
        assert!(turns.take("c").now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn after_the_end_nobody_gets_a_turn() {
        let turns = Turns::new(1);
        let _held = turns.take("a").await;
        let mut waiting = Box::pin(turns.take("a"));
        assert!(waiting.as_mut().now_or_never().is_none());
        turns.close();
        assert!(waiting.await.is_none());
        assert!(turns.take("b").await.is_none());
    }
}
