-- Access tokens that were a member's end all together, or those of them that one client was given. Of these, `subject_id` stands for both,
-- as the key has room for one.
ALTER TABLE revocations ADD COLUMN member_id uuid;
ALTER TABLE revocations ADD COLUMN client_id uuid;
ALTER TABLE revocations DROP CONSTRAINT revocations_kind_check;
ALTER TABLE revocations ADD CONSTRAINT revocations_kind_check
  CHECK (kind IN ('key', 'client', 'token', 'client_tokens', 'member_tokens', 'member_client_tokens'));
ALTER TABLE revocations ADD CONSTRAINT revocations_both_check
  CHECK (num_nonnulls(member_id, client_id) = CASE kind WHEN 'member_client_tokens' THEN 2 ELSE 0 END);
