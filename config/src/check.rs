//! What one key cannot know of another: duplicates, and bounds that have to fit each other.

use crate::Config;
use crate::report::Report;

pub(crate) fn check(config: &Config, report: &mut Report) {
    let _ = (config, report);
}
