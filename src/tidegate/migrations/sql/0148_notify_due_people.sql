-- What people wait for is found by `deliveries_due_lanes`; nothing asks for this index any more. One of a partitioned
-- table cannot be dropped concurrently.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX notify.deliveries_due_people;
