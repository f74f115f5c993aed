-- When holds end, of those alone that end by themselves: while both indexes of what lives had the same condition,
-- PostgreSQL took that for what one buyer has, and read all that live. An index on all partitions cannot be made
-- concurrently; writes wait while it is made, about a second per million holds. The old one is dropped in a transaction
-- of its own: this one could wait for whoever waits for it.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX holds_due ON inventory.holds (expires_at) WHERE state = 'held';
