-- How far the records of each run of each proxy have arrived, and what is missing among them. Derived from what was
-- uploaded, so no tenant's: a sequence number is used for the next record of any tenant.

CREATE TABLE audit_sources (
  proxy_id uuid NOT NULL REFERENCES proxies (id) ON DELETE CASCADE,
  boot bytea NOT NULL CHECK (octet_length(boot) = 16),
  -- Everything up to here arrived, bar what audit_gaps lists.
  seq bigint NOT NULL CHECK (seq >= 0),
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  PRIMARY KEY (proxy_id, boot)
);

CREATE TABLE audit_gaps (
  proxy_id uuid NOT NULL,
  boot bytea NOT NULL,
  from_seq bigint NOT NULL,
  to_seq bigint NOT NULL CHECK (to_seq >= from_seq),
  noticed_at timestamptz NOT NULL,
  PRIMARY KEY (proxy_id, boot, from_seq),
  FOREIGN KEY (proxy_id, boot) REFERENCES audit_sources (proxy_id, boot) ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE (seq, last_at) ON audit_sources TO portcullis_ops;
GRANT SELECT, INSERT ON audit_gaps TO portcullis_ops;
