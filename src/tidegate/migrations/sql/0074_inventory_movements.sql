-- Every change of how many items there are: by whom, why, from how many to how many. Holds and sales are no movements.
CREATE TABLE inventory.stock_movements (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    variant_id uuid NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    cause text NOT NULL CHECK (cause IN ('correction', 'import', 'drop', 'command', 'set')),
    person_id uuid,
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 200),
    on_hand_before integer NOT NULL CHECK (on_hand_before >= 0),
    on_hand_after integer NOT NULL CHECK (on_hand_after >= 0),
    CONSTRAINT movement_moves CHECK (on_hand_before <> on_hand_after),
    CONSTRAINT correction_has_author CHECK (cause <> 'correction' OR (person_id IS NOT NULL AND note <> ''))
);
CREATE INDEX stock_movements_variant ON inventory.stock_movements (variant_id, id DESC);
