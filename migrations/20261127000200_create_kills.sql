-- The kill switch, revoked credentials, and how far proxies are with both.

-- One row. Raised by every change of the two tables below, in the change's own transaction: its lock orders them, so that
-- whoever reads an epoch and then the tables has everything up to it.
CREATE TABLE kill_epochs (
  one boolean PRIMARY KEY CHECK (one),
  epoch bigint NOT NULL CHECK (epoch >= 0)
);
INSERT INTO kill_epochs VALUES (true, 0);

CREATE TABLE kills (
  id uuid PRIMARY KEY,
  -- Null for the fleet, and for what came to proxies by offline order.
  tenant_id uuid REFERENCES tenants (id) ON DELETE CASCADE,
  -- `order`: nothing but a name to lift; what it stops is known to the proxies alone.
  level text NOT NULL
    CHECK (level IN ('fleet', 'tenant', 'endpoint', 'upstream', 'tool', 'client', 'key', 'principal', 'order')),
  -- Id or name below the tenant. No reference: what is killed may be deleted, and stays killed.
  subject text CHECK (char_length(subject) <= 200),
  drill boolean NOT NULL,
  reason text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 500),
  -- Made by an operator: the tenant sees it and cannot lift it.
  by_operator boolean NOT NULL DEFAULT false,
  actor text NOT NULL,
  created_at timestamptz NOT NULL,
  epoch bigint NOT NULL,
  lifted_at timestamptz,
  lift_reason text CHECK (char_length(lift_reason) BETWEEN 1 AND 500),
  lift_epoch bigint,
  lift_actor text,
  CHECK ((tenant_id IS NULL) = (level IN ('fleet', 'order'))),
  CHECK ((subject IS NULL) = (level IN ('fleet', 'tenant', 'order'))),
  CHECK ((lifted_at IS NULL) = (lift_reason IS NULL) AND (lifted_at IS NULL) = (lift_epoch IS NULL)
    AND (lifted_at IS NULL) = (lift_actor IS NULL))
);
CREATE INDEX kills_by_tenant ON kills (tenant_id, id);
CREATE INDEX kills_in_force ON kills (id) WHERE lifted_at IS NULL;
CREATE INDEX kills_by_epoch ON kills (epoch);
CREATE INDEX kills_by_lift ON kills (lift_epoch) WHERE lifted_at IS NOT NULL;

-- Credentials that are dead before the configuration without them has arrived everywhere. Forgotten after a while.
CREATE TABLE revocations (
  tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('key', 'client')),
  subject_id uuid NOT NULL,
  issued_before timestamptz NOT NULL,
  epoch bigint NOT NULL,
  PRIMARY KEY (tenant_id, kind, subject_id)
);
CREATE INDEX revocations_by_time ON revocations (issued_before);

-- The highest epoch that is in force on all workers of the proxy and on its disk.
ALTER TABLE proxies ADD COLUMN kill_epoch bigint NOT NULL DEFAULT 0;

-- When each proxy had each kill, and each lift, in force. The epoch is the kill's or the lift's own.
CREATE TABLE kill_acks (
  epoch bigint NOT NULL,
  proxy_id uuid NOT NULL REFERENCES proxies (id) ON DELETE CASCADE,
  acked_at timestamptz NOT NULL,
  PRIMARY KEY (epoch, proxy_id)
);

ALTER TABLE kills ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON kills FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY own ON kills AS RESTRICTIVE FOR UPDATE TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid AND NOT by_operator)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid AND NOT by_operator);
CREATE POLICY operator ON kills FOR ALL TO portcullis_ops USING (true) WITH CHECK (true);

ALTER TABLE revocations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON revocations FOR ALL TO portcullis_app
  USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)
  WITH CHECK (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid);
CREATE POLICY operator ON revocations FOR ALL TO portcullis_ops USING (true) WITH CHECK (true);

-- `by_operator` is in no list of the tenant's role, so what it makes is never an operator's.
GRANT SELECT, INSERT (id, tenant_id, level, subject, drill, reason, actor, created_at, epoch),
  UPDATE (lifted_at, lift_reason, lift_epoch, lift_actor) ON kills TO portcullis_app;
GRANT SELECT, INSERT, UPDATE (lifted_at, lift_reason, lift_epoch, lift_actor) ON kills TO portcullis_ops;
GRANT SELECT, INSERT, UPDATE (issued_before, epoch) ON revocations TO portcullis_app;
GRANT SELECT, DELETE ON revocations TO portcullis_ops;
-- The one row of the installation that tenants' transactions move: a number, and only upwards by one (see the code).
GRANT SELECT, UPDATE (epoch) ON kill_epochs TO portcullis_app, portcullis_ops;
GRANT SELECT, INSERT ON kill_acks TO portcullis_ops;
GRANT UPDATE (kill_epoch) ON proxies TO portcullis_ops;
