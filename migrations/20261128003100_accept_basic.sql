-- A client's id and one of its API keys, as user and password; off unless an endpoint says so.
ALTER TABLE endpoints
  DROP CONSTRAINT endpoints_accepts_check,
  ADD CONSTRAINT endpoints_accepts_check
    CHECK (cardinality(accepts) > 0 AND accepts <@ '{api_key,access_token,basic}');
