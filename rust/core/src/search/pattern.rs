//! A pattern made ready: it passes each byte once, whatever somebody wrote.

use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;

/// Whoever writes more wants something else.
const LONGEST_CHARS: usize = 2_000;
const DEEPEST: u32 = 60;
/// Of the automaton; one step of it costs as much as this holds.
const MOST_BYTES: usize = 192 << 10;
const CACHE_BYTES: usize = 4 << 20;

/// Why a pattern is refused.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It is empty, or longer than anybody would write.
    #[error("a pattern has from 1 to {LONGEST_CHARS} characters, and this one has {chars}")]
    Length {
        /// How many it has.
        chars: usize,
    },
    /// It is no regular expression of ours.
    #[error("not a regular expression: {why}")]
    Invalid {
        /// What is wrong, and where.
        why: String,
    },
    /// It means so much that searching for it would take too long.
    #[error(
        "the regular expression is too large: use fewer or smaller repetitions such as {{1,100}}"
    )]
    TooLarge,
}

/// A pattern, and what it has learned of the text so far.
#[derive(Debug)]
pub struct Pattern {
    pub(super) dfa: DFA,
    pub(super) cache: Cache,
}

impl Pattern {
    /// Make a pattern ready.
    ///
    /// # Arguments
    /// `regex`: it is a regular expression, as the crate `regex` has them, and no literal text. `\b` knows ASCII.
    ///
    /// # Errors
    /// [`PatternError`]: it cannot be read, or is too large.
    pub fn new(text: &str, regex: bool, ignore_case: bool) -> Result<Self, PatternError> {
        let chars = text.chars().count();
        if !(1..=LONGEST_CHARS).contains(&chars) {
            return Err(PatternError::Length { chars });
        }
        let escaped;
        let pattern = if regex {
            text
        } else {
            escaped = escape(text);
            &escaped
        };
        let unicode = build(pattern, ignore_case, true);
        let dfa = match unicode {
            // A lazy automaton has no word boundaries of Unicode.
            Err(BuildError::Word) => build(pattern, ignore_case, false),
            built => built,
        };
        let dfa = dfa.map_err(|error| match error {
            BuildError::Invalid(why) => PatternError::Invalid { why },
            BuildError::TooLarge | BuildError::Word => PatternError::TooLarge,
        })?;
        let cache = dfa.create_cache();
        Ok(Self { dfa, cache })
    }
}

enum BuildError {
    Invalid(String),
    TooLarge,
    Word,
}

fn build(pattern: &str, ignore_case: bool, unicode: bool) -> Result<DFA, BuildError> {
    let syntax = syntax::Config::new()
        .case_insensitive(ignore_case)
        .unicode(unicode)
        .utf8(false)
        .nest_limit(DEEPEST);
    if let Err(error) = syntax::parse_with(pattern, &syntax) {
        return Err(BuildError::Invalid(one_line(&error.to_string())));
    }
    let thompson = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(MOST_BYTES))
        .which_captures(WhichCaptures::None);
    let nfa = thompson::Compiler::new()
        .syntax(syntax)
        .configure(thompson)
        .build(pattern)
        .map_err(|_| BuildError::TooLarge)?;
    if nfa.look_set_any().contains_word_unicode() {
        return Err(BuildError::Word);
    }
    let config = Config::new()
        .cache_capacity(CACHE_BYTES)
        .skip_cache_capacity_check(true);
    DFA::builder()
        .configure(config)
        .build_from_nfa(nfa)
        .map_err(|_| BuildError::TooLarge)
}

/// What the parser says takes several lines, with a picture: of it the last, which says why.
fn one_line(text: &str) -> String {
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    let why = last.unwrap_or_default().trim();
    why.strip_prefix("error: ").unwrap_or(why).to_owned()
}

/// The text as a regular expression that means only itself.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let why = |text: &str| Pattern::new(text, true, false).unwrap_err().to_string();
        assert_eq!(why("("), "not a regular expression: unclosed group");
        assert!(why("(?P<a>x)\\1").contains("backreferences are not supported"));
        assert!(why("a{1,1000}{1,1000}").contains("too large"));
        assert!(why("").contains("from 1 to 2000 characters"));
        assert!(why(&"a".repeat(3000)).contains("and this one has 3000"));
        assert!(why(&"(".repeat(500)).starts_with("not a regular expression"));
    }

    #[test]
    fn a_literal_means_itself() {
        for text in ["a.b*(c)[d]{2}^$|\\", "x - y ~ #z && w", "ü\u{1F680}"] {
            assert!(Pattern::new(text, false, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn word_boundaries_are_known() {
        assert!(Pattern::new(r"\bloss\b", true, true).is_ok());
    }
}
