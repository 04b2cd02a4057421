-- Calls that a proxy gives a server at once; 0: as many as come. How many others wait, and how long.
ALTER TABLE upstreams
  ADD COLUMN concurrency_max integer NOT NULL DEFAULT 0 CHECK (concurrency_max BETWEEN 0 AND 100000),
  ADD COLUMN concurrency_queue integer NOT NULL DEFAULT 100 CHECK (concurrency_queue BETWEEN 0 AND 10000),
  ADD COLUMN concurrency_wait_ms integer NOT NULL DEFAULT 1000 CHECK (concurrency_wait_ms BETWEEN 1 AND 60000),
  ADD COLUMN concurrency_adaptive boolean NOT NULL DEFAULT false;

GRANT UPDATE (concurrency_max, concurrency_queue, concurrency_wait_ms, concurrency_adaptive) ON upstreams TO portcullis_app;
