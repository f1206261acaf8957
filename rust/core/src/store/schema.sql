-- One launch of the run; the number is the attempt.
CREATE TABLE attempts(
    id INTEGER PRIMARY KEY,
    job_key TEXT NOT NULL UNIQUE,
    started_ns INTEGER NOT NULL,           -- wall clock of its first producer
    config TEXT                            -- JSON, from the lowest rank that sent one
);
-- One process that logs.
CREATE TABLE producers(
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    attempt INTEGER NOT NULL REFERENCES attempts(id),
    parent TEXT,                           -- uuid of the producer it was forked from
    rank INTEGER NOT NULL,
    local_rank INTEGER NOT NULL,
    world INTEGER NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    time_namespace INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    mode TEXT NOT NULL,                    -- mmap, pwrite
    boottime_ns INTEGER NOT NULL,          -- both clocks at its start
    wall_ns INTEGER NOT NULL,
    frames INTEGER NOT NULL DEFAULT 0,     -- stored
    points INTEGER NOT NULL DEFAULT 0,     -- stored
    accepted_points INTEGER,               -- its own count, when it ended
    rejected TEXT,                         -- JSON by reason, when it ended
    closed_ns INTEGER,                     -- wall clock of its close()
    ended_ns INTEGER,                      -- wall clock when it was found ended and drained
    ended_how TEXT                         -- closed, died
);
-- How far each lane is stored: groups hold [0, sealed_lsn), fresh holds [sealed_lsn, mark_lsn).
CREATE TABLE lanes(
    producer INTEGER NOT NULL REFERENCES producers(id),
    lane INTEGER NOT NULL,
    mark_lsn INTEGER NOT NULL,
    sealed_lsn INTEGER NOT NULL,
    PRIMARY KEY(producer, lane)
) WITHOUT ROWID;
-- Metric names. raw holds the bytes of a name that is not valid UTF-8.
CREATE TABLE keys(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    raw BLOB
);
CREATE INDEX keys_by_name ON keys(name);
-- The numbers a producer uses in its frames, and what they mean here.
CREATE TABLE producer_keys(
    producer INTEGER NOT NULL REFERENCES producers(id),
    id INTEGER NOT NULL,
    key INTEGER NOT NULL REFERENCES keys(id),
    PRIMARY KEY(producer, id)
) WITHOUT ROWID;
CREATE TABLE layouts(
    producer INTEGER NOT NULL REFERENCES producers(id),
    id INTEGER NOT NULL,
    keys BLOB NOT NULL,                    -- u32 little-endian ids of keys
    PRIMARY KEY(producer, id)
) WITHOUT ROWID;
-- Raw frames that are not sealed yet.
CREATE TABLE fresh(
    id INTEGER PRIMARY KEY,
    producer INTEGER NOT NULL REFERENCES producers(id),
    lane INTEGER NOT NULL,
    first_lsn INTEGER NOT NULL,
    last_lsn INTEGER NOT NULL,
    frames BLOB NOT NULL
);
CREATE INDEX fresh_by_producer ON fresh(producer);
-- Sealed frames of one layout: what all their keys share.
CREATE TABLE groups(
    id INTEGER PRIMARY KEY,
    producer INTEGER NOT NULL REFERENCES producers(id),
    layout INTEGER,                        -- NULL: frames of key/value pairs
    n INTEGER NOT NULL,
    step_min INTEGER NOT NULL,
    step_max INTEGER NOT NULL,
    time_min INTEGER NOT NULL,             -- boottime ns
    time_max INTEGER NOT NULL,
    steps BLOB NOT NULL,
    times BLOB NOT NULL
);
CREATE INDEX groups_by_step ON groups(step_max);
-- One key in one group. min, max and sum leave out what is not finite; n_nan counts that.
CREATE TABLE cols(
    id INTEGER PRIMARY KEY,
    key INTEGER NOT NULL REFERENCES keys(id),
    grp INTEGER NOT NULL REFERENCES groups(id),
    n INTEGER NOT NULL,
    n_nan INTEGER NOT NULL,
    min REAL,
    max REAL,
    sum REAL,
    first REAL,
    last REAL,
    data BLOB NOT NULL
);
CREATE INDEX cols_by_key ON cols(key, grp, n);
-- The first step of each key in each attempt: from there on it hides what earlier attempts logged.
CREATE TABLE firsts(
    attempt INTEGER NOT NULL REFERENCES attempts(id),
    key INTEGER NOT NULL REFERENCES keys(id),
    step INTEGER NOT NULL,
    PRIMARY KEY(attempt, key)
) WITHOUT ROWID;
-- The last value of each key and rank, written once a second.
CREATE TABLE latest(
    key INTEGER NOT NULL REFERENCES keys(id),
    rank INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,              -- wall clock
    value,                                 -- what is not finite is text: NaN, Infinity, -Infinity
    kind INTEGER NOT NULL,                 -- 0 float, 1 int, 2 bool, 3 big int, 4 none, 5 text
    PRIMARY KEY(key, rank)
) WITHOUT ROWID;
-- The last steps as JSON objects, written once a second.
CREATE TABLE recent(
    attempt INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    step INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,              -- wall clock
    metrics TEXT NOT NULL,
    PRIMARY KEY(attempt, rank, step)
) WITHOUT ROWID;
-- Values that are text.
CREATE TABLE text(
    id INTEGER PRIMARY KEY,
    key INTEGER NOT NULL REFERENCES keys(id),
    producer INTEGER NOT NULL REFERENCES producers(id),
    step INTEGER NOT NULL,
    time INTEGER NOT NULL,                 -- boottime ns
    value NOT NULL                         -- TEXT; BLOB if it is not valid UTF-8
);
CREATE INDEX text_by_key ON text(key, step);
CREATE INDEX text_by_step ON text(step);
-- What is missing, and why.
CREATE TABLE gaps(
    id INTEGER PRIMARY KEY,
    producer INTEGER REFERENCES producers(id),
    lane INTEGER,
    first_lsn INTEGER,
    last_lsn INTEGER,
    frames_lost INTEGER,                   -- NULL: not known
    reason TEXT NOT NULL,
    noticed_ns INTEGER NOT NULL,           -- wall clock
    detail TEXT
);
CREATE TABLE alerts(
    id INTEGER PRIMARY KEY,
    producer INTEGER NOT NULL REFERENCES producers(id),
    step INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,              -- wall clock
    level TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    wait_duration REAL NOT NULL            -- seconds
);
-- Things that happened: force_analysis, events and samples sent by producers, our own incidents.
CREATE TABLE events(
    id INTEGER PRIMARY KEY,
    producer INTEGER REFERENCES producers(id),
    kind TEXT NOT NULL,
    step INTEGER,
    time_ns INTEGER NOT NULL,              -- wall clock
    detail TEXT
);
-- wall clock = boottime + offset, per machine; a row when the offset moved.
CREATE TABLE clock(
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    time_namespace INTEGER NOT NULL,
    boottime_ns INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL
);
-- For people with a plain SQLite client.
CREATE VIEW latest_values AS
    SELECT keys.name AS name, latest.rank AS rank, latest.attempt AS attempt, latest.step AS step,
           datetime(latest.time_ns / 1000000000, 'unixepoch') AS time, latest.value AS value
    FROM latest JOIN keys ON keys.id = latest.key;
CREATE VIEW summaries AS
    SELECT keys.name AS name, producers.rank AS rank, producers.attempt AS attempt,
           groups.step_min AS step_min, groups.step_max AS step_max, cols.n AS n, cols.n_nan AS n_nan,
           cols.min AS min, cols.max AS max, cols.sum AS sum, cols.first AS first, cols.last AS last
    FROM cols JOIN keys ON keys.id = cols.key JOIN groups ON groups.id = cols.grp
         JOIN producers ON producers.id = groups.producer;
