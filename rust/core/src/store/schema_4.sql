-- Those who watch a run ask for one kind again and again.
CREATE INDEX events_by_kind ON events(kind, id);
-- For people with a plain SQLite client: what was said of the run, and the conversation about it.
CREATE VIEW analyses AS
    SELECT json_extract(detail, '$.id') AS id, datetime(time_ns / 1000000000, 'unixepoch') AS time, step,
           json_extract(detail, '$.trigger') AS "trigger", json_extract(detail, '$.status') AS status,
           json_extract(detail, '$.summary') AS summary, json_extract(detail, '$.rung') AS rung,
           json_extract(detail, '$.model') AS model, json_extract(detail, '$.score') AS score, detail
    FROM events WHERE kind = 'analysis';
CREATE VIEW messages AS
    SELECT json_extract(detail, '$.id') AS id, datetime(time_ns / 1000000000, 'unixepoch') AS time,
           json_extract(detail, '$.channel') AS channel, json_extract(detail, '$.role') AS role,
           json_extract(detail, '$.text') AS text
    FROM events WHERE kind = 'message';
