-- Time-outs of one tool, where they are not its server's. NULL: as the server's.
ALTER TABLE tools
  ADD COLUMN connect_timeout_ms integer CHECK (connect_timeout_ms > 0),
  ADD COLUMN first_byte_timeout_ms integer CHECK (first_byte_timeout_ms > 0),
  ADD COLUMN idle_timeout_ms integer CHECK (idle_timeout_ms > 0),
  ADD COLUMN total_timeout_ms integer CHECK (total_timeout_ms > 0);

GRANT UPDATE (connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, total_timeout_ms) ON tools TO portcullis_app;
