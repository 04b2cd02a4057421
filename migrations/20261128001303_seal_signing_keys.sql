-- Private halves of signing keys are sealed under a key that control planes alone derive: a tenant's data key is given to proxies.
-- `data_key_id` is null for those; what an earlier version sealed under the data key is sealed anew by the first look of this one.
ALTER TABLE signing_keys ALTER COLUMN data_key_id DROP NOT NULL;
-- For operators' work, which sees whether there is one and not what is sealed.
ALTER TABLE signing_keys ADD COLUMN held boolean GENERATED ALWAYS AS (sealed IS NOT NULL) STORED;
CREATE INDEX signing_keys_held ON signing_keys (tenant_id, activates_at) WHERE held;
GRANT UPDATE (data_key_id) ON signing_keys TO portcullis_app;
GRANT SELECT (held, data_key_id) ON signing_keys TO portcullis_ops;
