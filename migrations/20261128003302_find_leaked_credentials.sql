-- Credentials are found by their public part alone when somebody reports that they have found one.

CREATE INDEX api_keys_by_lookup ON api_keys (lookup);
CREATE INDEX client_secrets_by_lookup ON client_secrets (lookup);
CREATE INDEX initial_access_tokens_by_lookup ON initial_access_tokens (lookup);

CREATE POLICY lookup ON api_keys FOR SELECT TO portcullis_auth USING (true);
CREATE POLICY lookup ON client_secrets FOR SELECT TO portcullis_auth USING (true);
CREATE POLICY lookup ON initial_access_tokens FOR SELECT TO portcullis_auth USING (true);
GRANT SELECT (tenant_id, id, lookup) ON api_keys, client_secrets, initial_access_tokens TO portcullis_auth;
