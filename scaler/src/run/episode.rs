//! Something that lasts: told when it begins and when it ends, not at every look.

/// Whether it lasts now.
#[derive(Debug, Default)]
pub(super) struct Episode {
    lasts: bool,
}

impl Episode {
    /// It is so: whether it was not so before.
    pub(super) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.lasts, true)
    }

    /// It is not so: whether it was before.
    pub(super) fn ends(&mut self) -> bool {
        std::mem::replace(&mut self.lasts, false)
    }
}
