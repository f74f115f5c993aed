ALTER TABLE notify.keys VALIDATE CONSTRAINT keys_role_check;
ALTER TABLE notify.keys VALIDATE CONSTRAINT key_is_of_somebody;
ALTER TABLE notify.webhook_endpoints VALIDATE CONSTRAINT webhook_application;
