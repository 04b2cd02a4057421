-- A definition that no tool refers to any more is deleted, so that an upstream which changes its tools all the time does
-- not fill the database. The indexes are for the foreign keys' own check when one is.
CREATE INDEX tools_by_pinned_digest ON tools (tenant_id, pinned_digest) WHERE pinned_digest IS NOT NULL;
CREATE INDEX tools_by_seen_digest ON tools (tenant_id, seen_digest);
GRANT DELETE ON tool_definitions TO portcullis_app;
