-- Units of tool-call cost a day and a month, by the calendar of UTC. 0: no budget.
ALTER TABLE limits
  ADD COLUMN per_day integer NOT NULL DEFAULT 0 CHECK (per_day >= 0),
  ADD COLUMN per_month integer NOT NULL DEFAULT 0 CHECK (per_month >= 0);

GRANT UPDATE (per_day, per_month) ON limits TO portcullis_app;
