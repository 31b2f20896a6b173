//! Which calls does a task make?

use serde_json::Value;
use tikv_operator_api::v1alpha1::RunKey;

use super::call::Call;
use crate::world::Uid;

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskStep {
    /// Create the Job of a run: a plain create under the run's own name, so that one that is there
    /// already is that run's.
    CreateJob {
        /// The run.
        key: RunKey,
        /// The Job.
        job: Value,
    },
    /// Ask the API server for the Job of a run that the watch does not know.
    FindJob {
        /// The run.
        key: RunKey,
        /// The Job.
        name: String,
    },
    /// Delete a Job with its pods: of a run that was ended, or that left the history.
    DeleteJob {
        /// Its name.
        name: String,
        /// The Job meant.
        uid: Uid,
    },
    /// Make the call of a run.
    Call {
        /// The run.
        key: RunKey,
        /// The call.
        call: Call,
    },
}

impl TaskStep {
    /// The run that the step is an attempt of.
    pub fn run(&self) -> Option<&RunKey> {
        match self {
            Self::CreateJob { key, .. } | Self::FindJob { key, .. } | Self::Call { key, .. } => {
                Some(key)
            }
            Self::DeleteJob { .. } => None,
        }
    }

    /// What tells it from every other step of the task: its run, or the Job that goes. No Job is called as a
    /// key is, since its name begins with the task's.
    pub fn about(&self) -> &str {
        match self {
            Self::CreateJob { key, .. } | Self::FindJob { key, .. } | Self::Call { key, .. } => {
                key.as_str()
            }
            Self::DeleteJob { name, .. } => name,
        }
    }
}
