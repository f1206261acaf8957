//! The append family: keys, layouts, and calls turned into words before a lane is claimed.

use std::sync::atomic::Ordering;

use crate::frame::{Flags, Kind, ValueType};
use crate::producer::Producer;
use crate::types::{KeyId, LayoutId, Reject, Step};
use crate::writer::Call;

impl Producer {
    /// The number of a key, defined on first use. Not to be called between claim and release.
    ///
    /// # Errors
    /// Too long, or no space for its definition.
    pub fn key(&self, name: &[u8]) -> Result<KeyId, Reject> {
        let mut ids = Vec::with_capacity(1);
        self.keys(std::iter::once(name), &mut ids)?;
        ids.first().copied().ok_or(Reject::NoSpace)
    }

    /// The numbers of many keys, appended to `ids`; new ones are defined in one write.
    ///
    /// # Errors
    /// Too long, or no space for the definitions; then `ids` is as before.
    pub fn keys<'k>(
        &self,
        names: impl Iterator<Item = &'k [u8]>,
        ids: &mut Vec<KeyId>,
    ) -> Result<(), Reject> {
        if self.in_forked_child() {
            return Err(Reject::Forked);
        }
        self.dict.keys(names, ids)
    }

    /// The number of a layout, defined on first use.
    ///
    /// # Errors
    /// [`Reject::TooManyLayouts`]: write pairs instead; or no space.
    pub fn layout(&self, keys: &[KeyId]) -> Result<LayoutId, Reject> {
        if self.in_forked_child() {
            return Err(Reject::Forked);
        }
        self.dict.layout(keys)
    }

    /// Append a frame of f64 values: the fast path. Returns when it was written, by CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// The frame was not accepted; it was counted by its reason.
    #[inline]
    pub fn append_points(
        &self,
        flags: Flags,
        step: Step,
        layout: LayoutId,
        slots: &[u64],
    ) -> Result<i64, Reject> {
        let flags = flags.0 & Flags::FORCE_ANALYSIS;
        self.append(&call(
            Kind::Points,
            flags,
            step,
            layout,
            slots.len(),
            slots,
            &[],
        ))
    }

    /// Append a frame whose values are not all f64. Text and big ints lie in `side`; their slots are
    /// [`crate::side_slot`]s.
    ///
    /// # Errors
    /// As [`Producer::append_points`].
    pub fn append_typed(
        &self,
        flags: Flags,
        step: Step,
        layout: LayoutId,
        slots: &[u64],
        types: &[ValueType],
        side: &[u8],
    ) -> Result<i64, Reject> {
        let mut tail = Vec::new();
        push_types(&mut tail, types, side);
        let flags = (flags.0 & Flags::FORCE_ANALYSIS) | Flags::TYPED;
        self.append(&call(
            Kind::Points,
            flags,
            step,
            layout,
            slots.len(),
            slots,
            &tail,
        ))
    }

    /// Append a frame that names its keys one by one. `types`: `None` when all values are f64.
    ///
    /// # Errors
    /// As [`Producer::append_points`].
    pub fn append_pairs(
        &self,
        flags: Flags,
        step: Step,
        keys: &[KeyId],
        slots: &[u64],
        types: Option<&[ValueType]>,
        side: &[u8],
    ) -> Result<i64, Reject> {
        let bytes: Vec<u8> = keys.iter().flat_map(|k| k.0.to_le_bytes()).collect();
        let mut tail = Vec::new();
        push_bytes(&mut tail, &bytes);
        let mut flags = (flags.0 & Flags::FORCE_ANALYSIS) | Flags::PAIRS;
        if let Some(types) = types {
            flags |= Flags::TYPED;
            push_types(&mut tail, types, side);
        }
        self.append(&call(
            Kind::Points,
            flags,
            step,
            LayoutId(0),
            slots.len(),
            slots,
            &tail,
        ))
    }

    /// Append JSON of a kind other than points.
    ///
    /// # Errors
    /// As [`Producer::append_points`].
    pub fn append_blob(
        &self,
        kind: Kind,
        flags: Flags,
        step: Step,
        bytes: &[u8],
    ) -> Result<i64, Reject> {
        let mut body = Vec::new();
        push_bytes(&mut body, bytes);
        let flags = flags.0 & Flags::FORCE_ANALYSIS;
        self.append(&call(
            kind,
            flags,
            step,
            LayoutId(0),
            bytes.len(),
            &body,
            &[],
        ))
    }

    #[inline]
    pub(crate) fn append(&self, call: &Call<'_>) -> Result<i64, Reject> {
        if self.in_forked_child() {
            return Err(Reject::Forked);
        }
        let done = self.lanes.append(&self.home, call, self);
        match done {
            Ok(_) => {
                if call.kind == Kind::Points as u8 {
                    self.last_step.store(call.step, Ordering::Relaxed);
                }
            }
            Err(why) => self.reject(why),
        }
        done
    }
}

#[inline]
fn call<'a>(
    kind: Kind,
    flags: u8,
    step: Step,
    layout: LayoutId,
    n: usize,
    body: &'a [u64],
    tail: &'a [u64],
) -> Call<'a> {
    Call {
        kind: kind as u8,
        flags,
        step: step.0,
        layout: layout.0,
        n: n as u32,
        body,
        tail,
    }
}

fn push_bytes(words: &mut Vec<u64>, bytes: &[u8]) {
    let (chunks, rest) = bytes.as_chunks::<8>();
    words.extend(chunks.iter().map(|c| u64::from_le_bytes(*c)));
    if !rest.is_empty() {
        let mut last = [0u8; 8];
        last[..rest.len()].copy_from_slice(rest);
        words.push(u64::from_le_bytes(last));
    }
}

fn push_types(words: &mut Vec<u64>, types: &[ValueType], side: &[u8]) {
    let bytes: Vec<u8> = types.iter().map(|t| *t as u8).collect();
    push_bytes(words, &bytes);
    push_bytes(words, side);
}
