-- Set when a paid order is cancelled: nothing of it is sent any more, its items went back, and so does its money.
ALTER TABLE checkout.orders ADD COLUMN cancelled_at timestamptz;

-- Who did what to an order, and when. `actor_id` is empty where the shop did it by itself.
CREATE TABLE checkout.order_events (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL,
    what text NOT NULL CHECK (what ~ '^[a-z][a-z_]{0,39}$'),
    actor_id uuid,
    actor_role text NOT NULL CHECK (length(actor_role) BETWEEN 1 AND 20),
    detail jsonb NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX order_events_order ON checkout.order_events (order_id, id);

-- Which lines a refund is for; a line is given back once.
CREATE TABLE checkout.refunded_lines (
    refund_id uuid NOT NULL,
    order_id uuid NOT NULL,
    line_no integer NOT NULL,
    quantity integer NOT NULL CHECK (quantity >= 1),
    restocked boolean NOT NULL,
    PRIMARY KEY (refund_id, line_no)
);
CREATE INDEX refunded_lines_order ON checkout.refunded_lines (order_id);

-- Where a carrier shows a parcel: `{number}` stands for the tracking number.
CREATE TABLE checkout.carriers (
    code text PRIMARY KEY CHECK (code ~ '^[a-z][a-z0-9-]{0,39}$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    tracking_url text NOT NULL CHECK (length(tracking_url) <= 500 AND tracking_url ~ '^https://')
);
INSERT INTO checkout.carriers (code, name, tracking_url) VALUES
    ('dhl', 'DHL', 'https://www.dhl.com/global-en/home/tracking.html?tracking-id={number}'),
    ('fedex', 'FedEx', 'https://www.fedex.com/fedextrack/?trknbr={number}'),
    ('royal-mail', 'Royal Mail', 'https://www.royalmail.com/track-your-item#/tracking-results/{number}'),
    ('ups', 'UPS', 'https://www.ups.com/track?tracknum={number}'),
    ('usps', 'USPS', 'https://tools.usps.com/go/TrackConfirmAction?tLabels={number}');

CREATE TABLE checkout.shipments (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL,
    carrier text NOT NULL CHECK (length(carrier) <= 80),
    tracking_number text NOT NULL CHECK (length(tracking_number) <= 100),
    tracking_url text NOT NULL CHECK (length(tracking_url) <= 700),
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    undone_at timestamptz
);
CREATE INDEX shipments_order ON checkout.shipments (order_id, id);

CREATE TABLE checkout.shipment_lines (
    shipment_id uuid NOT NULL REFERENCES checkout.shipments (id),
    line_no integer NOT NULL CHECK (line_no >= 1),
    quantity integer NOT NULL CHECK (quantity >= 1),
    PRIMARY KEY (shipment_id, line_no)
);
