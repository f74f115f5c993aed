-- When ending an unpaid order's payment was last tried: what could not be ended goes behind the others.
ALTER TABLE checkout.orders ADD COLUMN ending_tried_at timestamptz;
