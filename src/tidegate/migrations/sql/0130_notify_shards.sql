-- A send may be paused, resumed and ended by staff. `told_to` is how far its audience has been cut into shards, and
-- `planned_at` says that all of it has. `once` is NULL in rows of older writers: the topic's kind says it there.
ALTER TABLE notify.sends
    ADD COLUMN channels text[] NOT NULL DEFAULT '{email,inbox}'
        CONSTRAINT sends_channels_known CHECK (channels <@ '{email,inbox}'::text[] AND cardinality(channels) > 0),
    ADD COLUMN once boolean,
    ADD COLUMN lane text NOT NULL DEFAULT 'bulk'
        CONSTRAINT sends_lane_known CHECK (lane IN ('receipts', 'within_10s', 'within_1m', 'bulk')),
    ADD COLUMN planned_at timestamptz,
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN paused_s double precision NOT NULL DEFAULT 0,
    ADD COLUMN cancelled_at timestamptz,
    ADD COLUMN last_error text;

-- A part of a send's audience: the followers behind `after_id` up to `upto_id`, expanded into messages in one
-- transaction. `due_at` is when somebody should look after it, whatever became of the task that was to. The counts are
-- of messages, one per recipient and channel; `doubtful` may have been mailed twice, since a worker died or the mail
-- server fell silent between handing over and answer.
CREATE TABLE notify.send_shards (
    event_id uuid NOT NULL,
    shard_no integer NOT NULL CHECK (shard_no >= 1),
    topic_id uuid NOT NULL,
    after_id uuid NOT NULL,
    upto_id uuid NOT NULL,
    followers integer NOT NULL CHECK (followers >= 0),
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expanded_at timestamptz,
    done_at timestamptz,
    messages integer NOT NULL DEFAULT 0,
    delivered integer NOT NULL DEFAULT 0 CHECK (delivered >= 0),
    failed integer NOT NULL DEFAULT 0 CHECK (failed >= 0),
    suppressed integer NOT NULL DEFAULT 0 CHECK (suppressed >= 0),
    doubtful integer NOT NULL DEFAULT 0 CHECK (doubtful >= 0),
    PRIMARY KEY (event_id, shard_no),
    FOREIGN KEY (event_id, topic_id) REFERENCES notify.sends (event_id, topic_id) ON DELETE CASCADE,
    CHECK (after_id <= upto_id),
    CONSTRAINT shard_counts CHECK (delivered + failed + suppressed <= messages),
    CONSTRAINT shard_done_is_whole
        CHECK (done_at IS NULL OR (expanded_at IS NOT NULL AND delivered + failed + suppressed = messages))
) WITH (fillfactor = 60);
CREATE INDEX send_shards_due ON notify.send_shards (due_at) WHERE done_at IS NULL;
CREATE INDEX send_shards_open ON notify.send_shards (event_id, topic_id) WHERE done_at IS NULL;

-- What a send says, in each of the shop's languages: a million inboxes show one text. Kept as long as inboxes are.
CREATE TABLE notify.words (
    words_id uuid PRIMARY KEY,
    event_id uuid NOT NULL,
    topic_id uuid NOT NULL,
    locale text NOT NULL CHECK (length(locale) <= 20),
    subject text NOT NULL,
    body text NOT NULL,
    link text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (event_id, topic_id, locale)
);
-- No foreign key: a check per inbox and message would cost as much as the message.
ALTER TABLE notify.inbox_messages ADD COLUMN words_id uuid;

-- The shard whose message it is; NULL for what one person waits for. A message is suppressed when it must not be sent
-- any more: its recipient stopped the topic, or staff ended the send.
ALTER TABLE notify.deliveries ADD COLUMN shard_no integer;
-- Older writers know fewer states: what they write still fits.
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.deliveries DROP CONSTRAINT deliveries_state_check;
ALTER TABLE notify.deliveries ADD CONSTRAINT deliveries_state_check
    CHECK (state IN ('pending', 'sent', 'failed', 'suppressed')) NOT VALID;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX deliveries_due_single ON notify.deliveries (next_attempt_at) WHERE state = 'pending' AND shard_no IS NULL;
