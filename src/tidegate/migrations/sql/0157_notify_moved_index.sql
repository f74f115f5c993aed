-- Few rows are in it. Apart from the columns: following goes on while the table is read, writing waits.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX recipients_moved ON notify.recipients (moved_at) WHERE moved_at IS NOT NULL;
