-- Two certificate authorities at a time: a new one is trusted at once, issues a little later, and the old one is retired when
-- no proxy has a certificate of it any more.
ALTER TABLE certificate_authorities
  -- Null: from the beginning.
  ADD COLUMN issues_from timestamptz,
  ADD COLUMN retired_at timestamptz;
-- Whose certificate the proxy has. Null: of the first authority.
ALTER TABLE proxies ADD COLUMN authority_id uuid REFERENCES certificate_authorities (id);
GRANT UPDATE (retired_at) ON certificate_authorities TO portcullis_ops;
GRANT UPDATE (authority_id) ON proxies TO portcullis_ops;
