-- Configuration of the fleet, which reaches proxies in stages.

CREATE TABLE global_revisions (
  -- Gapless, from 1; the lock of the rollout's row orders them.
  rev bigint PRIMARY KEY CHECK (rev > 0),
  -- wire.v1.GlobalSnapshot, exactly as compiled.
  body bytea NOT NULL,
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  -- The revision whose content came again with this one.
  repeats bigint REFERENCES global_revisions (rev),
  actor text NOT NULL,
  created_at timestamptz NOT NULL
);

-- One row: what each proxy is to enforce. Whatever is done to it is done under its lock.
CREATE TABLE global_rollout (
  one boolean PRIMARY KEY CHECK (one),
  state text NOT NULL CHECK (state IN ('complete', 'rolling', 'halted', 'rolled_back')),
  -- The newest revision, for proxies in the stage. Null: there was never any.
  target_rev bigint REFERENCES global_revisions (rev),
  -- For all others. Null: they go by what they were started with.
  stable_rev bigint REFERENCES global_revisions (rev),
  -- Per cent of the fleet.
  stage smallint NOT NULL CHECK (stage IN (1, 10, 50, 100)),
  -- In the stage whatever its share, so that a small fleet has a first stage too.
  first_proxy uuid REFERENCES proxies (id),
  stage_at timestamptz NOT NULL,
  soak_seconds integer NOT NULL CHECK (soak_seconds BETWEEN 0 AND 86400),
  -- Why it was halted or rolled back.
  reason text,
  CHECK (state = 'rolling' OR state = 'halted' OR stage = 100)
);
INSERT INTO global_rollout (one, state, stage, stage_at, soak_seconds) VALUES (true, 'complete', 100, now(), 600);

ALTER TABLE proxies
  -- What it has answered in this run, as its last beat said.
  ADD COLUMN answers bigint NOT NULL DEFAULT 0,
  ADD COLUMN refusals bigint NOT NULL DEFAULT 0,
  ADD COLUMN failures bigint NOT NULL DEFAULT 0,
  -- The revision of the fleet's configuration that it enforces, 0 when none; the last that it refused, and why.
  ADD COLUMN global_rev bigint NOT NULL DEFAULT 0,
  ADD COLUMN global_digest bytea,
  ADD COLUMN global_rejected_rev bigint NOT NULL DEFAULT 0,
  ADD COLUMN global_rejected_code text,
  ADD COLUMN global_rejected_detail text,
  -- When it said so first, which run did, and what that run had answered by then.
  ADD COLUMN global_at timestamptz,
  ADD COLUMN global_boot bytea,
  ADD COLUMN global_answers bigint NOT NULL DEFAULT 0,
  ADD COLUMN global_refusals bigint NOT NULL DEFAULT 0,
  ADD COLUMN global_failures bigint NOT NULL DEFAULT 0;

GRANT SELECT, INSERT ON global_revisions TO portcullis_ops;
GRANT SELECT, UPDATE (state, target_rev, stable_rev, stage, first_proxy, stage_at, soak_seconds, reason)
  ON global_rollout TO portcullis_ops;
GRANT UPDATE (answers, refusals, failures, global_rev, global_digest, global_rejected_rev, global_rejected_code,
  global_rejected_detail, global_at, global_boot, global_answers, global_refusals, global_failures)
  ON proxies TO portcullis_ops;
