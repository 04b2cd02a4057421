-- What a proxy reads, as it said last: one that does not take the fleet's configuration is not waited for. Null: it has said
-- nothing since this migration.
ALTER TABLE proxies ADD COLUMN protocol integer;
-- Connections that its bound for each address turned away in this run, and how many it had by the time it applied the revision.
ALTER TABLE proxies
  ADD COLUMN turned_away bigint NOT NULL DEFAULT 0,
  ADD COLUMN global_turned_away bigint NOT NULL DEFAULT 0;
GRANT SELECT (protocol, turned_away, global_turned_away), UPDATE (protocol, turned_away, global_turned_away)
  ON proxies TO portcullis_ops;
