-- `holds_due` is in its place. One of a partitioned table cannot be dropped concurrently; it takes a moment.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX inventory.holds_live_expiry;
