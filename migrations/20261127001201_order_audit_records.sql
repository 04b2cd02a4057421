-- What a watch of audit records follows: the transaction that stored a record. Below the oldest transaction that still
-- runs nothing can appear any more, so whoever reads up to there, in this order, misses nothing and sees nothing twice;
-- times of storing could not give that, as they are taken before the commit. Null: stored before this migration. After a
-- logical restore into another cluster the numbers begin anew: watches then have to begin anew, too.
ALTER TABLE audit_records ADD COLUMN xact bigint;
ALTER TABLE audit_records ALTER COLUMN xact SET DEFAULT pg_current_xact_id()::text::bigint;
-- Records lie in the order in which they are stored, so a few bytes for many pages are enough.
CREATE INDEX audit_records_by_xact ON audit_records USING brin (xact) WITH (pages_per_range = 16, autosummarize = on);
