-- Who gave whom which role, and when. `actor_id` is the administrator; `invitation_id` ties an invitation to the row
-- that says who accepted it. Rows name people by id only: an erased account leaves no address here.
CREATE TABLE accounts.role_changes (
    id uuid PRIMARY KEY,
    what text NOT NULL CHECK (what IN ('invited', 'withdrawn', 'accepted', 'changed')),
    actor_id uuid NOT NULL,
    person_id uuid,
    invitation_id uuid,
    role_before text CHECK (role_before IN ('guest', 'customer', 'staff', 'admin')),
    role_after text NOT NULL CHECK (role_after IN ('customer', 'staff', 'admin')),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (person_id IS NOT NULL OR invitation_id IS NOT NULL)
);
CREATE INDEX role_changes_person ON accounts.role_changes (person_id, id);
CREATE INDEX role_changes_invitation ON accounts.role_changes (invitation_id);

-- Accounts in the order of their making, without the many guests. An index inside the migration's transaction blocks
-- writes for the moment that it takes; accounts are few beside orders.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX people_accounts ON accounts.people (id) WHERE role <> 'guest';
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX people_roles ON accounts.people (role, id) WHERE role <> 'guest';

-- An invitation is a link that gives a role, as long as whoever sent it is an administrator.
ALTER TABLE accounts.links
    ADD COLUMN role text,
    ADD COLUMN invited_by uuid,
    ADD COLUMN invitation_id uuid;
-- Said anew below, with one kind more.
-- squawk-ignore ban-drop-constraint
ALTER TABLE accounts.links DROP CONSTRAINT links_kind_check;
ALTER TABLE accounts.links ADD CONSTRAINT link_kind
    CHECK (kind IN ('register', 'login', 'reset', 'invite')) NOT VALID;
ALTER TABLE accounts.links ADD CONSTRAINT link_role CHECK (
    (kind = 'invite') = (role IS NOT NULL) AND (kind = 'invite') = (invited_by IS NOT NULL)
    AND (kind = 'invite') = (invitation_id IS NOT NULL) AND role IN ('staff', 'admin')
) NOT VALID;
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX links_invitation ON accounts.links (invitation_id) WHERE invitation_id IS NOT NULL;
