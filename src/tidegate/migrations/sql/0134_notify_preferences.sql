-- What a recipient does not want, as 'KIND.CHANNEL' ('drop.email'): all else is wanted. Times are of a clock on their
-- wall, in `time_zone` (an IANA name; empty: the shop's). Sends read this row for every follower, so it stands here.
ALTER TABLE notify.recipients
    ADD COLUMN unwanted text[] NOT NULL DEFAULT '{}'
        CONSTRAINT recipients_unwanted_are_words CHECK (
            cardinality(unwanted) <= 100 AND array_to_string(unwanted, ' ', '?') ~ '^([a-z_]{1,20}[.][a-z_]{1,20}( |$))*$'
        ),
    ADD COLUMN time_zone text NOT NULL DEFAULT ''
        CONSTRAINT recipients_time_zone_is_short CHECK (length(time_zone) <= 64),
    ADD COLUMN quiet_from time,
    ADD COLUMN quiet_until time,
    ADD CONSTRAINT recipients_quiet_is_whole CHECK ((quiet_from IS NULL) = (quiet_until IS NULL)) NOT VALID,
    -- At least six hours of a day are left.
    ADD CONSTRAINT recipients_quiet_ends CHECK (
        mod(extract(epoch FROM quiet_until - quiet_from)::integer + 86400, 86400) BETWEEN 1 AND 64800
    ) NOT VALID;

-- The ways by which one followed topic is told; NULL: as its kind is.
ALTER TABLE notify.follows
    ADD COLUMN channels text[] CONSTRAINT follows_channels_are_words CHECK (
        cardinality(channels) BETWEEN 1 AND 10 AND array_to_string(channels, ' ', '?') ~ '^([a-z_]{1,20}( |$))+$'
    );

-- When it does not matter any more. What is not sent by then is suppressed.
ALTER TABLE notify.sends ADD COLUMN expires_at timestamptz;
-- Why messages were suppressed, where it was not a stop: nobody wanted them, or it was too late.
ALTER TABLE notify.send_shards
    ADD COLUMN unwanted integer NOT NULL DEFAULT 0 CONSTRAINT shard_unwanted CHECK (unwanted >= 0),
    ADD COLUMN late integer NOT NULL DEFAULT 0 CONSTRAINT shard_late CHECK (late >= 0),
    ADD CONSTRAINT shard_reasons CHECK (unwanted + late <= suppressed) NOT VALID;
