-- By what callers of an endpoint may show who they are.
ALTER TABLE endpoints
  ADD COLUMN accepts text[] NOT NULL DEFAULT '{api_key,access_token}'
    CHECK (cardinality(accepts) > 0 AND accepts <@ '{api_key,access_token}');

GRANT UPDATE (accepts) ON endpoints TO portcullis_app;
