-- Messages to many wait apart from those that one person waits for. A partitioned table's index cannot be made
-- concurrently.
ALTER TABLE notify.deliveries ADD COLUMN bulk boolean NOT NULL DEFAULT false;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX deliveries_due_first ON notify.deliveries (next_attempt_at) WHERE state = 'pending' AND NOT bulk;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX inbox_messages_unread ON notify.inbox_messages (recipient_id) WHERE read_at IS NULL;
