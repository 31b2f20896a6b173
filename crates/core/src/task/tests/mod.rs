//! How do tasks behave, pass by pass?

mod crashes;
mod events;
mod gates;
mod jobs;
mod own;
mod runs;
mod schedules;
mod storms;
mod verbs;

use super::*;
