//! A sketch of a distribution: counts in buckets whose width is a share of their value, after DDSketch
//! (Masson, Rim and Lee, 2019), with the collapse of UDDSketch (Epicoco and others, 2020).
//!
//! A bucket is named by sign, exponent and the first six bits behind the point of a float: 64 buckets from
//! a power of two to the next. The value told for a quantile is then within 1/129 (0.78 %) of a value of that
//! rank; numbers below 2^-1022, whose steps no longer shrink, are within 2^-1028. When the values of a key
//! lie in more than [`MOST_PAGES`] half octaves (a page each), neighbouring buckets are joined, which doubles
//! the width: so memory is bounded by 34 KiB a key, and [`Sketch::relative_error`] tells what holds.

/// Bits of a float that are left out of the name of a bucket.
const DROPPED_BITS: u32 = 52 - 6;
const PAGE_BITS: u32 = 5;
const PAGE: usize = 1 << PAGE_BITS;
/// Pages at most; after six collapses everything fits into so many.
const MOST_PAGES: usize = 128;
const MOST_COLLAPSES: u8 = 6;
/// So many values are kept one by one before there is a page: together they take as much memory.
const MOST_FEW: usize = 64;
/// How many pages there are to choose from.
const PAGE_NUMBERS: usize = 1 << (18 - PAGE_BITS);
const SIGN: u32 = 1 << 17;

/// Bytes that are not a sketch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored sketch cannot be read")]
pub struct DamagedSketch;

/// Counts of finite numbers in buckets.
#[derive(Debug, Clone, Default)]
pub struct Sketch {
    /// How often the width was doubled.
    collapses: u8,
    /// In the order in which they were needed.
    pages: Vec<Page>,
    /// The buckets of the first values, while there is no page and no width was doubled: very many keys have only few.
    few: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Page {
    number: u16,
    counts: [u64; PAGE],
}

/// Where each page of the sketch at hand lies; lent to one sketch after the other.
#[derive(Debug)]
pub(crate) struct Slots(Box<[u8; PAGE_NUMBERS]>);

/// No page; there are fewer than so many.
const NO_PAGE: u8 = u8::MAX;

impl Default for Slots {
    fn default() -> Self {
        Self(Box::new([NO_PAGE; PAGE_NUMBERS]))
    }
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        self.collapses == other.collapses && self.buckets() == other.buckets()
    }
}

impl Sketch {
    /// Count finite numbers.
    pub(crate) fn add(&mut self, values: &[f64], slots: &mut Slots) {
        if self.has_room_for_few(values.len()) {
            let bucket = |value: &f64| (value.to_bits() >> DROPPED_BITS) as u32;
            self.few.extend(values.iter().map(bucket));
            return;
        }
        self.unfold();
        self.lend(slots);
        for value in values {
            let bucket = ((value.to_bits() >> DROPPED_BITS) as u32) >> self.collapses;
            let number = (bucket >> PAGE_BITS) as usize % PAGE_NUMBERS;
            let at = match slots.0[number] {
                NO_PAGE => self.add_page(number as u16, slots),
                at => at,
            };
            // A collapse while adding the page has given this value another bucket.
            let bucket = ((value.to_bits() >> DROPPED_BITS) as u32) >> self.collapses;
            if let Some(page) = self.pages.get_mut(usize::from(at)) {
                page.counts[bucket as usize % PAGE] += 1;
            }
        }
        self.take_back(slots);
    }

    fn has_room_for_few(&self, more: usize) -> bool {
        self.pages.is_empty() && self.collapses == 0 && self.few.len() + more <= MOST_FEW
    }

    /// Count in pages what was kept one by one.
    fn unfold(&mut self) {
        for bucket in std::mem::take(&mut self.few) {
            self.count_bucket(bucket, 1);
        }
    }

    fn count_bucket(&mut self, bucket: u32, count: u64) {
        let at = self.page((bucket >> PAGE_BITS) as u16);
        if let Some(page) = self.pages.get_mut(at) {
            let counted = &mut page.counts[bucket as usize % PAGE];
            *counted = counted.saturating_add(count);
        }
    }

