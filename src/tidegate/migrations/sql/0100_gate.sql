CREATE SCHEMA gate;

-- A drop's waiting room. Its row's lock orders joins, and T0 among them: an entry that got the lock before the cut is
-- in the draw. `size`, `frontier` and `root` are the state of the log of entries (RFC 9162); `cut` and `cut_root` are
-- what they were at T0. The seed is sealed until it is drawn, and public afterwards.
CREATE TABLE gate.rooms (
    id uuid PRIMARY KEY,
    drop_id uuid NOT NULL,
    slug text NOT NULL CHECK (length(slug) BETWEEN 1 AND 200),
    mode text NOT NULL CHECK (mode IN ('draw', 'arrival')),
    guests boolean NOT NULL DEFAULT false,
    phase text NOT NULL DEFAULT 'scheduled' CHECK (phase IN ('scheduled', 'lobby', 'open', 'sold_out', 'closed')),
    paused boolean NOT NULL DEFAULT false,
    lobby_opens_at timestamptz NOT NULL,
    opens_at timestamptz NOT NULL,
    commitment bytea NOT NULL CHECK (length(commitment) = 32),
    seed_sealed bytea,
    seed bytea CHECK (length(seed) = 32),
    beacon_source text NOT NULL DEFAULT '' CHECK (length(beacon_source) <= 500),
    beacon text CHECK (length(beacon) BETWEEN 1 AND 1000),
    beacon_at timestamptz,
    size bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
    frontier bytea NOT NULL DEFAULT '\x',
    root bytea NOT NULL CHECK (length(root) = 32),
    cut bigint,
    cut_root bytea CHECK (length(cut_root) = 32),
    cut_at timestamptz,
    drawn_at timestamptz,
    serving bigint NOT NULL DEFAULT 1,
    pace_per_s real NOT NULL DEFAULT 0 CHECK (pace_per_s >= 0),
    stock_left bigint CHECK (stock_left >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    CONSTRAINT room_lobby_first CHECK (lobby_opens_at <= opens_at),
    CONSTRAINT room_frontier_fits CHECK (length(frontier) = 32 * bit_count(size::bit(64))),
    CONSTRAINT room_cut_once CHECK (
        (cut IS NULL) = (cut_root IS NULL) AND (cut IS NULL) = (cut_at IS NULL) AND cut BETWEEN 0 AND size
    ),
    CONSTRAINT room_open_is_cut CHECK (phase NOT IN ('open', 'sold_out') OR cut IS NOT NULL),
    CONSTRAINT room_drawn_after_cut CHECK (drawn_at IS NULL OR (cut IS NOT NULL AND seed IS NOT NULL)),
    CONSTRAINT room_beacon_has_time CHECK ((beacon IS NULL) = (beacon_at IS NULL)),
    CONSTRAINT room_serves_who_joined CHECK (serving BETWEEN 1 AND size + 1),
    CONSTRAINT room_closed_has_time CHECK ((phase = 'closed') = (closed_at IS NOT NULL))
) WITH (fillfactor = 50);
CREATE INDEX rooms_live ON gate.rooms (opens_at) WHERE phase <> 'closed';
CREATE INDEX rooms_slug ON gate.rooms (slug, id);
-- A drop that is opened again gets a new room; the closed ones stay, so that their draws can be checked.
CREATE UNIQUE INDEX rooms_one_live_a_drop ON gate.rooms (drop_id) WHERE phase <> 'closed';
CREATE UNIQUE INDEX rooms_one_live_a_slug ON gate.rooms (slug) WHERE phase <> 'closed';

-- One place a person. What is not here is computed: a number from the index, an entry of the log from id and joins.
CREATE TABLE gate.places (
    id uuid PRIMARY KEY,
    room_id uuid NOT NULL REFERENCES gate.rooms (id),
    buyer_id uuid NOT NULL,
    index bigint NOT NULL CHECK (index >= 0),
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    admitted_at timestamptz,
    expires_at timestamptz,
    joins integer NOT NULL DEFAULT 1 CHECK (joins >= 1),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'admitted', 'spent', 'expired', 'left')),
    CONSTRAINT places_one_a_person UNIQUE (room_id, buyer_id),
    CONSTRAINT places_one_an_index UNIQUE (room_id, index),
    CONSTRAINT place_admitted_for_a_time CHECK (
        state <> 'admitted' OR (admitted_at IS NOT NULL AND expires_at IS NOT NULL)
    )
) WITH (fillfactor = 90);
CREATE INDEX places_admitted ON gate.places (room_id, expires_at) WHERE state = 'admitted';

-- Entries that their people gave up for a later one: the log keeps them, and their numbers are nobody's.
CREATE TABLE gate.former_entries (
    room_id uuid NOT NULL REFERENCES gate.rooms (id),
    index bigint NOT NULL CHECK (index >= 0),
    entry bytea NOT NULL CHECK (length(entry) = 32),
    PRIMARY KEY (room_id, index)
);

-- The hashes of whole blocks of the log, so that the proof of one entry need not read all others.
CREATE TABLE gate.log_blocks (
    room_id uuid NOT NULL REFERENCES gate.rooms (id),
    block bigint NOT NULL CHECK (block >= 0),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (room_id, block)
);

-- Keys with which the gate signs (Ed25519). The newest that is not retired signs; all verify.
CREATE TABLE gate.signing_keys (
    id text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{8}$'),
    public_key bytea NOT NULL UNIQUE CHECK (length(public_key) = 32),
    secret_sealed bytea NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at timestamptz
);
