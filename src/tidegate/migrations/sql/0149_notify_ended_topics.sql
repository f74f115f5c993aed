-- When telling of what a topic's followers wait for was ended, or was too late: it is told again once it came anew.
ALTER TABLE notify.topics ADD COLUMN ended_at timestamptz;
