-- Who ended all sessions of whom is written down where changes of roles are.
-- Said anew below, with one kind more.
-- squawk-ignore ban-drop-constraint
ALTER TABLE accounts.role_changes DROP CONSTRAINT role_changes_what_check;
ALTER TABLE accounts.role_changes ADD CONSTRAINT role_change_what
CHECK (what IN ('invited', 'withdrawn', 'accepted', 'changed', 'signed_out')) NOT VALID;
