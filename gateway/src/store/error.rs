//! Why the store did not do what it was asked.

use std::io::{self, ErrorKind};

use bramble_provider::ProviderError;
use redb::{CommitError, DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError};

/// Why the store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or the quota reached. What was stored before is intact.
    #[error("no space left on the device for {store}; free some and try again")]
    Full {
        /// The store's file.
        store: String,
    },
    /// The file holds what no store ever wrote.
    #[error(
        "the store {store} is damaged: {reason}; put a backup in its place, or move it away to start empty"
    )]
    Damaged {
        /// The store's file.
        store: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A later version wrote the file.
    #[error("the store has version {found}, and this program knows {known}; use the newer program")]
    Version {
        /// The file's version.
        found: u64,
        /// The newest version that is understood.
        known: u64,
    },
    /// The file cannot be opened, read or written.
    #[error("the store {store} cannot be used: {source}")]
    Unusable {
        /// The store's file.
        store: String,
        /// The cause.
        source: redb::Error,
    },
    /// A bug in the gateway's own code.
    #[error("the store's work did not finish")]
    Unfinished(#[source] tokio::task::JoinError),
}

impl StoreError {
    /// Names the store in an error that does not yet name it.
    pub(super) fn of(mut self, name: &str) -> Self {
        match &mut self {
            Self::Full { store } | Self::Damaged { store, .. } | Self::Unusable { store, .. }
                if store.is_empty() =>
            {
                name.clone_into(store);
            }
            _ => {}
        }
        self
    }

    pub(crate) fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged { store: String::new(), reason: reason.into() }
    }

    /// Whether the open database refuses all further work.
    pub(super) fn breaks_the_database(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Damaged { .. } | Self::Unusable { .. })
    }

    fn io(error: &io::Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Some(Self::Full { store: String::new() })
            }
            // What `redb` answers to a file that is not its own.
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Some(Self::damaged(error.to_string())),
            _ => None,
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(source: redb::Error) -> Self {
        let known = match &source {
            redb::Error::Io(error) => Self::io(error),
            redb::Error::Corrupted(reason) => Some(Self::damaged(reason)),
            redb::Error::UpgradeRequired(version) => {
                Some(Self::damaged(format!("its file format {version} is too old")))
            }
            redb::Error::TableTypeMismatch { .. } | redb::Error::TypeDefinitionChanged { .. } => {
                Some(Self::damaged(source.to_string()))
            }
            _ => None,
        };
        known.unwrap_or(Self::Unusable { store: String::new(), source })
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}
from_redb!(CommitError, DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError);

impl From<StoreError> for ProviderError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } => Self::OutOfStorage(
                "no space left on the gateway's disk; nothing was changed, free some space and try again"
                    .into(),
            ),
            other => Self::internal("storing the function's desired state", other),
        }
    }
}
