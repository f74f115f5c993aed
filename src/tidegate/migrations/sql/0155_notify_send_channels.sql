-- As in deliveries; apart, so that no more than one of the tables is locked at once.
-- squawk-ignore ban-drop-constraint
ALTER TABLE notify.sends DROP CONSTRAINT sends_channels_known;
ALTER TABLE notify.sends ADD CONSTRAINT sends_channels_known CHECK (
    cardinality(channels) BETWEEN 1 AND 10 AND array_to_string(channels, ' ', '?') ~ '^([a-z_]{1,20}( |$))+$'
) NOT VALID;
