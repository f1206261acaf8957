//! From metric names to a layout, when the addresses of the keys are not known: a look at the bytes of each name.

use std::collections::HashMap;
use std::sync::Arc;

use tm_spool::{KeyId, LayoutId, Producer, Reject};

use super::hash::Build;

/// Bytes of names kept here; beyond, the producer's own dictionary is asked each time.
const MOST_NAME_BYTES: usize = 4 << 20;
/// Key ids kept in remembered layouts.
const MOST_IDS: usize = 1 << 18;

/// How the keys of a frame are written.
#[derive(Clone, Debug)]
pub enum Target {
    /// By the number of a defined layout.
    Layout(LayoutId),
    /// Key by key: there are too many layouts already.
    Pairs(Arc<[KeyId]>),
}

/// Names and layouts of one producer, as far as they were met and fit.
#[derive(Default)]
pub struct Names {
    ids: HashMap<Box<[u8]>, KeyId, Build>,
    name_bytes: usize,
    targets: HashMap<Box<[KeyId]>, LayoutId, Build>,
    target_ids: usize,
}

impl Names {
    /// The number of a name, defining it on first use.
    ///
    /// # Errors
    /// The producer's reason: the name is too long, or there is no space to define it.
    pub fn key(&mut self, producer: &Producer, name: &[u8]) -> Result<KeyId, Reject> {
        if let Some(&id) = self.ids.get(name) {
            return Ok(id);
        }
        let id = producer.key(name)?;
        if self.name_bytes + name.len() <= MOST_NAME_BYTES {
            self.name_bytes += name.len();
            self.ids.insert(name.into(), id);
        }
        Ok(id)
    }

    /// Whether a name needs no definition.
    pub fn is_known(&self, name: &[u8]) -> bool {
        self.ids.contains_key(name)
    }

    /// How a frame with these keys is written, defining the layout on first use.
    ///
    /// # Errors
    /// The producer's reason, other than that there are too many layouts.
    pub fn target(&mut self, producer: &Producer, ids: &[KeyId]) -> Result<Target, Reject> {
        if let Some(&layout) = self.targets.get(ids) {
            return Ok(Target::Layout(layout));
        }
        match producer.layout(ids) {
            Ok(layout) => {
                if self.target_ids + ids.len() <= MOST_IDS {
                    self.target_ids += ids.len();
                    self.targets.insert(ids.into(), layout);
                }
                Ok(Target::Layout(layout))
            }
            Err(Reject::TooManyLayouts) => Ok(Target::Pairs(ids.into())),
            Err(why) => Err(why),
        }
    }
}