    fn lend(&self, slots: &mut Slots) {
        for (at, page) in self.pages.iter().enumerate() {
            slots.0[usize::from(page.number) % PAGE_NUMBERS] = at as u8;
        }
    }

    fn take_back(&self, slots: &mut Slots) {
        for page in &self.pages {
            slots.0[usize::from(page.number) % PAGE_NUMBERS] = NO_PAGE;
        }
    }

    /// Make room for a page, and tell where it lies.
    #[cold]
    fn add_page(&mut self, number: u16, slots: &mut Slots) -> u8 {
        let mut number = number;
        self.take_back(slots);
        while self.pages.len() >= MOST_PAGES && self.place(number).is_none() {
            self.collapse();
            number >>= 1;
        }
        let at = self.page(number);
        self.lend(slots);
        at as u8
    }

    fn place(&self, number: u16) -> Option<usize> {
        self.pages.iter().position(|page| page.number == number)
    }

    /// Where the page lies; it is made when there is none.
    fn page(&mut self, number: u16) -> usize {
        self.place(number).unwrap_or_else(|| {
            // Most sketches have one or two.
            let more = (self.pages.len() / 2).max(1);
            if self.pages.len() == self.pages.capacity() {
                self.pages.reserve_exact(more);
            }
            self.pages.push(Page {
                number,
                counts: [0; PAGE],
            });
            self.pages.len() - 1
        })
    }

    /// Join each two neighbouring buckets.
    fn collapse(&mut self) {
        self.collapses += 1;
        for old in std::mem::take(&mut self.pages) {
            let half = usize::from(old.number & 1) * (PAGE / 2);
            let at = self.page(old.number >> 1);
            let Some(page) = self.pages.get_mut(at) else {
                continue;
            };
            for (index, count) in old.counts.iter().enumerate() {
                page.counts[(half + index / 2) % PAGE] += count;
            }
        }
    }

