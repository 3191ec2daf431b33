//! A branch of a split.

/// The name of a branch: it is appended to the split's own. Without one, the branch's number is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Branched {
    name: Option<String>,
}

impl Branched {
    /// This name.
    pub fn new(name: impl Into<String>) -> Self {
        Branched { name: Some(name.into()) }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl From<&str> for Branched {
    fn from(name: &str) -> Self {
        Branched::new(name)
    }
}
