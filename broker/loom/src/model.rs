//! How far a model is followed.

/// Most times that a thread is interrupted where it need not be. Few races need more, and with more a model of three
/// threads takes minutes.
const PREEMPTIONS_MAX: usize = 3;

/// Runs the model in every order of its threads' steps.
pub(crate) fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}
