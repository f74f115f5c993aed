-- When holds end, of those alone that end by themselves: while both indexes of what lives had the same condition,
-- PostgreSQL took this one for what one buyer has, and read all that live. An index on all partitions cannot be made or
-- dropped concurrently; writes wait while it is made, about a second per million holds.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX holds_due ON inventory.holds (expires_at) WHERE state = 'held';
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX inventory.holds_live_expiry;
