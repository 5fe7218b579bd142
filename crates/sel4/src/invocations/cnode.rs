// SPDX-License-Identifier: MIT OR Apache-2.0
//! CNodes: operations on slots.

use sel4_abi::label;

use crate::{AbsoluteCPtr, Badge, CNodeCapData, CapFacts, CapRights, InvocationContext, Result, Word};

impl<C: InvocationContext> AbsoluteCPtr<C> {
    #[inline(always)]
    fn operate(self, label: Word) -> Result<()> {
        let (root, path) = self.into_parts();
        root.invoke(label, [path.bits(), path.depth() as Word], []).map(drop)
    }

    /// Deletes all capabilities that derive from the one in this slot.
    pub fn revoke(self) -> Result<()> {
        self.operate(label::CNODE_REVOKE)
    }

    /// Empties this slot. With the last capability of an object goes the object.
    pub fn delete(self) -> Result<()> {
        self.operate(label::CNODE_DELETE)
    }

    /// Ends the sends that wait under the badge of the endpoint capability in this slot.
    pub fn cancel_badged_sends(self) -> Result<()> {
        self.operate(label::CNODE_CANCEL_BADGED_SENDS)
    }

    /// What the capability in this slot is (extension X5). An empty slot holds one of tag 0.
    pub fn describe(self) -> Result<CapFacts> {
        let (root, path) = self.into_parts();
        root.invoke(label::CNODE_DESCRIBE, [path.bits(), path.depth() as Word], []).map(CapFacts::from_words)
    }

    /// Copies the capability in `src` into this empty slot, with at most `rights`.
    pub fn copy<C1>(self, src: &AbsoluteCPtr<C1>, rights: CapRights) -> Result<()> {
        let (root, path) = self.into_parts();
        root.invoke(
            label::CNODE_COPY,
            [
                path.bits(),
                path.depth() as Word,
                src.path().bits(),
                src.path().depth() as Word,
                rights.into_word(),
            ],
            [src.root().bits()],
        )
        .map(drop)
    }

    /// Copies the capability in `src` into this empty slot, with at most `rights` and with `badge`: the badge of an
    /// endpoint or notification, the guard of a CNode, the requester and domain of an I/O space.
    pub fn mint<C1>(self, src: &AbsoluteCPtr<C1>, rights: CapRights, badge: Badge) -> Result<()> {
        let (root, path) = self.into_parts();
        root.invoke(
            label::CNODE_MINT,
            [
                path.bits(),
                path.depth() as Word,
                src.path().bits(),
                src.path().depth() as Word,
                rights.into_word(),
                badge,
            ],
            [src.root().bits()],
        )
        .map(drop)
    }

    /// As [`mint`](Self::mint), for a CNode capability.
    pub fn mint_guarded<C1>(
        self,
        src: &AbsoluteCPtr<C1>,
        rights: CapRights,
        guard: CNodeCapData,
    ) -> Result<()> {
        self.mint(src, rights, guard.into_word())
    }

    /// Moves the capability in `src` into this empty slot.
    pub fn move_<C1>(self, src: &AbsoluteCPtr<C1>) -> Result<()> {
        let (root, path) = self.into_parts();
        root.invoke(
            label::CNODE_MOVE,
            [path.bits(), path.depth() as Word, src.path().bits(), src.path().depth() as Word],
            [src.root().bits()],
        )
        .map(drop)
    }

    /// Moves the capability in `src` into this empty slot, with `badge` as in [`mint`](Self::mint).
    pub fn mutate<C1>(self, src: &AbsoluteCPtr<C1>, badge: Badge) -> Result<()> {
        let (root, path) = self.into_parts();
        root.invoke(
            label::CNODE_MUTATE,
            [path.bits(), path.depth() as Word, src.path().bits(), src.path().depth() as Word, badge],
            [src.root().bits()],
        )
        .map(drop)
    }

    /// Moves the capability in `pivot` into this slot and that in `src` into `pivot`, each with its badge. This slot
    /// must be empty, or be `src`.
    pub fn rotate<C1, C2>(
        self,
        dest_badge: Badge,
        pivot: &AbsoluteCPtr<C1>,
        pivot_badge: Badge,
        src: &AbsoluteCPtr<C2>,
    ) -> Result<()> {
        let (root, path) = self.into_parts();
        root.invoke(
            label::CNODE_ROTATE,
            [
                path.bits(),
                path.depth() as Word,
                dest_badge,
                pivot.path().bits(),
                pivot.path().depth() as Word,
                pivot_badge,
                src.path().bits(),
                src.path().depth() as Word,
            ],
            [pivot.root().bits(), src.root().bits()],
        )
        .map(drop)
    }
}
