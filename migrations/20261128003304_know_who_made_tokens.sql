-- Who made a token, as audit records name them: what members have made ends when they may not administer as they could any more.
ALTER TABLE admin_tokens ADD COLUMN made_by text;
CREATE INDEX admin_tokens_by_maker ON admin_tokens (tenant_id, made_by) WHERE made_by IS NOT NULL;
GRANT SELECT (made_by) ON admin_tokens TO portcullis_app;
