-- When calls of a server, or of one of its tools, are refused without being tried. 0 failures: never.
ALTER TABLE upstreams
  ADD COLUMN breaker_failures integer NOT NULL DEFAULT 5 CHECK (breaker_failures BETWEEN 0 AND 1000),
  ADD COLUMN breaker_failure_percent integer NOT NULL DEFAULT 50 CHECK (breaker_failure_percent BETWEEN 1 AND 100),
  ADD COLUMN breaker_open_ms integer NOT NULL DEFAULT 5000 CHECK (breaker_open_ms BETWEEN 1 AND 600000);

GRANT UPDATE (breaker_failures, breaker_failure_percent, breaker_open_ms) ON upstreams TO portcullis_app;
