//! The difference of two texts, as patches have it, in bounded time.

use std::time::Duration;

use similar::TextDiff;

/// A unified diff with three lines of context; empty where the texts are equal.
///
/// # Arguments
/// `within`: after so long the rest is given as replaced whole.
#[must_use]
pub fn unified(old: &str, new: &str, names: (&str, &str), within: Duration) -> String {
    if old == new {
        return String::new();
    }
    let diff = TextDiff::configure().timeout(within).diff_lines(old, new);
    diff.unified_diff()
        .context_radius(3)
        .header(names.0, names.1)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_changed_line_stands_between_its_neighbours() {
        let text = unified(
            "a\nb\nc\n",
            "a\nB\nc\n",
            ("old", "new"),
            Duration::from_secs(5),
        );
        assert_eq!(text, "--- old\n+++ new\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
    }

    #[test]
    fn texts_that_have_nothing_in_order_take_no_longer_than_allowed() {
        let lines = |odd: usize| -> String {
            (0..60_000)
                .map(|n| format!("{}\n", (n * odd) % 997))
                .collect()
        };
        let began = Instant::now();
        let text = unified(
            &lines(13),
            &lines(31),
            ("a", "b"),
            Duration::from_millis(200),
        );
        assert!(!text.is_empty());
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
