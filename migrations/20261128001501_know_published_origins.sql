-- Under which origins of issuers and endpoints the tenant's latest revision was compiled: when an operator changes them, every tenant
-- that issues tokens has to be compiled anew, for proxies to accept what is issued from then on.
ALTER TABLE tenants ADD COLUMN published_origins text NOT NULL DEFAULT '';

GRANT UPDATE (published_origins) ON tenants TO portcullis_app;
