-- An address that became an account has another id since `moved_at`: what was sent to it before is under `former_id`.
ALTER TABLE notify.recipients ADD COLUMN former_id uuid, ADD COLUMN moved_at timestamptz;

-- Followers whose id changed during a send are in no shard for certain: its last one, cut when all others are done, is
-- theirs. `revisited_at` says that they were looked for.
ALTER TABLE notify.sends ADD COLUMN revisited_at timestamptz;
ALTER TABLE notify.send_shards ADD COLUMN moved boolean NOT NULL DEFAULT false;
