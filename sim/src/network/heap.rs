//! A binary heap whose items know where they stand, so that one in the middle can be moved or taken out.
//!
//! It is a set of functions over a `Vec`, because the items' positions live with whoever owns the items: `place`
//! is told each new position. Ties are for [`Ranked::before`] to break; it must be a strict total order.

/// An item that a heap can order and name.
pub(super) trait Ranked: Copy {
    /// Whether this item leaves the heap before `other`.
    fn before(&self, other: &Self) -> bool;
    /// Whose position changes when this item moves.
    fn owner(&self) -> u32;
}

/// Adds an item.
pub(super) fn push<T: Ranked>(heap: &mut Vec<T>, item: T, place: impl FnMut(u32, u32)) {
    heap.push(item);
    let last = heap.len() - 1;
    rise(heap, last, place);
}

/// Takes out the item at `at`.
pub(super) fn remove<T: Ranked>(heap: &mut Vec<T>, at: usize, mut place: impl FnMut(u32, u32)) -> T {
    let item = heap.swap_remove(at);
    if at < heap.len() {
        settle(heap, at, &mut place);
    }
    item
}

/// Puts `item` in the place of the one at `at`, and to its new position from there.
pub(super) fn replace<T: Ranked>(heap: &mut [T], at: usize, item: T, mut place: impl FnMut(u32, u32)) {
    heap[at] = item;
    settle(heap, at, &mut place);
}

fn settle<T: Ranked>(heap: &mut [T], at: usize, place: &mut impl FnMut(u32, u32)) {
    if at > 0 && heap[at].before(&heap[(at - 1) / 2]) {
        rise(heap, at, place);
    } else {
        sink(heap, at, place);
    }
}

fn rise<T: Ranked>(heap: &mut [T], mut at: usize, mut place: impl FnMut(u32, u32)) {
    let item = heap[at];
    while at > 0 {
        let parent = (at - 1) / 2;
        if !item.before(&heap[parent]) {
            break;
        }
        heap[at] = heap[parent];
        place(heap[at].owner(), at as u32);
        at = parent;
    }
    heap[at] = item;
    place(item.owner(), at as u32);
}

fn sink<T: Ranked>(heap: &mut [T], mut at: usize, mut place: impl FnMut(u32, u32)) {
    let item = heap[at];
    loop {
        let mut child = 2 * at + 1;
        if child >= heap.len() {
            break;
        }
        if child + 1 < heap.len() && heap[child + 1].before(&heap[child]) {
            child += 1;
        }
        if !heap[child].before(&item) {
            break;
        }
        heap[at] = heap[child];
        place(heap[at].owner(), at as u32);
        at = child;
    }
    heap[at] = item;
    place(item.owner(), at as u32);
}
