ALTER TABLE notify.topics VALIDATE CONSTRAINT topics_kind_check;
