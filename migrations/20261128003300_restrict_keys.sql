-- From where and when an API key is accepted. Old code ignores both: a control plane of the former version compiles a restricted key as one
-- without restrictions until it is replaced, so restrict keys once all of them are.

ALTER TABLE api_keys
  ADD COLUMN allow text[] NOT NULL DEFAULT '{}' CHECK (cardinality(allow) <= 64),
  -- [{"days": bits from Monday, "from": minutes since midnight of UTC, "until": likewise}]
  ADD COLUMN hours jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(hours) = 'array' AND jsonb_array_length(hours) <= 32);
GRANT UPDATE (name, allow, hours) ON api_keys TO portcullis_app;
