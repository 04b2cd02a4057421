-- Records that a proxy uploaded and that cannot stand in the log as they are: kept byte for byte with the reason, so that
-- such a one neither is lost nor holds up those behind it. No tenant's: what it says of itself is not believed.
CREATE TABLE audit_quarantine (
  -- Who uploaded it, and in which run's batch.
  proxy_id uuid NOT NULL REFERENCES proxies (id) ON DELETE CASCADE,
  boot bytea NOT NULL CHECK (octet_length(boot) = 16),
  -- SHA-256 of the bytes: what is sent again is the same row.
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  reason text NOT NULL,
  body bytea NOT NULL,
  arrived_at timestamptz NOT NULL,
  PRIMARY KEY (proxy_id, boot, digest)
);
GRANT SELECT, INSERT ON audit_quarantine TO portcullis_ops;

-- The proxy that found the run's records in its spool, where it is not the one that recorded them.
ALTER TABLE audit_sources ADD COLUMN uploaded_by uuid REFERENCES proxies (id);
GRANT UPDATE (uploaded_by) ON audit_sources TO portcullis_ops;

-- What a proxy said last of itself.
ALTER TABLE proxies
  ADD COLUMN spool_bytes bigint CHECK (spool_bytes >= 0),
  ADD COLUMN spool_at timestamptz,
  -- Its clock less ours, milliseconds.
  ADD COLUMN clock_skew_ms bigint;
GRANT UPDATE (spool_bytes, spool_at, clock_skew_ms) ON proxies TO portcullis_ops;
