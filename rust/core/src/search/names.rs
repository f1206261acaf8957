//! Names of files as `.gitignore` means them: the last line that fits decides.

use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// So many lines of a list count; nobody writes more.
const MOST_LINES: usize = 5_000;
const LONGEST_LINE: usize = 1_000;

/// Lines of a `.gitignore`, or of a list of code.
#[derive(Debug)]
pub struct Names {
    lines: Gitignore,
}

impl Names {
    /// Read the lines; those that are no globs are left out.
    #[must_use]
    pub fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut builder = GitignoreBuilder::new("");
        let known = lines.into_iter().filter(|line| line.len() <= LONGEST_LINE);
        for line in known.take(MOST_LINES) {
            // What git cannot read either means nothing.
            let _ = builder.add_line(None, line);
        }
        let lines = builder.build().unwrap_or_else(|_| Gitignore::empty());
        Self { lines }
    }

    /// Whether a line means this path, or takes it out again (`!`); `None`: no line says anything about it.
    ///
    /// # Arguments
    /// `path`: relative to where the lines stand. `whole`: a line that means a directory above it counts as well.
    #[must_use]
    pub fn means(&self, path: &Path, is_dir: bool, whole: bool) -> Option<bool> {
        if path.has_root() {
            return None;
        }
        let found = if whole {
            self.lines.matched_path_or_any_parents(path, is_dir)
        } else {
            self.lines.matched(path, is_dir)
        };
        match found {
            Match::None => None,
            Match::Ignore(_) => Some(true),
            Match::Whitelist(_) => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(lines: &[&str], path: &str) -> Option<bool> {
        Names::new(lines.iter().copied()).means(Path::new(path), false, true)
    }

    #[test]
    fn the_last_line_that_fits_decides() {
        let lines = ["*.log", "!keep.log", "build/", "/top.txt"];
        assert_eq!(means(&lines, "a/b.log"), Some(true));
        assert_eq!(means(&lines, "keep.log"), Some(false));
        assert_eq!(means(&lines, "build/x.py"), Some(true));
        assert_eq!(means(&lines, "a/top.txt"), None);
        assert_eq!(means(&lines, "/etc/passwd"), None);
    }

    #[test]
    fn a_line_that_is_no_glob_says_nothing() {
        assert_eq!(means(&["a[", "b.py"], "b.py"), Some(true));
    }
}
