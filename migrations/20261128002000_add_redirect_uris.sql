-- Where a client's users are sent back to, and clients that cannot keep a secret.
ALTER TABLE clients
  ADD COLUMN redirect_uris text[] NOT NULL DEFAULT '{}' CHECK (cardinality(redirect_uris) <= 20),
  ADD COLUMN public boolean NOT NULL DEFAULT false;
GRANT UPDATE (redirect_uris, public) ON clients TO portcullis_app;
