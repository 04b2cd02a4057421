-- Finds the newest answers of a tenant, or of the operators, whose rows name no tenant: more than so many are not kept.
CREATE INDEX stored_answers_by_owner ON stored_answers
  ((coalesce(tenant_id, '00000000-0000-0000-0000-000000000000')), expires_at DESC, lookup);
