-- Of all that waits PostgreSQL expects few after a send to many that has ended, and would read all of it to find what
-- a worker has in its hands. What is due is found by event, by lane and by endpoint; nothing asks for it as a whole.
-- Indexes of a partitioned table cannot be dropped concurrently.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX notify.deliveries_due;
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX notify.deliveries_due_first;
