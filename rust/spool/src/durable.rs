//! Putting a producer's files on the disk from outside the trainer: which of them need it, and in what order.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::chain::all_chain_files;
use crate::files::Dir;
use crate::lanefile::{chain_name, ring_name};
use crate::reader::ProducerReader;
use crate::tail::Tail;
use crate::types::LaneId;

/// Syncs one file, by its name: `fdatasync` but for tests.
type Sync<'a> = dyn FnMut(&str, &File) -> io::Result<()> + 'a;

/// What was synced before.
#[derive(Debug, Default)]
pub(crate) struct Synced {
    /// The directories that lead here.
    above: bool,
    /// Files of lanes whose names are on the disk.
    names: HashSet<String>,
    /// Chain files, by lane and first LSN, that were synced after their writer had left them: they change no more.
    settled: HashSet<(LaneId, u64)>,
}

/// The files of a producer as they are now, to be put on the disk: another thread may do that while its reader reads.
#[derive(Debug)]
pub struct SyncJob {
    dir: Dir,
    path: PathBuf,
    dict: File,
    rings: Vec<Ring>,
    known: Synced,
}

/// The ring of a lane, and how far the lane was written.
#[derive(Debug)]
struct Ring {
    lane: LaneId,
    written: u64,
    file: File,
}

/// How that went; [`ProducerReader::synced`] wants to know it.
#[derive(Debug)]
pub struct SyncDone {
    known: Synced,
    result: io::Result<Duration>,
}

impl Ring {
    fn of(tail: &Tail) -> io::Result<Self> {
        Ok(Self {
            lane: tail.lane,
            written: tail.written(),
            file: tail.file().try_clone()?,
        })
    }
}

impl SyncJob {
    /// Put on the disk what may have changed.
    #[must_use]
    pub fn run(self) -> SyncDone {
        self.run_with(&mut |_, file| file.sync_data())
    }

    fn run_with(mut self, sync: &mut Sync<'_>) -> SyncDone {
        let began = Instant::now();
        let result = self.sync_all(sync);
        SyncDone {
            known: self.known,
            result: result.map(|()| began.elapsed()),
        }
    }

    /// The dictionary first, for a frame without its layout says nothing.
    fn sync_all(&mut self, sync: &mut Sync<'_>) -> io::Result<()> {
        if !self.known.above {
            for parent in self.path.ancestors().skip(1).take(3) {
                Dir::open(parent)?.sync()?;
            }
            self.known.above = true;
        }
        sync("dict", &self.dict)?;
        let chains = all_chain_files(&self.path)?;
        self.known.settled.retain(|known| chains.contains(known));
        let mut names = HashSet::new();
        for ring in &self.rings {
            let firsts = chains.iter().filter(|(lane, _)| *lane == ring.lane);
            let firsts: Vec<u64> = firsts.map(|(_, first)| *first).collect();
            self.known
                .chain(&self.dir, ring, &firsts, &mut names, sync)?;
            let name = ring_name(ring.lane);
            sync(&name, &ring.file)?;
            names.insert(name);
        }
        // A file that a power cut leaves without its name is gone. Files that left take their names along.
        if !names.is_subset(&self.known.names) {
            self.dir.sync()?;
        }
        self.known.names = names;
        Ok(())
    }
}

impl ProducerReader {
    /// Make everything written so far survive a power cut: the dictionary first, then the lanes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sync_data(&mut self) -> io::Result<Duration> {
        let done = self.sync_job()?.run();
        self.synced(done)
    }

    /// The same as a job for another thread; what it says goes to [`ProducerReader::synced`] before the next one is made.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sync_job(&mut self) -> io::Result<SyncJob> {
        let rings = self.tails().map(Ring::of);
        Ok(SyncJob {
            rings: rings.collect::<io::Result<_>>()?,
            dir: self.dir.try_clone()?,
            path: self.path.clone(),
            dict: self.dict.file().try_clone()?,
            known: std::mem::take(&mut self.synced),
        })
    }

    /// What was made of a job: how long it took.
    ///
    /// # Errors
    /// What stopped it.
    pub fn synced(&mut self, done: SyncDone) -> io::Result<Duration> {
        self.synced = done.known;
        done.result
    }
}

