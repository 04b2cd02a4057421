-- Configuration streams of a proxy, numbered as they begin: what an older one still has to say is not written over what the newest
-- has said.
ALTER TABLE proxies ADD COLUMN stream bigint NOT NULL DEFAULT 0;
GRANT UPDATE (stream) ON proxies TO portcullis_ops;
