//! Why did it decide so? Asked of a scaler elsewhere, which hears of it at its next look.
//!
//! The property that must hold: at most [`MAX_ASKED`] functions are asked about at once, and who no longer waits
//! for an answer leaves nothing behind.

use std::collections::HashMap;

use bramble_provider::FunctionName;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot::{Receiver, Sender, channel};

/// Most functions that are asked about at once.
const MAX_ASKED: usize = 64;

/// Who waits for an explanation, by function.
#[derive(Debug, Default)]
pub struct Questions(Mutex<HashMap<FunctionName, Vec<Sender<Value>>>>);

impl Questions {
    /// Asks about a function. Dropping the receiver takes the question back; `None` when too many are open.
    pub fn ask(&self, name: &FunctionName) -> Option<Receiver<Value>> {
        let mut asked = self.0.lock();
        forget_the_gone(&mut asked);
        if asked.values().map(Vec::len).sum::<usize>() >= MAX_ASKED {
            return None;
        }
        let (sender, receiver) = channel();
        asked.entry(name.clone()).or_default().push(sender);
        Some(receiver)
    }

    /// The functions that somebody waits to hear of.
    pub fn open(&self) -> Vec<FunctionName> {
        let mut asked = self.0.lock();
        forget_the_gone(&mut asked);
        asked.keys().cloned().collect()
    }

    /// Gives everybody who asked about a function the answer.
    pub fn answer(&self, name: &FunctionName, explained: &Value) {
        let waiting = self.0.lock().remove(name).unwrap_or_default();
        for sender in waiting {
            // Who has gone away since then needs none.
            let _ = sender.send(explained.clone());
        }
    }
}

fn forget_the_gone(asked: &mut HashMap<FunctionName, Vec<Sender<Value>>>) {
    asked.retain(|_, waiting| {
        waiting.retain(|sender| !sender.is_closed());
        !waiting.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_waits_is_answered_once() {
        let (questions, name) = (Questions::default(), FunctionName::parse("echo").unwrap());
        let mut waiting = [(); 2].map(|()| questions.ask(&name).unwrap());
        assert_eq!(questions.open(), std::slice::from_ref(&name));
        questions.answer(&name, &"because".into());
        assert!(waiting.iter_mut().all(|receiver| receiver.try_recv().unwrap() == "because"));
        assert!(questions.open().is_empty());
    }

    #[test]
    fn who_no_longer_waits_leaves_nothing_behind() {
        let (questions, name) = (Questions::default(), FunctionName::parse("echo").unwrap());
        let waiting: Vec<_> = std::iter::from_fn(|| questions.ask(&name)).collect();
        assert_eq!(waiting.len(), MAX_ASKED);
        drop(waiting);
        assert!(questions.open().is_empty() && questions.ask(&name).is_some());
    }
}
