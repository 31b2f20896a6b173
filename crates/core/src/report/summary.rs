//! What is going on, in one sentence?

use super::ready::Obstacle;
use super::{FailureKind, Outcome};
use crate::plan::{Plan, Scene, Severity};
use crate::world::Component;

/// One sentence for the `Summary` column: the most serious thing first.
pub(super) fn of_pass(
    scene: &Scene<'_>,
    plan: &Plan,
    outcomes: &[Outcome],
    obstacle: Option<&Obstacle>,
) -> String {
    let refused = outcomes
        .iter()
        .filter_map(|o| o.result.as_ref().err())
        .find(|failure| matches!(failure.kind, FailureKind::Refused | FailureKind::Foreign));
    if let Some(failure) = refused {
        return format!("A step was refused: {}", failure.message);
    }
    let worst = [Severity::Degraded, Severity::Held, Severity::Progress]
        .into_iter()
        .find_map(|severity| plan.waits.iter().find(|w| w.severity == severity));
    match (obstacle, worst) {
        (Some(_), Some(wait)) => sentence(&wait.detail),
        (Some(obstacle), None) => sentence(&obstacle.message),
        (None, Some(wait)) if wait.severity != Severity::Progress => {
            format!("Serving; {}", wait.detail)
        }
        (None, _) => format!(
            "Serving with {} PD members and {} stores",
            scene.wanted(Component::Pd).len(),
            scene.wanted(Component::Tikv).len()
        ),
    }
}

fn sentence(detail: &str) -> String {
    let mut letters = detail.chars();
    letters.next().map_or_else(String::new, |first| {
        // Names of objects stay as they are written.
        if detail.starts_with(|c: char| c.is_ascii_lowercase()) && !detail.contains('-') {
            first.to_uppercase().chain(letters).collect()
        } else {
            detail.to_owned()
        }
    })
}
