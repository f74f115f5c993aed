-- Dead letters: what failed for good, the newest first, of one channel or of each in turn. A partitioned table's index
-- cannot be made concurrently.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX deliveries_dead ON notify.deliveries (channel, event_id, recipient_id) WHERE state = 'failed';
