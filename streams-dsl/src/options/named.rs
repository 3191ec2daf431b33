//! A name for an operator's node.

/// The name of an operator's node in the topology; without one it is generated. Names keep topics and stores findable
/// when operators are added before this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named(Option<String>);

impl Named {
    /// This name.
    pub fn new(name: impl Into<String>) -> Self {
        Named(Some(name.into()))
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl From<&str> for Named {
    fn from(name: &str) -> Self {
        Named::new(name)
    }
}

impl From<String> for Named {
    fn from(name: String) -> Self {
        Named::new(name)
    }
}
