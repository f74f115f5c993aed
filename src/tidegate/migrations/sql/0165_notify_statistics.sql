-- As for the events and keys (0161): less to learn each time that ANALYZE comes, of what plans depend on.
ALTER TABLE notify.deliveries
    ALTER COLUMN variables SET STATISTICS 0,
    ALTER COLUMN address_sealed SET STATISTICS 0,
    ALTER COLUMN words_sealed SET STATISTICS 0,
    ALTER COLUMN last_error SET STATISTICS 0,
    ALTER COLUMN provider_id SET STATISTICS 0;
ALTER TABLE notify.inbox_messages
    ALTER COLUMN subject SET STATISTICS 0,
    ALTER COLUMN body SET STATISTICS 0,
    ALTER COLUMN link SET STATISTICS 0,
    ALTER COLUMN words_sealed SET STATISTICS 0;
