//! Names of uploads.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::SystemTime,
};

use crate::store::Upload;

/// Names at a time; the oldest are forgotten.
const MAX_SESSIONS: usize = 1024;

/// A named upload. Names do not keep an upload: the store decides how long it stays.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// As the client calls it.
    pub(crate) file_name: String,
    upload: Weak<Upload>,
    /// Seconds since 1970.
    pub(crate) created: u64,
}

/// Uploads by name, the oldest first.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<VecDeque<Session>>);

impl Sessions {
    /// Names an upload; an earlier one of this name is forgotten.
    pub(crate) fn add(&self, id: String, file_name: &str, upload: &Arc<Upload>) -> Session {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let session = Session {
            id,
            file_name: file_name.to_owned(),
            upload: Arc::downgrade(upload),
            created: since.as_secs(),
        };
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|other| other.id != session.id);
        if sessions.len() >= MAX_SESSIONS {
            sessions.pop_front();
        }
        sessions.push_back(session.clone());
        session
    }

    /// The upload of this name, and how the client calls the file.
    pub(crate) fn find(&self, id: &str) -> Option<(Session, Arc<Upload>)> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.iter().find(|session| session.id == id)?;
        Some((session.clone(), session.upload.upgrade()?))
    }

    /// Forgets a name.
    pub(crate) fn remove(&self, id: &str) -> Option<Session> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = sessions.iter().position(|session| session.id == id)?;
        sessions.remove(at)
    }
}
