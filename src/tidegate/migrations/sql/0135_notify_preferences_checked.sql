ALTER TABLE notify.recipients VALIDATE CONSTRAINT recipients_quiet_is_whole;
ALTER TABLE notify.recipients VALIDATE CONSTRAINT recipients_quiet_ends;
ALTER TABLE notify.send_shards VALIDATE CONSTRAINT shard_reasons;
