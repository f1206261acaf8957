-- What the metrics of a machine are about: the host, a disk, a GPU, a rank.
CREATE TABLE system_sources(
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    name TEXT NOT NULL,                    -- host, cgroup, disk:/, gpu0, rank0
    facts TEXT,                            -- JSON: what does not change, as the name of a GPU
    UNIQUE(host, name)
);
-- One number of a source.
CREATE TABLE system_series(
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES system_sources(id),
    metric TEXT NOT NULL,                  -- with its unit: power_watts
    UNIQUE(source, metric)
);
-- Samples that are not packed yet: a row per look of a probe.
CREATE TABLE system_fresh(
    id INTEGER PRIMARY KEY,
    probe TEXT NOT NULL,                   -- host name and what looked: node1/gpu
    time_ns INTEGER NOT NULL,              -- wall clock
    numbers BLOB NOT NULL                  -- u32 series and f64 value, little-endian, in turn
);
-- Packed samples of one probe: what all its series share.
CREATE TABLE system_chunks(
    id INTEGER PRIMARY KEY,
    probe TEXT NOT NULL,
    every_secs INTEGER NOT NULL,           -- 0: every sample; 60: one row a minute
    n INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,             -- wall clock
    last_ns INTEGER NOT NULL,
    times BLOB NOT NULL
);
CREATE INDEX system_chunks_by_time ON system_chunks(every_secs, last_ns);
-- One series in one chunk; lows and highs are NULL where every sample is there.
CREATE TABLE system_cols(
    chunk INTEGER NOT NULL REFERENCES system_chunks(id),
    series INTEGER NOT NULL REFERENCES system_series(id),
    n INTEGER NOT NULL,
    min REAL NOT NULL,
    max REAL NOT NULL,
    mean REAL NOT NULL,
    last REAL NOT NULL,
    data BLOB NOT NULL,
    lows BLOB,
    highs BLOB,
    PRIMARY KEY(chunk, series)
) WITHOUT ROWID;
-- For people with a plain SQLite client: a row per packed stretch of a series.
CREATE VIEW system AS
    SELECT datetime(c.last_ns / 1000000000, 'unixepoch') AS time, o.host AS host, o.name AS source,
           s.metric AS metric, k.last AS value, k.min AS min, k.mean AS mean, k.max AS max, k.n AS n,
           (c.last_ns - c.first_ns) / 1000000000 AS secs
    FROM system_cols k JOIN system_chunks c ON c.id = k.chunk JOIN system_series s ON s.id = k.series
         JOIN system_sources o ON o.id = s.source;
