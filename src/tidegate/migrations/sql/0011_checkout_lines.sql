-- As with inventory.hold_lines: the books look for lines without an order.
-- squawk-ignore ban-drop-constraint
ALTER TABLE checkout.order_lines DROP CONSTRAINT order_lines_order_id_fkey;
