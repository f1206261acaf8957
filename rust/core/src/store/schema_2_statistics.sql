-- Statistics of each key and rank over the groups up to stats_state.last_grp, written every 30 s.
-- Of everything that was stored, also what later values or attempts replaced; text is not counted.
CREATE TABLE stats(
    id INTEGER PRIMARY KEY,                -- key * 2^32 + rank
    key INTEGER NOT NULL REFERENCES keys(id),
    rank INTEGER NOT NULL,
    count INTEGER NOT NULL,
    non_finite INTEGER NOT NULL,           -- NaN, infinities and None; the numbers below leave them out
    first_attempt INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    first_time_ns INTEGER NOT NULL,        -- wall clock
    first REAL,                            -- NULL: not a number
    last_attempt INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    last_time_ns INTEGER NOT NULL,
    last REAL,
    min REAL,
    max REAL,
    mean REAL,
    squares REAL,                          -- sum of the squared distances from the mean
    ema_short REAL,
    ema_long REAL,
    sketch BLOB NOT NULL
);
-- What the rows of stats cover. No row, or one that does not fit: they are made again from the groups.
CREATE TABLE stats_state(
    id INTEGER PRIMARY KEY CHECK(id = 1),
    last_grp INTEGER NOT NULL,
    last_col INTEGER NOT NULL,             -- not used: compaction gives ids out again
    count INTEGER NOT NULL,                -- values in all rows of stats
    ema_alpha_short REAL NOT NULL,
    ema_alpha_long REAL NOT NULL
);
-- stats holds [0, stats_lsn) of each lane.
ALTER TABLE lanes ADD COLUMN stats_lsn INTEGER NOT NULL DEFAULT 0;
-- The last group of the bucket of the rollup that a group is in; 0: of none yet.
ALTER TABLE groups ADD COLUMN rollup_grp INTEGER NOT NULL DEFAULT 0;
-- Whether compaction is done with a group.
ALTER TABLE groups ADD COLUMN compacted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX groups_open ON groups(id) WHERE rollup_grp = 0;
CREATE INDEX groups_loose ON groups(producer, layout, id) WHERE compacted = 0;
-- The zoom above the column rows: each row sums up some 8,192 points of a key in one layout of a
-- producer, on the next levels eight rows of the level below.
CREATE TABLE rollup(
    key INTEGER NOT NULL REFERENCES keys(id),
    covered INTEGER NOT NULL,              -- 1: a row of the next level has it
    level INTEGER NOT NULL,                -- from 1; the column rows are level 0
    producer INTEGER NOT NULL REFERENCES producers(id),
    layout INTEGER NOT NULL,               -- -1: frames of key/value pairs
    last_grp INTEGER NOT NULL,             -- the groups of this layout from first_grp up to here
    first_grp INTEGER NOT NULL,
    n INTEGER NOT NULL,
    n_nan INTEGER NOT NULL,
    min REAL,
    max REAL,
    sum REAL,
    first REAL,
    last REAL,
    step_min INTEGER NOT NULL,
    step_max INTEGER NOT NULL,
    bucket BLOB NOT NULL,                  -- the same with the places of these values
    parts BLOB,                            -- level 1: about every 1,024 points as a bucket of its own
    PRIMARY KEY(key, covered, level, producer, layout, last_grp)
) WITHOUT ROWID;
-- For people with a plain SQLite client.
CREATE VIEW statistics AS
    SELECT keys.name AS name, stats.rank AS rank, stats.count AS count,
           stats.non_finite AS non_finite, stats.last_step AS last_step, stats.last AS last,
           stats.min AS min, stats.max AS max, stats.mean AS mean,
           sqrt(stats.squares / (stats.count - stats.non_finite)) AS std,
           stats.ema_short AS ema_short, stats.ema_long AS ema_long
    FROM stats JOIN keys ON keys.id = stats.key;