    /// Count what another sketch has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.pages.is_empty() && self.has_room_for_few(other.few.len()) {
            self.few.extend_from_slice(&other.few);
            return;
        }
        self.unfold();
        if other.few.is_empty() {
            return self.merge_pages(other);
        }
        let mut theirs = other.clone();
        theirs.unfold();
        self.merge_pages(&theirs);
    }

    fn merge_pages(&mut self, other: &Self) {
        if self.collapses == other.collapses && self.has_room_for(other) {
            return self.add_pages(other);
        }
        let mut theirs = other.clone();
        while self.collapses != theirs.collapses || !self.has_room_for(&theirs) {
            if self.collapses <= theirs.collapses {
                self.collapse();
            } else {
                theirs.collapse();
            }
        }
        self.add_pages(&theirs);
    }

    fn has_room_for(&self, other: &Self) -> bool {
        let new = |page: &&Page| self.place(page.number).is_none();
        self.pages.len() + other.pages.iter().filter(new).count() <= MOST_PAGES
    }

    fn add_pages(&mut self, theirs: &Self) {
        for other in &theirs.pages {
            let at = self.page(other.number);
            if let Some(page) = self.pages.get_mut(at) {
                for (count, more) in page.counts.iter_mut().zip(&other.counts) {
                    *count += more;
                }
            }
        }
    }

    /// The buckets that are not empty with their counts, by name.
    fn buckets(&self) -> Vec<(u32, u64)> {
        let mut buckets: Vec<(u32, u64)> = self
            .pages
            .iter()
            .flat_map(|page| {
                let first = u32::from(page.number) << PAGE_BITS;
                let counted = page.counts.iter().enumerate().filter(|(_, n)| **n > 0);
                counted.map(move |(index, n)| (first + index as u32, *n))
            })
            .collect();
        let mut few = self.few.clone();
        few.sort_unstable();
        let runs = few.chunk_by(|a, b| a == b);
        buckets.extend(runs.filter_map(|run| Some((*run.first()?, run.len() as u64))));
        buckets.sort_unstable();
        buckets
    }

    /// How many numbers were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        let paged: u64 = self.pages.iter().flat_map(|page| &page.counts).sum();
        paged + self.few.len() as u64
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.pages.capacity() * size_of::<Page>() + self.few.capacity() * size_of::<u32>()
    }

    /// How far a quantile may be from a value of its rank, as a share of it.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        let width = f64::from(1u32 << self.collapses.min(MOST_COLLAPSES)) / 64.0;
        width / (2.0 + width)
    }

    /// A value near the one of rank `q * (count - 1)`, rounded down. `None`: nothing was counted.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let buckets = self.buckets();
        let count: u64 = buckets.iter().map(|(_, n)| n).sum();
        let rank = (q.clamp(0.0, 1.0) * count.checked_sub(1)? as f64) as u64;
        let sign = SIGN >> self.collapses;
        let (positive, negative): (Vec<_>, Vec<_>) = buckets
            .into_iter()
            .partition(|(bucket, _)| bucket & sign == 0);
        let mut below = 0;
        for (bucket, n) in negative.into_iter().rev().chain(positive) {
            below += n;
            if below > rank {
                return Some(self.middle(bucket));
            }
        }
        None
    }

    /// The value whose relative distance to both ends of a bucket is the same.
    fn middle(&self, bucket: u32) -> f64 {
        let edge = |bucket: u32| {
            let bits = u64::from((bucket << self.collapses) & (SIGN - 1)) << DROPPED_BITS;
            f64::from_bits(bits)
        };
        let low = edge(bucket);
        let sign = if bucket & (SIGN >> self.collapses) == 0 {
            1.0
        } else {
            -1.0
        };
        if low == 0.0 {
            return 0.0;
        }
        // The upper edge of the last bucket is infinite: half as large both fit.
        let (a, b) = (low / 2.0, half_of_upper(low, self.collapses));
        sign * 2.0 * (a * (2.0 * (b / (a + b))))
    }

    /// As bytes: the collapses, then for each bucket its distance from the one before and its count.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.collapses];
        let mut next = 0;
        for (bucket, count) in self.buckets() {
            put_varint(&mut bytes, u64::from(bucket - next));
            put_varint(&mut bytes, count);
            next = bucket;
        }
        bytes
    }

    /// What [`Sketch::to_bytes`] gave.
    ///
    /// # Errors
    /// [`DamagedSketch`]: these bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DamagedSketch> {
        let (collapses, mut rest) = bytes.split_first().ok_or(DamagedSketch)?;
        if *collapses > MOST_COLLAPSES {
            return Err(DamagedSketch);
        }
        let mut sketch = Self {
            collapses: *collapses,
            ..Self::default()
        };
        let mut bucket = 0u64;
        while !rest.is_empty() {
            let (apart, count) = (take_varint(&mut rest)?, take_varint(&mut rest)?);
            bucket = bucket.checked_add(apart).ok_or(DamagedSketch)?;
            if bucket >= u64::from((2 * SIGN) >> collapses) {
                return Err(DamagedSketch);
            }
            let most_few = usize::try_from(count)
                .unwrap_or(usize::MAX)
                .min(MOST_FEW + 1);
            if sketch.has_room_for_few(most_few) {
                sketch
                    .few
                    .extend(std::iter::repeat_n(bucket as u32, most_few));
                continue;
            }
            sketch.unfold();
            sketch.count_bucket(bucket as u32, count);
            if sketch.pages.len() > MOST_PAGES {
                return Err(DamagedSketch);
            }
        }
        Ok(sketch)
    }
}

/// Half of where the bucket that starts at `low` ends.
fn half_of_upper(low: f64, collapses: u8) -> f64 {
    let bits = low.to_bits() + (1 << (DROPPED_BITS + u32::from(collapses)));
    let exponent = bits >> 52;
    if exponent < 2 {
        return f64::from_bits(bits) / 2.0;
    }
    f64::from_bits(bits - (1 << 52))
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, DamagedSketch> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(DamagedSketch)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DamagedSketch)
}
