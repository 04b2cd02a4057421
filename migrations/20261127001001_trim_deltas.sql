-- What changed from revision to revision is trimmed with the next change of its tenant, and of tenants that do not change by the
-- control plane.
CREATE INDEX deltas_by_age ON deltas (created_at);
CREATE POLICY operator_trims ON deltas FOR DELETE TO portcullis_ops USING (true);
GRANT DELETE ON deltas TO portcullis_ops;
