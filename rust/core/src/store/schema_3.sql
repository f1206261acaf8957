-- boottime + the offset that the first producer of the boot had to the wall clock: tells the order within an
-- attempt, whatever was done to the wall clock meanwhile. The numbers first_time_ns and last_time_ns of stats
-- are of this kind, too.
ALTER TABLE latest ADD COLUMN order_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE recent ADD COLUMN order_ns INTEGER NOT NULL DEFAULT 0;
UPDATE latest SET order_ns = time_ns;
UPDATE recent SET order_ns = time_ns;
