//! The keys that somebody who follows wants to see.

/// Keys by number: each value of each frame asks.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    flags: Vec<bool>,
    pub keys: Vec<u32>,
    /// The last key that somebody was told of.
    pub last_told: u32,
}

impl Wanted {
    pub(super) fn add(&mut self, key: u32) {
        let at = key as usize;
        if self.flags.len() <= at {
            self.flags.resize(at + 1, false);
        }
        if let Some(flag) = self.flags.get_mut(at).filter(|flag| !**flag) {
            *flag = true;
            self.keys.push(key);
        }
    }

    /// A key that nobody was told of yet counts as wanted.
    pub(super) fn has(&self, key: u32) -> bool {
        let flag = self.flags.get(key as usize).copied();
        flag.unwrap_or(key > self.last_told)
    }
}
