ALTER TABLE notify.deliveries VALIDATE CONSTRAINT deliveries_channel_check;
ALTER TABLE notify.sends VALIDATE CONSTRAINT sends_channels_known;