impl Synced {
    /// The chain files of a lane, also those that a slow reader has not come to yet.
    fn chain(
        &mut self,
        dir: &Dir,
        ring: &Ring,
        firsts: &[u64],
        names: &mut HashSet<String>,
        sync: &mut Sync<'_>,
    ) -> io::Result<()> {
        for (i, first) in firsts.iter().enumerate() {
            let name = chain_name(ring.lane, *first);
            let place = (ring.lane, *first);
            if !self.settled.contains(&place) {
                // The writer counts a frame after it has left the file before: past the next file's start means left.
                let is_left = firsts.get(i + 1).is_some_and(|next| ring.written > *next);
                match dir.open_file(&name) {
                    Ok(file) => sync(&name, &file)?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                if is_left {
                    self.settled.insert(place);
                }
            }
            names.insert(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use crate::{
        Flags, LayoutId, Lsn, Mode, Producer, ProducerOptions, ProducerReader, Step, frames,
    };

    /// A producer with a small ring, and a reader that stands at its start.
    fn slow_reader(run_dir: &Path) -> (Producer, LayoutId, ProducerReader) {
        let producer = Producer::create(ProducerOptions {
            lane_bytes: 64 << 10,
            force_mode: Some(Mode::Mmap),
            ..ProducerOptions::alone(run_dir, "sync")
        })
        .unwrap();
        let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
        let mut reader = ProducerReader::open(producer.dir()).unwrap();
        let lane = reader.lanes()[0];
        reader.set_mark(lane, Lsn(0)).unwrap();
        (producer, layout, reader)
    }

    /// Log until there are so many chain files.
    fn fill(producer: &Producer, layout: LayoutId, files: usize) {
        while lanes(producer.dir()).len() < files + 1 {
            for _ in 0..100 {
                producer
                    .append_points(Flags(0), Step(1), layout, &[7; 64])
                    .unwrap();
            }
        }
    }

    fn lanes(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap();
        let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("lane")).collect();
        names.sort();
        names
    }

    fn sync(reader: &mut ProducerReader) -> BTreeMap<String, usize> {
        let mut order = Vec::new();
        let done = reader.sync_job().unwrap().run_with(&mut |name, _| {
            order.push(name.to_owned());
            Ok(())
        });
        reader.synced(done).unwrap();
        assert_eq!(order[0], "dict");
        let mut counts = BTreeMap::new();
        for name in order {
            *counts.entry(name).or_insert(0) += 1;
        }
        counts
    }

    #[test]
    fn files_ahead_of_a_slow_reader_are_synced_until_their_writer_has_left_them() {
        let run = tempfile::tempdir().unwrap();
        let (producer, layout, mut reader) = slow_reader(run.path());
        fill(&producer, layout, 4);
        let files = lanes(producer.dir());
        let first = sync(&mut reader);
        // Once each, all of them, though the reader stands at the start of the ring.
        let want = files.iter().map(|name| (name.clone(), 1));
        assert_eq!(first, want.chain([("dict".to_owned(), 1)]).collect());
        // The last one still changes; those before it do not.
        let second = sync(&mut reader);
        let want = ["dict", "lane0", files[4].as_str()];
        assert_eq!(second.keys().collect::<Vec<_>>(), want);
        // It was left meanwhile, and has a mark that was not on the disk.
        fill(&producer, layout, 5);
        let third = sync(&mut reader);
        let newest = lanes(producer.dir());
        let want = ["dict", "lane0", files[4].as_str(), newest[5].as_str()];
        assert_eq!(third.keys().collect::<Vec<_>>(), want);
        let fourth = sync(&mut reader);
        let want = ["dict", "lane0", newest[5].as_str()];
        assert_eq!(fourth.keys().collect::<Vec<_>>(), want);
    }

    #[test]
    fn what_failed_to_be_synced_is_synced_again() {
        let run = tempfile::tempdir().unwrap();
        let (producer, layout, mut reader) = slow_reader(run.path());
        fill(&producer, layout, 3);
        let job = reader.sync_job().unwrap();
        let done = job.run_with(&mut |name, _| match name.starts_with("lane0.") {
            true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        });
        assert!(reader.synced(done).is_err());
        let mut want = lanes(producer.dir());
        want.insert(0, "dict".into());
        assert_eq!(sync(&mut reader).into_keys().collect::<Vec<_>>(), want);
        let lane = reader.lanes()[0];
        let batch = reader.read(lane, 1 << 20).unwrap().batch.unwrap();
        assert!(frames(&batch.bytes, batch.first).count() > 0);
    }
}
