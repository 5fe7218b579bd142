// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that wait for time: a leftist heap, whose first one is due first.
//!
//! Whatever their number, a thread comes and goes in steps that are as many as the logarithm of it, and the nodes lie in the threads. Of a node's
//! two subtrees the left one is at least as deep along its right edge as the other (its *rank*), so right edges are short; only along these
//! heaps are merged.

use core::cell::Cell;

use crate::object::tcb::Tcb;
use crate::ptr::Ptr;

type Link = Cell<Option<Ptr<Tcb>>>;

/// A thread's place in the heap. All zeros outside of any.
#[repr(C)]
pub struct Node {
    /// When the thread gets time again.
    due: Cell<u64>,
    parent: Link,
    left: Link,
    right: Link,
    /// Nodes on the way along right edges.
    rank: Cell<u64>,
}

/// The heap.
#[derive(Default)]
pub struct Postponed {
    root: Option<Ptr<Tcb>>,
}

fn node(t: &Ptr<Tcb>) -> &Node {
    &t.postponement
}

fn rank(t: Option<Ptr<Tcb>>) -> u64 {
    t.map_or(0, |t| node(&t).rank.get())
}

/// Puts the deeper subtree on the left and counts the rank anew. Whether it is another one.
fn mend(t: Ptr<Tcb>) -> bool {
    let n = node(&t);
    if rank(n.left.get()) < rank(n.right.get()) {
        n.left.swap(&n.right);
    }
    let new = rank(n.right.get()) + 1;
    n.rank.replace(new) != new
}

fn in_order(a: Ptr<Tcb>, b: Ptr<Tcb>) -> (Ptr<Tcb>, Ptr<Tcb>) {
    if node(&b).due.get() < node(&a).due.get() { (b, a) } else { (a, b) }
}

/// Makes one heap of two. The roots have no parents.
fn merge(a: Option<Ptr<Tcb>>, b: Option<Ptr<Tcb>>) -> Option<Ptr<Tcb>> {
    let (Some(x), Some(y)) = (a, b) else { return a.or(b) };
    let (root, mut rest) = in_order(x, y);
    let mut at = root;
    while let Some(right) = node(&at).right.get() {
        let (first, later) = in_order(right, rest);
        node(&at).right.set(Some(first));
        node(&first).parent.set(Some(at));
        (at, rest) = (first, later);
    }
    node(&at).right.set(Some(rest));
    node(&rest).parent.set(Some(at));
    let mut up = Some(at);
    while let Some(t) = up {
        mend(t);
        up = node(&t).parent.get();
    }
    Some(root)
}

impl Postponed {
    /// Nobody.
    pub const fn new() -> Self {
        Self { root: None }
    }

    /// The first thread to get time, and when.
    #[inline]
    pub fn first(&self) -> Option<(Ptr<Tcb>, u64)> {
        self.root.map(|t| (t, node(&t).due.get()))
    }

    /// Adds a thread that is in no heap, to be due at `due`.
    pub fn insert(&mut self, t: Ptr<Tcb>, due: u64) {
        node(&t).due.set(due);
        node(&t).rank.set(1);
        self.root = merge(self.root, Some(t));
    }

    /// Takes a thread out that is in this heap.
    pub fn remove(&mut self, t: Ptr<Tcb>) {
        let n = node(&t);
        let (left, right, parent) = (n.left.take(), n.right.take(), n.parent.take());
        for child in [left, right].into_iter().flatten() {
            node(&child).parent.set(None);
        }
        let below = merge(left, right);
        if let Some(b) = below {
            node(&b).parent.set(parent);
        }
        let Some(p) = parent else {
            self.root = below;
            return;
        };
        let side = if node(&p).left.get() == Some(t) { &node(&p).left } else { &node(&p).right };
        side.set(below);
        // Further up ranks are what they were as soon as one is.
        let mut up = Some(p);
        while let Some(t) = up
            && mend(t)
        {
            up = node(&t).parent.get();
        }
    }
}

#[cfg(test)]
impl Postponed {
    /// Everybody, in the order of the times, with the heap's form checked.
    pub(crate) fn all(&self) -> std::vec::Vec<(u64, Ptr<Tcb>)> {
        let mut all = std::vec::Vec::new();
        let mut open = std::vec::Vec::from([(None, self.root)]);
        while let Some((parent, at)) = open.pop() {
            let Some(t) = at else { continue };
            let n = node(&t);
            assert_eq!(n.parent.get(), parent, "a parent");
            assert!(
                parent.is_none_or(|p| node(&p).due.get() <= n.due.get()),
                "who is due first stands above"
            );
            assert!(rank(n.left.get()) >= rank(n.right.get()), "the deeper side is the left one");
            assert_eq!(n.rank.get(), rank(n.right.get()) + 1, "a rank");
            open.extend([(at, n.left.get()), (at, n.right.get())]);
            all.push((n.due.get(), t));
        }
        all.sort_by_key(|(due, _)| *due);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_tests::Random;
    use std::vec::Vec;

    fn threads(count: usize) -> Vec<Ptr<Tcb>> {
        let words = size_of::<Tcb>().next_multiple_of(64) / 8;
        let memory = std::vec![0u64; words * count + 8].leak();
        let start = (memory.as_mut_ptr() as u64).next_multiple_of(64);
        // SAFETY: zeros are a thread's initial state, and the memory stays.
        let at = |i: usize| unsafe { Ptr::from_addr(start + (8 * words * i) as u64).unwrap() };
        (0..count).map(at).collect()
    }

    #[test]
    fn whoever_comes_and_goes_the_first_one_is_due_first() {
        let mut r = Random(7);
        let all = threads(200);
        let mut heap = Postponed::new();
        let mut model: Vec<(u64, Ptr<Tcb>)> = Vec::new();
        for step in 0..6000 {
            let t = all[r.below(all.len() as u64) as usize];
            match model.iter().position(|(_, m)| *m == t) {
                Some(place) if step % 3000 > 1500 || r.below(3) == 0 => {
                    model.remove(place);
                    heap.remove(t);
                }
                None => {
                    let due = r.below(100);
                    model.push((due, t));
                    heap.insert(t, due);
                }
                _ => {}
            }
            let found = heap.all();
            assert_eq!(found.len(), model.len());
            assert!(found.iter().all(|f| model.contains(f)));
            assert_eq!(heap.first().map(|f| f.1), model.iter().map(|m| m.0).min());
        }
    }

    #[test]
    fn right_edges_are_short() {
        let all = threads(4095);
        for order in [|i: u64| i, |i| 10_000 - i, |i| i * 2_654_435_761 % 4096] {
            let mut heap = Postponed::new();
            for (i, t) in all.iter().enumerate() {
                heap.insert(*t, order(i as u64));
            }
            assert!(rank(heap.root) <= 12, "{} along the right edge", rank(heap.root));
            for t in &all {
                heap.remove(*t);
                assert!(node(t).parent.get().is_none() && node(t).left.get().is_none());
            }
            assert!(heap.first().is_none());
        }
    }
}
