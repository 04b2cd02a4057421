-- Commands are forgotten a day after they were asked for. The index finds them.
CREATE INDEX commands_by_age ON commands (created_at);
GRANT DELETE ON commands TO portcullis_ops;
