-- A message to single people is tried again in the lane that it came by. Those written before have none: they are
-- nothing that must be there within seconds. Messages of sends go by the lane of their send.
ALTER TABLE notify.deliveries ADD COLUMN lane text;
ALTER TABLE notify.deliveries ADD CONSTRAINT deliveries_lane_check
    CHECK (lane IN ('within_10s', 'within_1m', 'bulk', 'receipts')) NOT VALID;

-- A partitioned table's index cannot be made concurrently.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX deliveries_due_lanes ON notify.deliveries (coalesce(lane, 'within_1m'), next_attempt_at)
    WHERE state = 'pending' AND shard_no IS NULL AND channel <> 'webhook';
